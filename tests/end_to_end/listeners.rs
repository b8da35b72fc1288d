//! Listening in every naive way: whatever a program does with its sockets before, between and after `bind` and `listen`, its callers
//! are served through an upgrade and through one that fails.

use crate::harness::{Bundle, Node, NodeOptions, System, until};
use model::api::Phase;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The longest that a call may take: a stop, a start and a probe, and a SYN that is sent again.
const CALL_LIMIT: Duration = Duration::from_secs(20);

/// Sockets that are handed on, watched, asked and set in odd places.
const SOCKETS: [&str; 9] = [
    "plain",
    "no_reuse_address",
    "child_listens",
    "dup_before_bind",
    "socket_passed_on",
    "epoll_before_bind",
    "epoll_before_listen",
    "late_workers",
    "forks_twice",
];

/// Programs that ask the kernel before they listen.
const QUESTIONS: [&str; 6] = [
    "probes_accept_before_listen",
    "options_stay",
    "check_by_bind",
    "check_by_listen",
    "check_by_connect",
    "calls_itself_before_it_is_ready",
];

/// The two versions listen at other addresses, or with another number of sockets.
const ADDRESSES: [&str; 9] = [
    "loopback_wildcard",
    "wildcard_loopback",
    "wildcard_dual",
    "dual_wildcard",
    "two_families_dual",
    "dual_two_families",
    "wildcard_two_addresses",
    "fewer_workers",
    "more_workers",
];

/// Programs that take their listener's callers away before they end.
const ENDS: [&str; 4] = [
    "finishes_between_polls",
    "shuts_down_then_finishes",
    "shuts_two_down_then_finishes",
    "disconnects_then_finishes",
];

/// Callers of one node: one connection for each call.
struct Callers {
    over: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    threads: Vec<std::thread::JoinHandle<Vec<String>>>,
}

impl Callers {
    fn start(port: u16) -> Self {
        let (over, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let threads = (0..2).map(|_| {
            let (over, answered) = (over.clone(), answered.clone());
            std::thread::spawn(move || {
                let mut problems = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    match call(port) {
                        Ok(_) => drop(answered.fetch_add(1, Ordering::Relaxed)),
                        Err(problem) => problems.push(problem),
                    }
                    std::thread::sleep(Duration::from_millis(10));
                }
                problems
            })
        });
        let threads = threads.collect();
        Self {
            over,
            answered,
            threads,
        }
    }

    fn until_more(&self, kind: &str) {
        let before = self.answered.load(Ordering::Relaxed);
        until(&format!("callers of {kind} to be answered"), || {
            (self.answered.load(Ordering::Relaxed) > before + 4).then_some(())
        });
    }

    fn end(self) -> Vec<String> {
        self.over.store(true, Ordering::Relaxed);
        let ended = self.threads.into_iter();
        ended
            .flat_map(|thread| thread.join().expect("it counts"))
            .collect()
    }
}

/// Calls once; the version that answered.
fn call(port: u16) -> Result<u32, String> {
    let begun = Instant::now();
    let problem = |what: &str, error: &dyn std::fmt::Display| {
        format!("{what} after {} ms: {error}", begun.elapsed().as_millis())
    };
    let at = ([127, 0, 0, 1], port).into();
    let mut stream =
        TcpStream::connect_timeout(&at, CALL_LIMIT).map_err(|error| problem("connect", &error))?;
    (stream.set_read_timeout(Some(CALL_LIMIT))).map_err(|error| problem("set", &error))?;
    (stream.write_all(b"GET /who HTTP/1.0\r\n\r\n")).map_err(|error| problem("write", &error))?;
    let own = stream
        .local_addr()
        .map_err(|error| problem("ask", &error))?;
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    read.map_err(|error| problem("read", &error))?;
    let line = answer.lines().last().unwrap_or_default();
    if line.is_empty() {
        // Its process had read the call already when it was stopped: the same as a reset.
        return Err(problem("read", &"Connection reset, without one"));
    }
    let mut words = line.split_whitespace().map(str::parse::<u32>);
    match (words.next(), words.next()) {
        (Some(Ok(version)), Some(Ok(port))) if port == u32::from(own.port()) => Ok(version),
        _ => Err(problem("answer", &format!("{line:?} to {own}"))),
    }
}

/// An upgrade of all kinds; `fails` is a probe that never succeeds.
fn bundle(kinds: &[&str], version: u32, fails: bool) -> Bundle {
    let mut upgrade = format!("system = \"naive\"\nversion = {version}\n");
    if version > 1 {
        writeln!(upgrade, "from = {}", version - 1).expect("text");
    }
    for kind in kinds {
        let program = if fails { 3 } else { version };
        let probe = if fails {
            "{ command = [\"false\"], interval_ms = 50, timeout_ms = 1500 }"
        } else {
            "{ tcp = \"data\", interval_ms = 50, timeout_ms = 20000 }"
        };
        let interface = if version > 1 {
            "\ninterface = \"same\""
        } else {
            ""
        };
        write!(
            upgrade,
            r#"
[class.{kind}.software]
path = "software"
command = ["/usr/bin/python3", "-u", "${{software}}/listen.py", "{kind}"]
environment = {{ HOST = "127.0.0.1", PORT = "${{ports.data}}", VERSION = "{program}" }}

[class.{kind}.service.data]
port = "vars.port"
protocol = "raw"{interface}

[class.{kind}.lifecycle]
probe = {probe}
"#
        )
        .expect("text");
    }
    let program = include_str!("../../matrix/kit/listen.py");
    Bundle::new(upgrade).file("software/listen.py", program)
}

