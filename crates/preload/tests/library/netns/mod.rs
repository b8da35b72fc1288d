//! Between two hosts (network namespaces): real time-outs, the slow path, and paths that drop handshakes with data.

use crate::harness::dial::{encoded, serve_labelled, take_data_at_once};
use crate::harness::namespace::{command, drop_incoming, set, within};
use crate::harness::{Node, SYSTEM, kernel_count, table};
use intercept::holder::HandOverReason;
use intercept::label::Label;
use intercept::stats::Counter;
use intercept::table::Table;
use kit::programs::{compile, find, printed};
use network::Namespace;
use network::Pair;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

const PORT: u16 = 7200;
const CLOSED: u16 = 7201;

/// The servers' host as members of the callers.
fn members() -> Table {
    let endpoints =
        [PORT, CLOSED].map(|port| format!("10.99.0.2:{port}").parse().expect("an address"));
    Table {
        endpoints: endpoints.into(),
        services: vec![],
        ..table(&[])
    }
}

struct Bench {
    pair: Pair,
    node: Node,
    probe: std::path::PathBuf,
    labels: Receiver<Option<Label>>,
}

impl Bench {
    fn new(test: &str) -> Option<Self> {
        Self::with(test, &members())
    }

    /// Callers that ask for cookies.
    fn asking(test: &str) -> Option<Self> {
        let table = Table {
            cookies: true,
            ..members()
        };
        Self::with(test, &table)
    }

    fn with(test: &str, table: &Table) -> Option<Self> {
        find(test, "gcc")?;
        let pair = Pair::make(test)?;
        let node = within(&pair.callers, || Node::new(table));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/library/syscalls/probe.c");
        let probe = compile(&source, node.folder.path());
        let listener = within(&pair.servers, || {
            let listener = TcpListener::bind(("10.99.0.2", PORT)).expect("a listener");
            take_data_at_once(&listener);
            listener
        });
        let (sender, labels) = channel();
        serve_labelled(listener, sender);
        Some(Self {
            pair,
            node,
            probe,
            labels,
        })
    }

    /// Runs a scenario bare and preloaded; the transcripts are equal, and so many labels were seen, none in the bare run.
    fn same(&self, scenario: &str, connections: usize) {
        self.same_from(&self.pair.callers, scenario, connections);
    }

    fn same_from(&self, callers: &Namespace, scenario: &str, connections: usize) {
        let run = |preloaded: bool| {
            let mut command = command(callers, &self.probe);
            command.args([scenario, &PORT.to_string(), &CLOSED.to_string()]);
            printed(if preloaded {
                self.node.preload(&mut command)
            } else {
                &mut command
            })
        };
        let bare = run(false);
        assert!(
            self.seen(connections).iter().all(Option::is_none),
            "the bare run was not bare"
        );
        assert_eq!(bare, run(true), "{}", self.node.counters());
        let expected = Some(Label::plain(SYSTEM, 2, 1));
        assert!(
            self.seen(connections)
                .iter()
                .all(|label| *label == expected),
            "{}",
            self.node.counters()
        );
    }

    /// How the labels of the preloaded runs went out: with the handshake, those of them with a cookie, on the slow path, those of
    /// them that asked for a cookie; and how many the servers' kernel took with the first packet.
    fn ways(&self) -> [u64; 5] {
        let stats = self.node.stats();
        let [labelled, cookie, slow, asked] = [
            Counter::ConnectLabelled,
            Counter::ConnectCookie,
            Counter::ConnectSlowPath,
            Counter::ConnectCookieAsked,
        ]
        .map(|counter| stats.get(counter));
        let taken = within(&self.pair.servers, || kernel_count("TCPFastOpenPassive"));
        [labelled, cookie, slow, asked, taken]
    }

    fn seen(&self, connections: usize) -> Vec<Option<Label>> {
        (0..connections)
            .map(|_| {
                self.labels
                    .recv_timeout(crate::harness::PATIENCE)
                    .expect("a connection")
            })
            .collect()
    }
}

#[test]
fn calls_between_hosts_are_the_same() {
    let Some(bench) = Bench::new("calls between hosts") else {
        return;
    };
    bench.same("outside_blocking", 1);
    bench.same("outside_nonblocking", 1);
    assert_eq!(
        bench.node.count(Counter::ConnectLabelled),
        4,
        "{}",
        bench.node.counters()
    );
}

#[test]
fn packets_that_vanish_look_the_same() {
    let Some(bench) = Bench::new("vanishing packets") else {
        return;
    };
    drop_incoming(&bench.pair.servers, &format!("tcp dport {CLOSED}"));
    bench.same("vanished", 0);
    assert_eq!(
        bench.node.count(Counter::ConnectLabelled),
        2,
        "{}",
        bench.node.counters()
    );
}

