//! What thousands of open foreign connections cost that are mostly idle, in the process that serves them.
//!
//! The peers are a process of their own, so that only what serving needs is in the figure: every connection has carried a message
//! both ways, and then waits. What the kernel keeps for a socket is not in it; that is the same for any program.

use call::{
    Chain, Closed, Counters, Dial, Direction, EventAnswer, Gate, Lease, Limits, MessageHead, Party,
    Pending, Reaction, Session, SessionCaller, SessionVerdict, Sessions, Upstream,
};
use lens::Lens;
use model::bundle::{ByteOrder, Counts, Cut, Framing, LengthField};
use serve::serve_http;
use serve::{SessionChain, serve_session};
use std::future::ready;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use wire::framing::Codec;

/// As many as an agent must be able to hold.
const CONNECTIONS: usize = 8_000;

/// Two sockets for each, and some.
const DESCRIPTORS: usize = 2 * CONNECTIONS + 200;

/// How often it is looked whether the peers are done.
const LOOK_PAUSE: Duration = Duration::from_millis(10);

/// The promise.
const KIB_MAX: f64 = 40.0;

/// Calls, answers, and then holds everything open until its input ends.
const PEERS: &str = r#"
import resource, socket, sys
port, number, said, answered = int(sys.argv[1]), int(sys.argv[2]), *(bytes.fromhex(x) for x in sys.argv[3:5])
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
software = socket.create_server(("127.0.0.1", 0), backlog=64)
print(software.getsockname()[1], flush=True)
held = []
def whole(connection, end):
    got = b""
    while not got.endswith(end):
        part = connection.recv(4096)
        assert part, got
        got += part
for _ in range(number):
    caller = socket.create_connection(("127.0.0.1", port))
    caller.sendall(said)
    upstream, _ = software.accept()
    whole(upstream, said[-4:])
    upstream.sendall(answered)
    whole(caller, answered[-4:])
    held.append((caller, upstream))
print("open", flush=True)
sys.stdin.read()
"#;

/// Lets everything pass, and remembers something of each session.
struct Remembers;

impl Sessions for Remembers {
    fn open<'a>(&'a self, _: u64, _: &'a SessionCaller) -> EventAnswer<'a, Reaction> {
        Box::pin(ready(Ok(Reaction {
            memo: Some(vec![7; 64]),
            ..Reaction::default()
        })))
    }

    fn on_head<'a>(
        &'a self,
        _: Session<'a>,
        _: Party,
        _: MessageHead<'a>,
    ) -> EventAnswer<'a, SessionVerdict> {
        Box::pin(ready(Ok(SessionVerdict::Pass)))
    }

    fn on_message<'a>(
        &'a self,
        _: Session<'a>,
        _: Party,
        _: &'a [u8],
    ) -> EventAnswer<'a, Reaction> {
        Box::pin(ready(Ok(Reaction::default())))
    }

    fn on_timer<'a>(&'a self, _: Session<'a>) -> EventAnswer<'a, Reaction> {
        Box::pin(ready(Ok(Reaction::default())))
    }

    fn closed<'a>(&'a self, _: Session<'a>) -> Pending<'a, ()> {
        Box::pin(ready(()))
    }
}

struct Through(Arc<Chain>, SocketAddr);

impl Gate for Through {
    fn enter(&self) -> Pending<'_, Result<Lease, Closed>> {
        Box::pin(ready(Ok(Lease {
            chain: self.0.clone(),
            upstream: Upstream {
                address: self.1,
                generation: 1,
            },
            give_back: false,
            guard: None,
        })))
    }
}

struct Plain;

impl Dial for Plain {
    fn dial(&self, upstream: Upstream, _: SocketAddr) -> Pending<'_, io::Result<TcpStream>> {
        Box::pin(TcpStream::connect(upstream.address))
    }
}

fn chain_of_sessions() -> Arc<SessionChain> {
    let codec = Arc::new(Codec::new(Framing {
        cut: Cut::Length(LengthField {
            offset: 0,
            bytes: 4,
            order: ByteOrder::Big,
            counts: Counts::Rest,
            header_bytes: 4,
            checksum: None,
        }),
        head_bytes: 64,
        message_bytes_max: 1 << 30,
    }));
    let steps: Vec<(Arc<dyn Sessions>, _)> = vec![(Arc::new(Remembers), codec.clone())];
    Arc::new(SessionChain::new(Direction::Past, codec, steps))
}