fn nodes(system: &System, kinds: &[&str], version: u32) -> Vec<Node> {
    let started = kinds
        .iter()
        .zip(1..)
        .map(|(kind, number)| system.node(NodeOptions::new(kind, system.port(number)).class(kind)));
    let nodes: Vec<Node> = started.collect();
    for node in &nodes {
        system.until_settled(node, version);
    }
    nodes
}

fn are_served(kinds: &[&str]) {
    let system = System::with(&bundle(kinds, 1, false));
    let nodes = nodes(&system, kinds, 1);
    let callers: Vec<Callers> = (1..=kinds.len() as u16)
        .map(|number| Callers::start(system.port(number)))
        .collect();
    let until_more = |callers: &[Callers]| {
        for (callers, kind) in callers.iter().zip(kinds) {
            callers.until_more(kind);
        }
    };
    until_more(&callers);
    system.publish(&bundle(kinds, 2, false));
    for node in &nodes {
        system.until_settled(node, 2);
    }
    until_more(&callers);
    system.publish(&bundle(kinds, 3, true));
    for node in &nodes {
        system.until_phase(node, Phase::Blocked);
    }
    until_more(&callers);
    let mut problems = Vec::new();
    for ((callers, kind), number) in callers.into_iter().zip(kinds).zip(1..) {
        if call(system.port(number)) != Ok(2) {
            problems.push(format!("{kind} does not serve at 2"));
        }
        problems.extend(callers.end().into_iter().map(|it| format!("{kind}: {it}")));
    }
    // Whatever the program does when it is told to end, it can do: nothing of Upstart's keeps it from that.
    let killed = system
        .events()
        .into_iter()
        .filter(|event| event.kind == "child.killed");
    problems.extend(killed.map(|event| format!("{:?}: {}", event.node, event.message)));
    // A connection that was accepted just when its process was stopped is reset, as by any end of it: rare, and never more than one
    // a caller and stop.
    let resets = |problem: &String| problem.contains("Connection reset");
    let reset = problems.iter().filter(|it| resets(it)).count();
    problems.retain(|problem| !resets(problem));
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(reset <= kinds.len() * 4, "{reset} resets");
}

#[test]
fn callers_are_served_whatever_was_done_with_the_socket() {
    are_served(&SOCKETS);
}

#[test]
fn callers_are_served_by_programs_that_ask_the_kernel_first() {
    are_served(&QUESTIONS);
}

#[test]
fn callers_are_served_though_versions_listen_at_other_addresses() {
    are_served(&ADDRESSES);
}

#[test]
fn callers_are_served_though_programs_shut_their_listeners_down_before_they_end() {
    are_served(&ENDS);
}

/// Whether another process of this user may listen there too, if it asks to share.
fn is_shared(port: u16) -> bool {
    use rustix::net::{AddressFamily, SocketType, bind, listen, socket, sockopt};
    let asks = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    sockopt::set_socket_reuseaddr(&asks, true).expect("set");
    sockopt::set_socket_reuseport(&asks, true).expect("set");
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    bind(&asks, &address)
        .and_then(|()| listen(&asks, 1))
        .is_ok()
}

#[test]
fn after_an_upgrade_the_port_is_the_softwares_alone_again() {
    let kinds = ["plain"];
    let system = System::with(&bundle(&kinds, 1, false));
    let nodes = nodes(&system, &kinds, 1);
    assert!(!is_shared(system.port(1)));
    system.publish(&bundle(&kinds, 2, false));
    system.until_settled(&nodes[0], 2);
    until("nobody to share the port", || {
        (!is_shared(system.port(1))).then_some(())
    });
    assert_eq!(call(system.port(1)), Ok(2));
}

#[test]
fn software_that_does_not_share_its_address_is_started_again_beside_its_own_ended_connections() {
    let kinds = ["no_reuse_address"];
    let system = System::with(&bundle(&kinds, 1, false));
    let nodes = nodes(&system, &kinds, 1);
    assert_eq!(call(system.port(1)), Ok(1));
    let software = || crate::harness::pids_naming(&nodes[0].data.join("versions"));
    let killed = software();
    assert_eq!(killed.len(), 1, "{killed:?}");
    crate::harness::kill(killed[0]);
    until("another process to answer", || {
        (software() != killed && call(system.port(1)) == Ok(1)).then_some(())
    });
    let crashes = (system.events().into_iter())
        .filter(|event| event.kind == "child.crashed")
        .count();
    assert_eq!(crashes, 1, "the one that was killed");
}