#[test]
fn where_the_kernel_queues_no_label_the_slow_path_sends_it() {
    let Some(bench) = Bench::new("slow path") else {
        return;
    };
    set(&bench.pair.callers, "net/ipv4/tcp_fastopen", "0");
    bench.same("outside_blocking", 1);
    bench.same("outside_nonblocking", 1);
    let stats = bench.node.stats();
    let counts =
        [Counter::ConnectLabelled, Counter::ConnectSlowPath].map(|counter| stats.get(counter));
    assert_eq!(counts, [0, 2], "{}", bench.node.counters());
}

/// Prints what the first caller says.
const LISTENS: &str = "
import socket, sys
listener = socket.create_server(('127.0.0.1', int(sys.argv[1])))
print('listens', flush=True)
print(listener.accept()[0].recv(100), flush=True)
";

const CALLS: &str = "
import socket, sys
with socket.create_connection(('127.0.0.1', int(sys.argv[1]))) as caller:
    caller.sendall(b'hello')
    caller.recv(1)
";

#[test]
fn a_label_that_cannot_be_prompt_any_more_waits_until_that_is_known() {
    let test = "labels that were prompt";
    let (Some(python), Some(pair)) = (find(test, "python3"), Pair::make(test)) else {
        return;
    };
    let prompt = table(&[PORT]);
    let mut node = within(&pair.callers, || Node::new(&prompt));
    set(&pair.callers, "net/ipv4/tcp_fastopen", "0");
    let run = |program: &str| {
        let mut command = command(&pair.callers, &python);
        command.args(["-c", program, &PORT.to_string()]);
        let command = node.preload(&mut command);
        command.stdout(Stdio::piped()).spawn().expect("it runs")
    };
    let mut server = run(LISTENS);
    let mut said = BufReader::new(server.stdout.take().expect("its output")).lines();
    assert_eq!(said.next().expect("a line").expect("text"), "listens");
    let mut caller = run(CALLS);
    // Its agent has not noticed yet: whoever accepts now would take what it says for a call without a label.
    kit::wait_for("the caller to wait", || {
        node.stats().processes.iter().any(|process| {
            process.pid == caller.id() && process.did(intercept::stats::Deed::Connect)
        })
    });
    node.publish(&Table {
        local_labels_prompt: false,
        ..prompt
    });
    // Accepted before the label has followed, it is the agent's to decide: the software sees nothing of it either way.
    kit::wait_for("the connection to be accepted", || {
        node.count(Counter::AcceptLabelled) == 1 || node.holder.handed_over() == 1
    });
    if let Some(mut given) = node.holder.take_handed_over().pop() {
        assert_eq!(given.reason, HandOverReason::Undecided);
        let mut expected = encoded(&Label::plain(SYSTEM, 2, 1));
        expected.extend(b"hello");
        let mut first = vec![0; expected.len()];
        given
            .stream
            .read_exact(&mut first)
            .expect("its first bytes");
        assert_eq!(first, expected);
        given.stream.write_all(b"!").expect("an answer");
        server.kill().expect("killed");
    } else {
        assert_eq!(said.next().expect("a line").expect("text"), "b'hello'");
    }
    assert!(caller.wait().expect("it ends").success());
    server.wait().expect("it ends");
    assert_eq!(node.count(Counter::ConnectSlowPath), 1);
}

#[test]
fn a_slow_path_without_an_answer_is_given_up() {
    let Some(bench) = Bench::new("slow path without an answer") else {
        return;
    };
    set(&bench.pair.callers, "net/ipv4/tcp_fastopen", "0");
    drop_incoming(&bench.pair.servers, &format!("tcp dport {PORT}"));
    let mut command = command(&bench.pair.callers, &bench.probe);
    command.args([
        "outside_nonblocking",
        &PORT.to_string(),
        &CLOSED.to_string(),
    ]);
    let begun = Instant::now();
    let text = printed(bench.node.preload(&mut command));
    assert!(
        text.starts_with("connect(fd, ADDRESS(to)) = -1 ETIMEDOUT"),
        "{text}"
    );
    assert!(begun.elapsed() < crate::harness::PATIENCE);
    assert!(
        bench.node.count(Counter::ConnectSlowPathFailed) >= 1,
        "{}",
        bench.node.counters()
    );
}

