//! Calls that are messages, over real sockets: commands of RESP, lines and netstrings between versions that name things differently.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::node::*;
use call::{
    Call, Calls, Chain, Conflicts, Direction, Failure, MessageForm, Next, Pending, Refusal,
    RefusalKind,
};
use model::bundle::{Cut, Framing};
use serve::{MessageProtocol, ResetCause, Served};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wire::framing::Codec;

/// The caller's `fetch` is the software's `get`, and `drop` is refused.
struct Renaming;

impl Calls for Renaming {
    fn handle<'a>(
        &'a self,
        call: Call,
        mut next: Next<'a>,
    ) -> Pending<'a, Result<call::Answer, Failure>> {
        Box::pin(async move {
            let mut call = call.into_message()?;
            let text = String::from_utf8(call.bytes.to_vec()).expect("text");
            if text.contains("drop") {
                return Err(refused().into());
            }
            let text = text.replace("$5\r\nfetch", "$3\r\nget");
            call.bytes = text.replace("fetch ", "get ").into();
            next.delegate(Call::Message(call)).await
        })
    }
}

fn refused() -> Refusal {
    Refusal::new(
        RefusalKind::Declared,
        "drop",
        "the other version never\r\ndrops anything",
        http::StatusCode::UNPROCESSABLE_ENTITY,
    )
}

fn renaming() -> Chain {
    Chain::of(
        Direction::Past,
        vec![Arc::new(Renaming)],
        &Conflicts::default(),
    )
}

fn codec(cut: Cut) -> Arc<Codec> {
    Arc::new(Codec::new(Framing {
        cut,
        head_bytes: 64,
        message_bytes_max: 1 << 30,
    }))
}

fn resp(carried: bool) -> MessageProtocol {
    MessageProtocol {
        form: MessageForm::Resp,
        codec: Arc::new(Codec::resp()),
        carried,
    }
}

async fn resp_node(leave: Leave, carried: bool) -> Node {
    Node::start_messages(Some(leave), resp(carried), Arc::new(Codec::resp())).await
}

/// A command as libraries send it.
fn command(words: &str) -> String {
    let words: Vec<&str> = words.split(' ').collect();
    let strings = words
        .iter()
        .map(|word| format!("${}\r\n{word}\r\n", word.len()));
    format!("*{}\r\n{}", words.len(), strings.collect::<String>())
}

/// The other side of a connection, that expects some bytes and says others; ends where it is told something else.
async fn expect(stream: &mut TcpStream, bytes: &str, answer: &str) {
    let mut told = vec![0; bytes.len()];
    stream.read_exact(&mut told).await.expect("told");
    assert_eq!(String::from_utf8_lossy(&told), bytes);
    stream.write_all(answer.as_bytes()).await.expect("answered");
}

/// Waits until the other side ends.
async fn until_ended(mut stream: TcpStream) {
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert_eq!(String::from_utf8_lossy(&rest), "");
}

#[tokio::test]
async fn lines_are_calls_answered_in_order_and_framed_anew() {
    let software = scripted(|_, mut stream| async move {
        expect(&mut stream, "get a\n", "1\n").await;
        expect(&mut stream, "get b\n", "").await;
        expect(&mut stream, "", "2\n").await;
        until_ended(stream).await;
    })
    .await;
    let protocol = MessageProtocol {
        form: MessageForm::Framed,
        codec: codec(Cut::Delimiter(b"\r\n".to_vec())),
        carried: false,
    };
    let own = codec(Cut::Delimiter(b"\n".to_vec()));
    let leave = leave(renaming(), software, 1);
    let mut node = Node::start_messages(Some(leave), protocol, own).await;
    node.caller.write("fetch a\r\nfetch b\r\n").await;
    node.caller.is_told("1\r\n2\r\n").await;
    // A protocol that has no words for it: the connection ends, in order.
    node.caller.write("drop c\r\nfetch d\r\n").await;
    let end = node.caller.take(1).await.expect_err("an end");
    assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
    assert_eq!(node.counters.read().refused.len(), 1);
    node.caller.stream.shutdown().await.expect("shutdown");
    assert!(matches!(node.served().await, Served::Closed));
}

