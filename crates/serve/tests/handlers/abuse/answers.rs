//! Software that answers what it should not: it costs the call at most, and the caller gets one answer that can be read
//! in one way only, or a connection that ends as at a dead process.

use call::{Chain, Limits};
use serve::{ResetCause, Served};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{lens, statuses};
use crate::node::*;

/// What the software answers, and what the caller gets: the statuses, then the last answer from its headers on.
struct Case(&'static str, &'static [u8], &'static str);

const ANSWERS: &[Case] = &[
    Case("plain", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "200|content-length: 2||ok"),
    Case("two lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nokk", "reset"),
    Case("a list of lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nokk", "reset"),
    Case("the same length twice", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", "200|content-length: 2||ok"),
    Case("a list of one length", b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok", "200|content-length: 2||ok"),
    Case("a negative length", b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok", "reset"),
    Case("chunks and a length", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n2\r\nok\r\n0\r\n\r\n", "200|transfer-encoding: chunked||2\r\nok\r\n0\r\n\r\n"),
    Case("a length and chunks", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "200|transfer-encoding: chunked||2\r\nok\r\n0\r\n\r\n"),
    Case("another coding under the chunks", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "reset"),
    Case("an unknown coding", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\nok", "reset"),
    Case("chunk extensions", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nok\r\n0\r\n\r\n", "200|transfer-encoding: chunked||2\r\nok\r\n0\r\n\r\n"),
    Case("a chunk size beyond 64 bits", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000002\r\nok\r\n0\r\n\r\n", "reset"),
    Case("chunks that break off", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nok", "reset"),
    Case("a body that breaks off", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", "reset"),
    Case("a head that breaks off", b"HTTP/1.1 200 OK\r\nContent-Le", "reset"),
    Case("nothing", b"", "reset"),
    Case("noise", b"\x00\x01\x02\r\n\r\n", "reset"),
    Case("another protocol", b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "reset"),
    Case("HTTP/0.9", b"<html>ok</html>", "reset"),
    Case("HTTP/2", b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "reset"),
    Case("a status of two digits", b"HTTP/1.1 99 No\r\nContent-Length: 2\r\n\r\nok", "reset"),
    Case("a status that is none", b"HTTP/1.1 2OO OK\r\nContent-Length: 2\r\n\r\nok", "reset"),
    Case("a folded header", b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok", "reset"),
    Case("a bare CR in a header", b"HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\nContent-Length: 2\r\n\r\nok", "reset"),
    Case("a NUL in a header", b"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 2\r\n\r\nok", "reset"),
    Case("a space before a colon", b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok", "reset"),
    Case("a reason with a line end", b"HTTP/1.1 200 OK\rX: y\r\nContent-Length: 2\r\n\r\nok", "reset"),
    Case("a protocol nobody asked for", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nraw", "reset"),
    Case("a second answer behind the first", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", "200|content-length: 2||ok"),
    Case("more than the length says", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokmore", "200|content-length: 2||ok"),
    Case("a body where none may be", b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok", "204||"),
    Case("chunks where no body may be", b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "304||"),
    Case("interim answers", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "103 200"),
    Case("only interim answers", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n", "reset"),
];

async fn read_head(stream: &mut TcpStream) {
    let mut seen = Vec::new();
    let mut byte = [0];
    while !seen.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte).await, Ok(1)) {
        seen.push(byte[0]);
    }
}

/// Calls once, and reads everything that comes back.
async fn call(chain: Chain, address: std::net::SocketAddr) -> (String, Served, u64) {
    let mut node = Node::start(Some(leave(chain, address, 1)), limits()).await;
    node.caller
        .write(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
        .await;
    let _ = node.caller.stream.shutdown().await;
    let mut bytes = Vec::new();
    let ended = bounded(node.caller.stream.read_to_end(&mut bytes)).await;
    let counters = node.counters.clone();
    let statuses = statuses(&bytes, &ended);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let shown = match (statuses.len(), text.split_once("\r\n\r\n")) {
        (3, Some((head, body))) => {
            let headers: Vec<String> = (head.lines().skip(1))
                .map(str::to_ascii_lowercase)
                .filter(|line| !line.starts_with("connection"))
                .collect();
            format!("{statuses}|{}||{body}", headers.join("|"))
        }
        // Whatever came before a reset is not to be believed.
        _ if statuses.ends_with("reset") => "reset".to_owned(),
        _ => statuses,
    };
    let served = node.served().await;
    (shown, served, counters.read().failed)
}

#[tokio::test]
async fn an_answer_can_be_read_in_one_way_only_or_is_none() {
    let mut wrong = String::new();
    for Case(name, bytes, expected) in ANSWERS {
        for chain in [Chain::empty(), lens()] {
            let address = scripted(move |_, mut stream| async move {
                read_head(&mut stream).await;
                let _ = stream.write_all(bytes).await;
            })
            .await;
            let (shown, served, _) = call(chain, address).await;
            let in_order = match *expected {
                "reset" => matches!(served, Served::Reset(ResetCause::Software)),
                _ => matches!(served, Served::Closed),
            };
            let expected = expected
                .replace("204||", "204|||")
                .replace("304||", "304|||");
            if shown != expected || !in_order {
                wrong.push_str(&format!(
                    "--- {name}: expected {expected:?}, came {shown:?}, {served:?}\n"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Software that answers nothing but floods: a call that would never end, and memory that would never do.
#[tokio::test]
async fn a_flood_ends_the_call() {
    const FLOODS: [(&str, &[u8]); 3] = [
        (
            "interim answers",
            b"HTTP/1.1 100 Continue\r\nX: 1234567890\r\n\r\n",
        ),
        ("headers", b"X-Header: 12345678901234567890\r\n"),
        ("one header", b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
    ];
    for (index, (name, flood)) in FLOODS.into_iter().enumerate() {
        let address = scripted(move |_, mut stream| async move {
            read_head(&mut stream).await;
            if index > 0 {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX: ").await;
            }
            let block = flood.repeat(1000);
            while stream.write_all(&block).await.is_ok() {}
        })
        .await;
        let (shown, served, failed) = call(Chain::empty(), address).await;
        assert_eq!(shown, "reset", "{name}");
        assert!(
            matches!(served, Served::Reset(ResetCause::Software)),
            "{name}: {served:?}"
        );
        assert_eq!(failed, 1, "{name}");
    }
}

/// A body that no lens touches may be as long as it likes: it streams, however slowly the caller reads.
#[tokio::test]
async fn a_body_without_end_waits_for_its_reader() {
    let sent = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = sent.clone();
    let address = scripted(move |_, mut stream| {
        let sent = counted.clone();
        async move {
            read_head(&mut stream).await;
            let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            let chunk = [b"10000\r\n".as_slice(), &[b'x'; 0x10000], b"\r\n"].concat();
            let _ = stream.write_all(head).await;
            while stream.write_all(&chunk).await.is_ok() {
                sent.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            }
        }
    })
    .await;
    let limits = Limits::default();
    let mut node = Node::start(Some(leave(Chain::empty(), address, 1)), limits).await;
    node.caller
        .write(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
        .await;
    let mut some = vec![0; 8 << 20];
    bounded(node.caller.stream.read_exact(&mut some))
        .await
        .expect("a long body");
    drop(node.caller);
    assert!(matches!(
        bounded(node.served).await.expect("no panic"),
        Served::Closed | Served::Reset(_)
    ));
    // What was sent beyond what was read lay in the sockets' buffers and in one of the agent's.
    let ahead = sent.load(std::sync::atomic::Ordering::SeqCst) * 0x10000 - some.len();
    assert!(
        ahead < 64 << 20,
        "{ahead} bytes were taken that nobody had read"
    );
}