fn chain_of_lenses() -> Arc<Chain> {
    let lens = "
        [[operation]]
        old = 'POST /items'
        new = 'POST /things'
        request = [{ old = 'body.name', new = 'body.title' }]
        [[operation.response]]
        status = 200
        rules = [{ old = 'body.name', new = 'body.title' }]
    ";
    let lens = Arc::new(Lens::parse("lens.toml", lens).expect("a lens"));
    Arc::new(lens::chain(vec![(lens, Direction::Past)]))
}

/// Serves every connection until the test ends.
async fn serve_all(listener: TcpListener, software: SocketAddr, sessions: bool) {
    let (session, lenses) = (chain_of_sessions(), chain_of_lenses());
    let (limits, counters) = (Arc::new(Limits::default()), Arc::new(Counters::default()));
    for id in 0.. {
        let (caller, address) = listener.accept().await.expect("accepted");
        let limits = limits.clone();
        if sessions {
            let session = session.clone();
            tokio::spawn(async move {
                let upstream = TcpStream::connect(software).await.expect("connected");
                let who = SessionCaller {
                    version: 1,
                    address,
                    service: "bus".into(),
                };
                let never = std::future::pending();
                serve_session(caller, upstream, session, &who, id, &limits, never).await
            });
        } else {
            let gate = Arc::new(Through(lenses.clone(), software));
            let served = serve_http(
                caller,
                address,
                gate,
                Arc::new(Plain),
                limits,
                counters.clone(),
            );
            tokio::spawn(served);
        }
    }
}

/// This process's memory that is in use, in KiB (`VmRSS`, proc(5)).
fn resident_kib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number
        .and_then(|number| number.parse().ok())
        .expect("a number")
}

fn descriptors() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").expect("proc");
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().nth(3));
    soft.and_then(|soft| soft.parse().ok()).unwrap_or(0)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Ends the peers, and with them every connection, also when the test fails.
struct Peers(Child);

impl Drop for Peers {
    fn drop(&mut self) {
        // They may have ended by themselves.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The memory of each of many connections that have said and been answered this, in KiB.
fn measure(sessions: bool, said: &[u8], answered: &[u8]) -> f64 {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let listener = runtime
        .block_on(TcpListener::bind("127.0.0.1:0"))
        .expect("bound");
    let port = listener.local_addr().expect("an address").port();
    let mut command = Command::new("python3");
    command.args(["-c", PEERS, &port.to_string(), &CONNECTIONS.to_string()]);
    command.args([hex(said), hex(answered)]);
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut peers = Peers(child.expect("python3"));
    let mut lines = BufReader::new(peers.0.stdout.take().expect("piped")).lines();
    let software = lines.next().expect("a line").expect("read");
    let software: u16 = software.parse().expect("a port");
    let software = SocketAddr::from(([127, 0, 0, 1], software));
    let before = resident_kib();
    let open = std::thread::spawn(move || lines.next());
    runtime.block_on(async {
        let serving = tokio::spawn(serve_all(listener, software, sessions));
        while !open.is_finished() {
            assert!(!serving.is_finished(), "nobody accepts any more");
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    });
    let open = open
        .join()
        .expect("no panic")
        .expect("the peers run")
        .expect("read");
    assert_eq!(open, "open");
    (resident_kib() - before) / CONNECTIONS as f64
}

fn check(test: &str, sessions: bool, said: &[u8], answered: &[u8]) {
    if descriptors() < DESCRIPTORS {
        println!("SKIPPED: {test}: needs {DESCRIPTORS} descriptors (ulimit -n)");
        return;
    }
    let kib = measure(sessions, said, answered);
    println!("{test}: {CONNECTIONS} connections, {kib:.1} KiB each");
    assert!(kib < KIB_MAX, "{kib:.1} KiB for each connection");
}

#[test]
fn eight_thousand_open_sessions_take_little_each() {
    let message = b"\0\0\0\x08message!";
    check(
        "eight_thousand_open_sessions_take_little_each",
        true,
        message,
        message,
    );
}

#[test]
fn eight_thousand_open_connections_through_a_lens_take_little_each() {
    let said = b"POST /items HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 12\r\n\r\n{\"name\":\"a\"}";
    let answered = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 13\r\n\r\n{\"title\":\"a\"}";
    let test = "eight_thousand_open_connections_through_a_lens_take_little_each";
    // The last bytes are the same before and after: only the names change.
    check(test, false, said, answered);
}