#[test]
fn a_path_that_drops_handshakes_with_data_is_remembered() {
    for scenario in ["outside_blocking_again", "outside_nonblocking_again"] {
        let Some(bench) = Bench::new("dropped handshakes") else {
            return;
        };
        // A SYN has 60 bytes; one with a label more than 80.
        drop_incoming(
            &bench.pair.servers,
            "tcp flags & (syn | ack) == syn meta length > 80",
        );
        let connections = if scenario == "outside_blocking_again" {
            4
        } else {
            5
        };
        bench.same(scenario, connections);
        let stats = bench.node.stats();
        assert_eq!(
            stats.get(Counter::PathRemembered),
            1,
            "{scenario}: {}",
            bench.node.counters()
        );
        assert!(
            stats.get(Counter::ConnectSlowPath) >= 1,
            "{scenario}: {}",
            bench.node.counters()
        );
    }
}

/// As on a host whose listener's queue is full: a label on the slow path would come too late for accept.
#[test]
fn a_path_within_one_host_is_never_remembered() {
    let Some(bench) = Bench::new("dropped handshakes within one host") else {
        return;
    };
    drop_incoming(
        &bench.pair.servers,
        "tcp flags & (syn | ack) == syn meta length > 80",
    );
    bench.same_from(&bench.pair.servers, "outside_blocking_again", 4);
    assert_eq!(bench.ways(), [5, 0, 0, 0, 0], "{}", bench.node.counters());
}

#[test]
fn a_lost_packet_on_a_remembered_path_fails_no_connect() {
    let Some(bench) = Bench::new("a lost packet on a remembered path") else {
        return;
    };
    // Handshakes with data never arrive, and of those without every other first packet is lost.
    drop_incoming(
        &bench.pair.servers,
        "tcp flags & (syn | ack) == syn meta length > 80",
    );
    bench
        .pair
        .servers
        .nft(
            "add rule inet t c tcp flags & (syn | ack) == syn meta length <= 80 numgen inc mod 2 == 0 drop",
        )
        .expect("a rule");
    bench.same("outside_nonblocking_again", 5);
    let stats = bench.node.stats();
    assert_eq!(
        [Counter::PathRemembered, Counter::ConnectSlowPathFailed].map(|counter| stats.get(counter)),
        [1, 0],
        "{}",
        bench.node.counters()
    );
}

#[test]
fn a_member_that_gives_a_cookie_gets_labels_with_the_first_packet() {
    let Some(bench) = Bench::asking("cookies") else {
        return;
    };
    set(&bench.pair.servers, "net/ipv4/tcp_fastopen", "3");
    // The first asks; the closed port, which is a connection too, resets what came with the cookie.
    bench.same("outside_blocking", 1);
    assert_eq!(bench.ways(), [1, 1, 1, 1, 0], "{}", bench.node.counters());
    bench.same("outside_nonblocking", 1);
    bench.same("outside_blocking_again", 4);
    assert_eq!(bench.ways(), [8, 8, 1, 1, 5], "{}", bench.node.counters());
}

#[test]
fn a_member_that_forgets_its_cookies_gets_labels_with_the_handshake() {
    let Some(bench) = Bench::asking("cookies forgotten") else {
        return;
    };
    set(&bench.pair.servers, "net/ipv4/tcp_fastopen", "3");
    bench.same("outside_blocking", 1);
    set(
        &bench.pair.servers,
        "net/ipv4/tcp_fastopen_key",
        "00000001-00000002-00000003-00000004",
    );
    // A cookie that is not known any more is answered with a new one, and the label comes with the handshake's last packet.
    bench.same("outside_nonblocking", 1);
    assert_eq!(bench.ways(), [3, 3, 1, 1, 0], "{}", bench.node.counters());
    bench.same("outside_nonblocking", 1);
    assert_eq!(bench.ways(), [5, 5, 1, 1, 1], "{}", bench.node.counters());
}

#[test]
fn a_member_that_gives_no_cookie_is_not_asked_each_time() {
    let Some(bench) = Bench::asking("no cookies") else {
        return;
    };
    for scenario in [
        "outside_blocking",
        "outside_nonblocking",
        "outside_blocking",
    ] {
        bench.same(scenario, 1);
    }
    // The second to be asked was the closed port: that its host had nothing for the first shows there.
    assert_eq!(bench.ways(), [4, 0, 1, 2, 0], "{}", bench.node.counters());
}

#[test]
fn a_member_that_does_not_answer_is_not_waited_for_to_ask_it() {
    let Some(bench) = Bench::asking("cookies without an answer") else {
        return;
    };
    drop_incoming(&bench.pair.servers, &format!("tcp dport {CLOSED}"));
    bench.same("vanished", 0);
    // The blocking connect waited for its own time-out; the other one went on without a cookie, as long as nobody answers.
    assert_eq!(bench.ways(), [1, 0, 0, 2, 0], "{}", bench.node.counters());
}
