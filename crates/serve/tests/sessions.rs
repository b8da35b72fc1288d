//! Sessions over real sockets, and against the fuzz target's reference.

use call::{
    AdapterFailed, Direction, EventAnswer, Limits, MessageHead, OutgoingMessage, Party, Pending,
    Reaction, Session, SessionCaller, SessionVerdict, Sessions,
};
use model::bundle::{ByteOrder, Counts, Cut, Framing, LengthField};
use proptest::prelude::*;
use serve::{SessionChain, SessionEnd, serve_session};
use std::future::ready;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use wire::framing::Codec;

/// How long anything here may take: far more than it does.
const LIMIT: Duration = Duration::from_secs(20);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn what_comes_out_is_what_the_reference_says(input in prop::collection::vec(any::<u8>(), 8..60)) {
        oracles::sessions::check(&input);
    }

    #[test]
    fn whole_messages_too(
        setup in any::<[u8; 8]>(),
        messages in prop::collection::vec("[0-7][a-z]{0,20}", 0..12),
    ) {
        let lines: String = messages.iter().map(|message| format!("{message}\n")).collect();
        let mut input = setup.to_vec();
        // All links are lines, and no line is cut between the two sides.
        input[3..7].fill(0);
        let half = messages.len() / 2;
        let first: usize = messages[..half].iter().map(|message| message.len() + 1).sum();
        input[7] = u8::try_from((first * 256).div_ceil(lines.len().max(1)).min(255)).expect("small");
        input.extend(lines.bytes());
        oracles::sessions::check(&input);
    }
}

#[test]
fn what_fuzzing_began_with_or_found_is_as_the_reference_says() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/sessions");
    let seeds = std::fs::read_dir(folder).expect("seeds");
    let mut count = 0;
    for seed in seeds {
        let path = seed.expect("a seed").path();
        oracles::sessions::check(&std::fs::read(&path).expect("readable"));
        count += 1;
    }
    assert!(count >= 6, "{count}");
}

/// What the adapter under test does with a message, by its first letter.
#[derive(Default)]
struct Letters {
    closed: AtomicUsize,
}

fn answer<'a, T: Send + 'a>(value: T) -> EventAnswer<'a, T> {
    Box::pin(ready(Ok(value)))
}

fn to(to: Party, message: &[u8]) -> OutgoingMessage {
    OutgoingMessage {
        to,
        message: message.to_vec(),
    }
}

impl Sessions for Letters {
    fn open<'a>(&'a self, _: u64, caller: &'a SessionCaller) -> EventAnswer<'a, Reaction> {
        let hello = format!("hello from {}", caller.service);
        answer(Reaction {
            send: vec![to(Party::Next, hello.as_bytes())],
            ..Reaction::default()
        })
    }

    fn on_head<'a>(
        &'a self,
        _: Session<'a>,
        _: Party,
        head: MessageHead<'a>,
    ) -> EventAnswer<'a, SessionVerdict> {
        answer(match head.bytes.first() {
            Some(b'R') => SessionVerdict::ReplaceHead([b"r", head.bytes].concat()),
            Some(b'D') => SessionVerdict::Drop,
            Some(b'P' | b'T' | b'C' | b'F') => SessionVerdict::Whole,
            _ => SessionVerdict::Pass,
        })
    }

    fn on_message<'a>(
        &'a self,
        session: Session<'a>,
        sender: Party,
        message: &'a [u8],
    ) -> EventAnswer<'a, Reaction> {
        let mut reaction = Reaction::default();
        match message[0] {
            b'P' => reaction.send = vec![to(sender, b"pong")],
            b'T' => {
                reaction.timer_ms = Some(5);
                reaction.memo = Some([session.memo, &message[1..]].concat());
            }
            b'C' => {
                reaction.send = vec![to(sender, b"bye")];
                reaction.close = Some("it was asked to".to_owned());
            }
            _ => return Box::pin(ready(Err(AdapterFailed("it trapped".to_owned())))),
        }
        answer(reaction)
    }

    fn on_timer<'a>(&'a self, session: Session<'a>) -> EventAnswer<'a, Reaction> {
        answer(Reaction {
            send: vec![to(Party::Caller, session.memo)],
            ..Reaction::default()
        })
    }

    fn closed<'a>(&'a self, _: Session<'a>) -> Pending<'a, ()> {
        self.closed.fetch_add(1, Ordering::SeqCst);
        Box::pin(ready(()))
    }
}