#[tokio::test]
async fn netstrings_are_calls_and_a_damaged_one_ends_its_connection() {
    let software = scripted(|_, mut stream| async move {
        expect(&mut stream, "5:get a,", "1:7,").await;
        until_ended(stream).await;
    })
    .await;
    let protocol = MessageProtocol {
        form: MessageForm::Framed,
        codec: codec(Cut::Netstring),
        carried: false,
    };
    let own = codec(Cut::Netstring);
    let leave = leave(renaming(), software, 1);
    let mut node = Node::start_messages(Some(leave), protocol, own).await;
    node.caller.write("7:fetch a,").await;
    node.caller.is_told("1:7,").await;
    node.caller.write("7:fetch a;").await;
    assert!(node.caller.is_reset().await);
    assert!(matches!(
        node.served().await,
        Served::Reset(ResetCause::Caller)
    ));
}

#[tokio::test]
async fn commands_are_calls_pushes_pass_and_refusals_are_errors() {
    let message = "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n";
    let confirmed = "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n";
    let software = scripted(move |_, mut stream| async move {
        expect(&mut stream, &command("get a"), "$1\r\n1\r\n").await;
        expect(&mut stream, &command("subscribe c"), "").await;
        // What another says meanwhile.
        expect(&mut stream, "", &format!("{confirmed}{message}")).await;
        expect(
            &mut stream,
            &command("ping"),
            &format!("{message}*2\r\n$4\r\npong\r\n$0\r\n\r\n"),
        )
        .await;
        until_ended(stream).await;
    })
    .await;
    let mut node = resp_node(leave(renaming(), software, 1), false).await;
    node.caller
        .write(format!("{}{}", command("fetch a"), command("drop a")))
        .await;
    node.caller
        .is_told("$1\r\n1\r\n-ERR the other version never  drops anything\r\n")
        .await;
    node.caller.write(command("PSYNC ? -1")).await;
    node.caller.is_told("-ERR PSYNC begins a replication, which is no sequence of calls: it cannot pass between versions\r\n").await;
    node.caller.write(command("subscribe c")).await;
    node.caller.is_told(confirmed).await;
    node.caller.is_told(message).await;
    node.caller.write(command("ping")).await;
    node.caller.is_told(message).await;
    node.caller.is_told("*2\r\n$4\r\npong\r\n$0\r\n\r\n").await;
    node.caller.write("*1\r\n:5\r\n?").await;
    node.caller.is_told("-ERR").await;
    assert_eq!(node.counters.read().refused.len(), 2);
}

#[tokio::test]
async fn a_connection_without_state_outlives_the_software_and_one_with_state_does_not() {
    let software = scripted(|number, mut stream| async move {
        if number == 0 {
            expect(&mut stream, &command("get a"), ":1\r\n").await;
        } else {
            expect(&mut stream, &command("get b"), ":2\r\n").await;
            expect(&mut stream, &command("SELECT 3"), "+OK\r\n").await;
        }
        until_ended(stream).await;
    })
    .await;
    let mut node = resp_node(leave(renaming(), software, 1), true).await;
    node.caller.write(command("fetch a")).await;
    node.caller.is_told(":1\r\n").await;
    // The software is stopped, and started again.
    node.hold();
    node.caller.write(command("fetch b")).await;
    node.now(leave(renaming(), software, 2));
    node.caller.is_told(":2\r\n").await;
    node.caller.write(command("SELECT 3")).await;
    node.caller.is_told("+OK\r\n").await;
    node.now(leave(renaming(), software, 3));
    node.caller.write(command("fetch c")).await;
    assert!(node.caller.is_reset().await);
    assert!(matches!(
        node.served().await,
        Served::Reset(ResetCause::Closed)
    ));
}

#[tokio::test]
async fn an_end_that_running_software_means_for_its_caller_reaches_it() {
    let software = scripted(|number, mut stream| async move {
        match number {
            0 => expect(&mut stream, &command("QUIT"), "+OK\r\n").await,
            1 => expect(&mut stream, &command("get a"), ":1\r\n").await,
            _ => {
                expect(&mut stream, &command("get b"), ":2\r\n").await;
                SockRef::from(&stream)
                    .set_linger(Some(Duration::ZERO))
                    .expect("linger");
            }
        }
    })
    .await;
    // One that lingers until its caller has ended shows the end too.
    for (asked, told) in [("QUIT", "+OK\r\n"), ("fetch a", ":1\r\n")] {
        let mut node = resp_node(leave(renaming(), software, 1), true).await;
        node.caller.write(command(asked)).await;
        node.caller.is_told(told).await;
        assert!(node.caller.is_ended().await, "after {asked}");
    }
    let mut node = resp_node(leave(renaming(), software, 1), true).await;
    node.caller.write(command("fetch b")).await;
    node.caller.is_told(":2\r\n").await;
    assert!(node.caller.is_reset().await);
}

