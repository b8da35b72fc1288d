//! What strangers send to a port under Upstart instead of a label: it costs their own connection, and nothing of a label
//! ever reaches the software as data.

use crate::harness::{Boxes, Caller, System, dial_with, is_crash, until};
use label::{LABEL_BYTES_MAX, Label};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// The longest that a silent half of a label may be waited for (the agent's limit is 3.5 s), and some more.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

fn label(system: u64, version: u32) -> Vec<u8> {
    let mut bytes = [0; LABEL_BYTES_MAX];
    let length = Label::plain(system, version, u32::MAX).encode(&mut bytes);
    bytes[..length].to_vec()
}

/// Sends bytes, and reads until the connection ends: what came back.
fn send(port: u16, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    // Whoever is reset while it still writes has its answer.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(answer),
        Err(error) => Err(error),
        Ok(_) => Ok(answer),
    }
}

#[test]
fn strangers_at_a_hooked_port_cost_their_own_connection() {
    let system = System::with(&Boxes::version(1).bundle());
    let node = system.settled_box("a", 1, 1);
    system.publish(&Boxes::version(2).schedule("approval = true").bundle());
    system.until_staged(&node, 2);
    let (port, id) = (system.port(1), system.view().system_id);
    let mut usual = Caller::unlabelled(port, 1).expect("connected");
    usual.put("apples", 7).expect("answered");
    let good = label(id, 2);
    let request = b"GET /items?id=apples HTTP/1.1\r\nHost: box\r\nConnection: close\r\n\r\n";
    let flipped = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        [&bytes[..], request].concat()
    };
    let signature = &good[..12];
    let never_answered: Vec<(&str, Vec<u8>)> = vec![
        ("a checksum that is wrong", flipped(good.len() - 1)),
        ("a version that was changed", flipped(good.len() / 2)),
        ("another system", [&label(id + 1, 2)[..], request].concat()),
        ("half a label and silence", good[..good.len() - 3].to_vec()),
        ("only the signature, and silence", signature.to_vec()),
        (
            "a header of 64 KiB",
            [signature, &[0x21, 0x11, 0xff, 0xff], &[0; 65_535], request].concat(),
        ),
        ("two labels", [&good[..], &good[..], request].concat()),
    ];
    for (name, bytes) in &never_answered {
        let answer = send(port, bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        let text = String::from_utf8_lossy(&answer).into_owned();
        assert!(
            !text.contains("200 OK") && !text.contains("amount"),
            "{name}: {text}"
        );
        assert_eq!(
            usual.get("apples").expect("answered"),
            Some(7),
            "after {name}"
        );
    }
    // What is no label is the software's own business: it gets all of it, and nothing but it.
    for bytes in [
        &b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\r\n\r\n",
        b"nonsense\r\n\r\n",
    ] {
        let answer = send(port, bytes).expect("an end");
        let text = String::from_utf8_lossy(&answer).into_owned();
        assert!(text.contains("400"), "{bytes:?}: {text}");
    }
    // A label that comes byte by byte is one all the same. Its first byte comes with the handshake: on one host a label never comes
    // late, so whoever says nothing by the time of the accept is taken as unlabelled.
    let mut slow = dial_with(port, &good[..1]).expect("connected");
    slow.set_nodelay(true).expect("set");
    for byte in &good[1..] {
        slow.write_all(&[*byte]).expect("written");
        std::thread::sleep(Duration::from_millis(2));
    }
    slow.write_all(request).expect("written");
    let mut text = String::new();
    slow.read_to_string(&mut text).expect("an answer");
    assert!(text.contains("amount"), "{text}");
    // Nothing of a label was ever taken for a request.
    let output = node.output();
    assert!(!output.contains("QUIT"), "{output}");
    assert_eq!(usual.get("apples").expect("answered"), Some(7));
}

/// Strangers who connect to a holder's socket for hooks, over and over and without waiting.
struct Flood {
    over: Arc<AtomicBool>,
    connected: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Flood {
    const THREADS: usize = 4;

    fn at(node_data: &Path) -> Self {
        let name = std::fs::read(node_data.join("holder.name")).expect("a holder");
        let (over, connected) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let thread = || {
            let address = SocketAddrUnix::new_abstract_name(&name).expect("a name");
            let (over, connected) = (Arc::clone(&over), Arc::clone(&connected));
            std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
                    let kind = SocketType::SEQPACKET;
                    let socket = rustix::net::socket_with(AddressFamily::UNIX, kind, flags, None);
                    if socket.is_ok_and(|socket| rustix::net::connect(&socket, &address).is_ok()) {
                        connected.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        };
        let threads = (0..Self::THREADS).map(|_| thread()).collect();
        Self {
            over,
            connected,
            threads,
        }
    }

    fn end(self) -> u64 {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("joined");
        }
        self.connected.load(Ordering::Relaxed)
    }
}

#[test]
fn a_flood_at_the_hooks_socket_costs_no_caller_and_fills_no_log() {
    let system = System::with(&Boxes::version(1).bundle());
    let node = system.settled_box("a", 1, 1);
    system.publish(&Boxes::version(2).schedule("approval = true").bundle());
    system.until_staged(&node, 2);
    let flood = Flood::at(&node.data);
    for round in 0..100 {
        // Each of them is handed over by the software's hook.
        let mut member = system.member(system.port(1), 2).expect("connected");
        let put = member.put("apples", round);
        put.unwrap_or_else(|error| panic!("caller {round}: {error}"));
    }
    let strangers = flood.end();
    let log = std::fs::metadata(node.data.join("holder.log")).expect("a log");
    assert!(strangers > 1_000, "no flood: {strangers} strangers");
    assert!(
        log.len() < 16 * 1024,
        "{strangers} strangers made a log of {} bytes",
        log.len()
    );
}

#[test]
fn one_address_has_no_more_than_its_share_of_a_nodes_connections() {
    let limit = "calls = { connections_per_address_max = 2 }";
    let system = System::with(&Boxes::version(1).setting(limit).bundle());
    let node = system.settled_box("a", 1, 1);
    system.publish(&Boxes::version(2).schedule("approval = true").bundle());
    system.until_staged(&node, 2);
    let member = || system.member(system.port(1), 2);
    let mut two = [member().expect("connected"), member().expect("connected")];
    for caller in &mut two {
        caller.put("apples", 1).expect("answered");
    }
    let third = member().and_then(|mut caller| caller.get("apples"));
    assert!(is_crash(&third.expect_err("one too many")));
    until("it to be counted", || {
        (system.counter("a", "reset.too_many_from_one_address") == 1).then_some(())
    });
    for caller in &mut two {
        assert_eq!(caller.get("apples").expect("answered"), Some(1));
    }
    drop(two);
    until("a place to be free", || {
        let answered = member().and_then(|mut caller| caller.get("apples"));
        (answered.ok() == Some(Some(1))).then_some(())
    });
}