fn framing() -> Framing {
    Framing {
        cut: Cut::Length(LengthField {
            offset: 0,
            bytes: 4,
            order: ByteOrder::Big,
            counts: Counts::Body,
            header_bytes: 4,
            checksum: None,
        }),
        head_bytes: 8,
        message_bytes_max: 1 << 30,
    }
}

/// A session that runs, as its two peers see it.
struct Running {
    caller: TcpStream,
    software: TcpStream,
    adapter: Arc<Letters>,
    over: oneshot::Sender<()>,
    end: JoinHandle<SessionEnd>,
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("an address");
    let (one, other) = tokio::join!(TcpStream::connect(address), listener.accept());
    (one.expect("connected"), other.expect("accepted").0)
}

async fn session() -> Running {
    let (caller, inner_caller) = pair().await;
    let (software, inner_software) = pair().await;
    let adapter = Arc::new(Letters::default());
    let codec = Arc::new(Codec::new(framing()));
    let steps: Vec<(Arc<dyn Sessions>, Arc<Codec>)> = vec![(adapter.clone(), codec.clone())];
    let chain = Arc::new(SessionChain::new(Direction::Past, codec, steps));
    let (over, is_over) = oneshot::channel();
    let end = tokio::spawn(async move {
        let who = SessionCaller {
            version: 1,
            address: "192.0.2.1:1".parse().expect("an address"),
            service: "bus".into(),
        };
        let limits = Limits::default();
        let over = async {
            if is_over.await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        serve_session(inner_caller, inner_software, chain, &who, 1, &limits, over).await
    });
    let mut running = Running {
        caller,
        software,
        adapter,
        over,
        end,
    };
    assert_eq!(receive(&mut running.software).await, b"hello from bus");
    running
}

async fn send(stream: &mut TcpStream, message: &[u8]) {
    let length = u32::try_from(message.len()).expect("short");
    stream
        .write_all(&length.to_be_bytes())
        .await
        .expect("written");
    stream.write_all(message).await.expect("written");
}

async fn receive(stream: &mut TcpStream) -> Vec<u8> {
    let receiving = async {
        let length = stream.read_u32().await.expect("a length");
        let mut message = vec![0; length as usize];
        stream.read_exact(&mut message).await.expect("a message");
        message
    };
    timeout(LIMIT, receiving).await.expect("a message comes")
}

async fn ended(running: JoinHandle<SessionEnd>) -> SessionEnd {
    let end = timeout(LIMIT, running).await.expect("it ends");
    end.expect("no panic")
}

#[tokio::test]
async fn messages_pass_are_changed_dropped_and_answered() {
    let mut running = session().await;
    for message in [
        &b"as it is"[..],
        b"R with another head",
        b"D is gone",
        b"P",
        b"last",
    ] {
        send(&mut running.caller, message).await;
    }
    assert_eq!(receive(&mut running.software).await, b"as it is");
    assert_eq!(
        receive(&mut running.software).await,
        b"rR with another head"
    );
    assert_eq!(receive(&mut running.software).await, b"last");
    assert_eq!(receive(&mut running.caller).await, b"pong");
    send(&mut running.software, b"from the other side").await;
    assert_eq!(receive(&mut running.caller).await, b"from the other side");
}

#[tokio::test]
async fn large_messages_stream_both_ways_at_once() {
    let mut running = session().await;
    let large: Vec<u8> = (0..8_000_000_u32)
        .map(|number| (number % 251) as u8)
        .collect();
    let replaced = [b"R", &large[..]].concat();
    let (mut caller_in, mut caller_out) = running.caller.split();
    let (mut software_in, mut software_out) = running.software.split();
    let write = async |to: &mut tokio::net::tcp::WriteHalf<'_>, messages: [&[u8]; 2]| {
        for message in messages {
            to.write_u32(message.len() as u32).await.expect("written");
            to.write_all(message).await.expect("written");
        }
    };
    let read = async |from: &mut tokio::net::tcp::ReadHalf<'_>, messages: [Vec<u8>; 2]| {
        for expected in messages {
            let length = from.read_u32().await.expect("a length") as usize;
            assert_eq!(length, expected.len());
            let mut message = vec![0; length];
            from.read_exact(&mut message).await.expect("a message");
            assert!(message == expected, "a byte differs");
        }
    };
    let expected = [large.clone(), [b"r", &replaced[..]].concat()];
    let all = async {
        tokio::join!(
            write(&mut caller_out, [&large, &replaced]),
            write(&mut software_out, [&large, &replaced]),
            read(&mut caller_in, expected.clone()),
            read(&mut software_in, expected.clone()),
        )
    };
    timeout(LIMIT, all)
        .await
        .expect("nobody waits for the other");
}