#[tokio::test]
async fn an_end_of_software_that_is_stopped_does_not_reach_its_caller() {
    let stop = Arc::new(tokio::sync::Notify::new());
    let stopped = stop.clone();
    let software = scripted(move |number, mut stream| {
        let stopped = stopped.clone();
        async move {
            if number == 0 {
                expect(&mut stream, &command("get a"), ":1\r\n").await;
                stopped.notified().await;
            } else {
                expect(&mut stream, &command("get b"), ":2\r\n").await;
                until_ended(stream).await;
            }
        }
    })
    .await;
    let mut node = resp_node(leave(renaming(), software, 1), true).await;
    node.caller.write(command("fetch a")).await;
    node.caller.is_told(":1\r\n").await;
    // The end comes first, and is explained in time.
    stop.notify_one();
    tokio::time::sleep(Duration::from_millis(100)).await;
    node.hold();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    node.now(leave(renaming(), software, 2));
    node.caller.write(command("fetch b")).await;
    node.caller.is_told(":2\r\n").await;
}

#[tokio::test]
async fn software_that_dies_in_a_call_looks_dead_and_is_not_asked_twice() {
    let software = scripted(|number, mut stream| async move {
        assert_eq!(number, 0, "it is asked once");
        expect(&mut stream, &command("get a"), "$10\r\nhal").await;
    })
    .await;
    let mut node = resp_node(leave(renaming(), software, 1), true).await;
    node.caller.write(command("fetch a")).await;
    assert!(node.caller.is_reset().await);
    assert_eq!(node.counters.read().failed, 1);
    assert!(matches!(
        node.served().await,
        Served::Reset(ResetCause::Software)
    ));
}

#[tokio::test]
async fn many_calls_may_be_sent_before_the_first_answer_is_read() {
    // 40 MB come back and then 18 MB are sent: more than the kernel keeps of either, less than is taken in ahead.
    const SMALL: usize = 40;
    const LARGE: usize = 18;
    let large = "k".repeat(1_000_000);
    let answer = format!("$1000000\r\n{large}\r\n");
    let (asked, told) = (command(&format!("get {large}")), answer.clone());
    let answered = Arc::new(AtomicUsize::new(0));
    let count = answered.clone();
    let software = scripted(move |_, mut stream| {
        let (asked, answer, count) = (asked.clone(), answer.clone(), count.clone());
        async move {
            for _ in 0..SMALL {
                expect(&mut stream, &command("get a"), &answer).await;
                count.fetch_add(1, Ordering::SeqCst);
            }
            for _ in 0..LARGE {
                expect(&mut stream, &asked, "+OK\r\n").await;
            }
            until_ended(stream).await;
        }
    })
    .await;
    let mut node = resp_node(leave(renaming(), software, 1), true).await;
    for _ in 0..SMALL {
        node.caller.write(command("fetch a")).await;
    }
    until(|| answered.load(Ordering::SeqCst) > 1).await;
    for _ in 0..LARGE {
        node.caller.write(command(&format!("fetch {large}"))).await;
    }
    for _ in 0..SMALL {
        node.caller.is_told(&told).await;
    }
    for _ in 0..LARGE {
        node.caller.is_told("+OK\r\n").await;
    }
}

#[tokio::test]
async fn a_connection_is_given_back_between_calls() {
    let software = scripted(|_, mut stream| async move {
        expect(&mut stream, &command("fetch a"), "+1\r\n").await;
        until_ended(stream).await;
    })
    .await;
    let mut same = leave(Chain::empty(), software, 1);
    same.give_back = true;
    let mut node = resp_node(same, true).await;
    node.caller.write(command("fetch a")).await;
    node.caller.is_told("+1\r\n").await;
    let served = bounded(node.served).await.expect("no panic");
    let Served::GiveBack(stream) = served else {
        panic!("not given back: {served:?}");
    };
    assert!(is_as_lent(&stream), "{stream:?}");
}