#[tokio::test]
async fn an_answer_is_not_held_up_by_a_message_that_nobody_reads_yet() {
    let mut running = session().await;
    // More than sockets and pipe hold: it is stuck until the caller reads.
    let large = vec![b'x'; 64 << 20];
    let (mut from_software, mut to_software) = running.software.into_split();
    let sending = tokio::spawn(async move {
        to_software.write_u32(64 << 20).await.expect("written");
        to_software.write_all(&large).await.expect("written");
        to_software
    });
    // What the caller says goes on, although an answer to it waits behind the large message.
    send(&mut running.caller, b"P").await;
    send(&mut running.caller, b"still heard").await;
    let heard = async {
        let length = from_software.read_u32().await.expect("a length");
        let mut message = vec![0; length as usize];
        from_software
            .read_exact(&mut message)
            .await
            .expect("a message");
        message
    };
    assert_eq!(timeout(LIMIT, heard).await.expect("heard"), b"still heard");
    assert_eq!(receive(&mut running.caller).await.len(), 64 << 20);
    assert_eq!(receive(&mut running.caller).await, b"pong");
    timeout(LIMIT, sending)
        .await
        .expect("sent")
        .expect("no panic");
}

#[tokio::test]
async fn a_timer_wakes_the_adapter_with_its_memo() {
    let mut running = session().await;
    send(&mut running.caller, b"Tremembered").await;
    assert_eq!(receive(&mut running.caller).await, b"remembered");
}

#[tokio::test]
async fn sides_end_one_after_the_other() {
    let mut running = session().await;
    send(&mut running.caller, b"last words").await;
    running.caller.shutdown().await.expect("shut down");
    assert_eq!(receive(&mut running.software).await, b"last words");
    let mut rest = Vec::new();
    let end = timeout(LIMIT, running.software.read_to_end(&mut rest));
    assert_eq!(end.await.expect("it is told").expect("in order"), 0);
    send(&mut running.software, b"an answer all the same").await;
    assert_eq!(
        receive(&mut running.caller).await,
        b"an answer all the same"
    );
    drop(running.software);
    assert!(matches!(ended(running.end).await, SessionEnd::Finished));
    assert_eq!(running.adapter.closed.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_adapter_ends_a_session_after_its_last_message() {
    let mut running = session().await;
    send(&mut running.caller, b"C").await;
    assert_eq!(receive(&mut running.caller).await, b"bye");
    let mut rest = Vec::new();
    let read = timeout(LIMIT, running.caller.read_to_end(&mut rest));
    assert_eq!(read.await.expect("it ends").expect("in order"), 0);
    drop((running.caller, running.software));
    let end = ended(running.end).await;
    assert!(
        matches!(&end, SessionEnd::Closed(why) if why == "it was asked to"),
        "{end:?}"
    );
}

async fn is_reset(mut stream: TcpStream) {
    let mut rest = Vec::new();
    let read = timeout(LIMIT, stream.read_to_end(&mut rest)).await;
    let error = read.expect("it ends").expect_err("not in order");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_flip_resets_both_sides_and_the_adapter_hears_of_it() {
    let running = session().await;
    running.over.send(()).expect("it runs");
    assert!(matches!(ended(running.end).await, SessionEnd::Over));
    is_reset(running.caller).await;
    is_reset(running.software).await;
    assert_eq!(running.adapter.closed.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_adapter_that_fails_and_a_stream_that_is_none_cost_the_session() {
    let mut running = session().await;
    send(&mut running.caller, b"F").await;
    let end = ended(running.end).await;
    assert!(
        matches!(&end, SessionEnd::Reset(error) if error.to_string().contains("it trapped")),
        "{end:?}"
    );
    is_reset(running.caller).await;
    is_reset(running.software).await;

    let mut running = session().await;
    running
        .software
        .write_all(&[0xff; 4])
        .await
        .expect("written");
    let end = ended(running.end).await;
    assert!(
        matches!(&end, SessionEnd::Reset(error) if error.to_string().contains("longer than")),
        "{end:?}"
    );
    is_reset(running.caller).await;
}
