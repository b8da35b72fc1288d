//! What the accept and bind hooks give away, take back and show: an unmodified server, peers made by hand.

mod burst;
mod stopping;

use crate::harness::dial::{ask, dial, dial_token, encoded, expect_reset};
use crate::harness::{AGENT_KEY, Node, PATIENCE, SYSTEM, free_port, table};
use intercept::holder::HandOverReason;
use intercept::label::Label;
use intercept::stats::{Counter, Deed};
use intercept::table::Table;
use kit::programs::{compile, find};
use kit::wait_for;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

/// `server.c` under the library.
struct Server {
    child: Child,
    lines: Receiver<String>,
    steps: Option<ChildStdin>,
    address: SocketAddr,
}

impl Server {
    fn start(node: &Node, mode: &str, port: u16, count: usize) -> Self {
        let source =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/library/hand_overs/server.c");
        let program = compile(&source, node.folder.path());
        let mut command = Command::new(program);
        command
            .args([mode, &port.to_string(), &count.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = node.preload(&mut command).spawn().expect("the server");
        let stdout = BufReader::new(child.stdout.take().expect("its output"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            stdout
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        node.holder.wait_listening(port);
        let address = SocketAddr::new([127, 0, 0, 1].into(), port);
        Self {
            steps: child.stdin.take(),
            child,
            lines,
            address,
        }
    }

    fn line(&self) -> String {
        self.lines
            .recv_timeout(PATIENCE)
            .expect("a line of the server")
    }

    /// What it has said by now beyond its first line.
    fn said(&self) -> Vec<String> {
        self.lines
            .try_iter()
            .skip_while(|line| line.starts_with("flags"))
            .collect()
    }

    fn expect(&self, wanted: &str) {
        let mut seen = Vec::new();
        loop {
            let line = self.line();
            if line == wanted {
                return;
            }
            seen.push(line);
            assert!(seen.len() < 500, "no {wanted:?} in {seen:?}");
        }
    }

    fn step(&mut self) {
        self.steps
            .as_mut()
            .expect("its input")
            .write_all(b"\n")
            .expect("a step");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A node with a server in this mode, which takes so many calls, or a line that says why the test is skipped.
fn served(test: &str, mode: &str, count: usize) -> Option<(Node, Server)> {
    if !has_gcc(test) {
        return None;
    }
    let port = free_port();
    let node = Node::new(&table(&[port]));
    let server = Server::start(&node, mode, port, count);
    Some((node, server))
}

fn label(version: u32) -> Label {
    Label::plain(SYSTEM, version, 9)
}

fn has_gcc(test: &str) -> bool {
    find(test, "gcc").is_some()
}

fn local_address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

#[test]
fn an_edge_triggered_listener_serves_its_own_among_foreign_clients() {
    let Some((node, server)) = served("edge-triggered listener", "edge", 20) else {
        return;
    };
    let port = server.address.port();
    // Foreign ones first and between: after each hand-over there are others in the queue that no edge will tell of.
    let clients: Vec<_> = (0..40)
        .map(|number| dial(server.address, &encoded(&label(3 - number % 2))))
        .collect();
    let (foreign, own): (Vec<_>, Vec<_>) = clients
        .into_iter()
        .enumerate()
        .partition(|(number, _)| number % 2 == 0);
    for (number, client) in own {
        assert_eq!(
            ask(client, &format!("client {number}")),
            format!("client {number}")
        );
    }
    server.expect("done");
    let handed_over = node.holder.wait_handed_over(20);
    assert_eq!(handed_over.len(), 20);
    for given in handed_over {
        assert_eq!(
            (given.reason, given.local.port()),
            (HandOverReason::Foreign, port)
        );
        let (_, client) = foreign
            .iter()
            .find(|(_, client)| client.local_addr().ok() == Some(canonical(given.peer)))
            .expect("its client");
        // Nothing of its stream is gone, and it answers through the holder.
        let mut first = vec![0; encoded(&label(3)).len()];
        (&given.stream).read_exact(&mut first).expect("the label");
        assert_eq!(first, encoded(&label(3)));
        (&given.stream)
            .write_all(b"from the agent")
            .expect("answered");
        let mut answer = [0; 14];
        (&mut &*client).read_exact(&mut answer).expect("an answer");
        assert_eq!(&answer, b"from the agent");
    }
    assert_eq!(node.count(Counter::HandOverForeign), 20);
    assert_eq!(node.count(Counter::AcceptLabelled), 20);
}

fn canonical(address: SocketAddr) -> SocketAddr {
    intercept::address::canonical(address)
}

#[test]
fn a_blocking_accept_goes_on_waiting_after_a_hand_over() {
    let Some((node, server)) = served("blocking accept", "blocking", 1) else {
        return;
    };
    wait_for("an accept under way", || in_accept(server.child.id()));
    let foreign = dial(server.address, &encoded(&label(3)));
    assert_eq!(node.holder.wait_handed_over(1).len(), 1);
    assert_eq!(
        ask(dial(server.address, &encoded(&label(1))), "hello"),
        "hello"
    );
    server.expect("done");
    drop(foreign);
}

#[test]
fn a_blocking_accept_at_a_ready_listener_gets_a_dead_connection_for_a_foreign_one() {
    let Some((node, mut server)) = served("blocking accept", "steps", 2) else {
        return;
    };
    let foreign = dial(server.address, &encoded(&label(3)));
    server.step();
    assert_eq!(node.holder.wait_handed_over(1).len(), 1);
    let from = foreign.local_addr().expect("its address");
    server.expect(&format!("accept ::ffff:127.0.0.1 {}", from.port()));
    server.expect("getpeername ENOTCONN");
    server.expect("read ECONNRESET");
    server.step();
    let own = dial(server.address, &encoded(&label(2)));
    assert_eq!(ask(own, "the next"), "the next");
    server.expect("done");
}

/// A reset would be a failure to software, with a line in its log for each connection that was given away.
#[test]
fn a_dead_connection_has_just_ended_where_callers_speak_first() {
    if !has_gcc("blocking accept") {
        return;
    }
    let port = free_port();
    let mut begun = table(&[port]);
    begun.services[0].callers_begin = true;
    let node = Node::new(&begun);
    let mut server = Server::start(&node, "steps", port, 2);
    let _foreign = dial(server.address, &encoded(&label(3)));
    server.step();
    assert_eq!(node.holder.wait_handed_over(1).len(), 1);
    server.expect("read the end");
    server.step();
    let own = dial(server.address, &encoded(&label(2)));
    assert_eq!(ask(own, "the next"), "the next");
    server.expect("done");
}

#[test]
fn a_blocking_accept_goes_on_to_who_waits_behind_a_foreign_one() {
    let Some((node, mut server)) = served("blocking accept", "steps", 1) else {
        return;
    };
    let _foreign = dial(server.address, &encoded(&label(3)));
    let own = dial(server.address, &encoded(&label(2)));
    server.step();
    assert_eq!(ask(own, "behind it"), "behind it");
    server.expect("done");
    assert_eq!(node.holder.wait_handed_over(1).len(), 1);
}

#[test]
fn callers_without_a_label_are_the_softwares_while_the_public_version_has_its_interface() {
    let Some((mut node, server)) = served("unlabelled callers", "edge", 2) else {
        return;
    };
    let port = server.address.port();
    let plain = || TcpStream::connect(server.address).expect("connected");
    assert_eq!(ask(plain(), "no label"), "no label");
    let mut closed = table(&[port]);
    closed.services[0].public_direct = false;
    node.publish(&closed);
    let waits = plain();
    let given = node.holder.wait_handed_over(1).remove(0);
    assert_eq!(
        (given.reason, Some(canonical(given.peer))),
        (HandOverReason::Public, waits.local_addr().ok())
    );
    node.publish(&table(&[port]));
    assert_eq!(ask(plain(), "again"), "again");
    server.expect("done");
    assert_eq!(node.count(Counter::AcceptUnlabelled), 2);
}

#[test]
fn a_late_label_never_reaches_the_software() {
    if !has_gcc("late labels") {
        return;
    }
    let port = free_port();
    // Labels may come late when the caller is another host's member, or this kernel sends none with the handshake.
    let node = Node::new(&Table {
        local_labels_prompt: false,
        ..table(&[port])
    });
    let server = Server::start(&node, "edge", port, 1);
    let mut late = TcpStream::connect(server.address).expect("connected");
    let given = node.holder.wait_handed_over(1).remove(0);
    assert_eq!(given.reason, HandOverReason::Undecided);
    late.write_all(&encoded(&label(2))).expect("sent");
    let mut first = vec![0; encoded(&label(2)).len()];
    (&given.stream).read_exact(&mut first).expect("the label");
    assert_eq!(first, encoded(&label(2)));

    // The agent has consumed it and gives the connection back by a token dial.
    let token = *b"one-time token 1";
    node.holder.offer(token, given.stream);
    let _dial = dial_token(
        server.address,
        &encoded(&Label {
            token: Some(token),
            ..label(2)
        }),
    );
    let from = late.local_addr().expect("its address");
    assert_eq!(ask(late, "late but mine"), "late but mine");
    server.expect(&format!("accept ::ffff:127.0.0.1 {}", from.port()));
    server.expect(&format!("getpeername ::ffff:127.0.0.1 {}", from.port()));
    server.expect("nonblocking 1");
    server.expect("done");
    assert_eq!(node.count(Counter::AcceptTaken), 1);
}

#[test]
fn tokens_work_on_a_blocking_accept_and_only_once() {
    let Some((node, server)) = served("token dials", "blocking", 1) else {
        return;
    };
    wait_for("an accept under way", || in_accept(server.child.id()));
    let foreign = dial(server.address, &encoded(&label(7)));
    let given = node.holder.wait_handed_over(1).remove(0);
    let mut consumed = vec![0; encoded(&label(7)).len()];
    (&given.stream)
        .read_exact(&mut consumed)
        .expect("the label");
    let token = [7; 16];
    let token_label = encoded(&Label {
        token: Some(token),
        ..label(2)
    });
    given
        .stream
        .set_nonblocking(true)
        .expect("as the agent has it");
    node.holder.offer(token, given.stream);
    let _first = dial_token(server.address, &token_label);
    let from = foreign.local_addr().expect("its address");
    assert_eq!(ask(foreign, "given back"), "given back");
    server.expect(&format!("getpeername ::ffff:127.0.0.1 {}", from.port()));
    server.expect("nonblocking 0");
    server.expect("done");
}

#[test]
fn the_agents_connections_show_the_true_caller() {
    if !has_gcc("true callers") {
        return;
    }
    let port = free_port();
    let node = Node::new(&Table {
        probing: true,
        ..table(&[port])
    });
    let server = Server::start(&node, "edge", port, 2);
    for (caller, shown) in [
        ("10.9.8.7:6543", "::ffff:10.9.8.7 6543"),
        ("[2001:db8::5]:77", "2001:db8::5 77"),
    ] {
        let for_whom = Some((local_address(caller), server.address));
        let ours = Label {
            caller: for_whom,
            agent_key: Some(AGENT_KEY),
            ..label(2)
        };
        assert_eq!(ask(dial(server.address, &encoded(&ours)), caller), caller);
        server.expect(&format!("accept {shown}"));
        server.expect(&format!("getpeername {shown}"));
    }
    server.expect("done");
    assert_eq!(node.count(Counter::AcceptAgent), 2);
}

#[test]
fn while_probing_everybody_else_waits_at_the_holder() {
    if !has_gcc("probing") {
        return;
    }
    let port = free_port();
    let mut node = Node::new(&Table {
        probing: true,
        ..table(&[port])
    });
    let server = Server::start(&node, "edge", port, 1);
    let _labelled = dial(server.address, &encoded(&label(2)));
    let _plain = TcpStream::connect(server.address).expect("connected");
    let waiting = node.holder.wait_handed_over(2);
    assert!(
        waiting
            .iter()
            .all(|given| given.reason == HandOverReason::Probing),
        "{waiting:?}"
    );
    node.publish(&table(&[port]));
    assert_eq!(
        ask(dial(server.address, &encoded(&label(2))), "released"),
        "released"
    );
    server.expect("done");
}

#[test]
fn a_connection_that_nobody_can_take_is_reset() {
    let Some((node, server)) = served("no holder", "edge", 1) else {
        return;
    };
    let damaged = {
        let mut bytes = encoded(&label(2));
        bytes[30] ^= 1;
        bytes
    };
    node.holder.stop();
    for bytes in [encoded(&label(3)), damaged] {
        expect_reset(server.address, &bytes);
    }
    assert_eq!(
        ask(
            dial(server.address, &encoded(&label(2))),
            "same interface goes on"
        ),
        "same interface goes on"
    );
    server.expect("done");
    assert_eq!(node.count(Counter::HandOverFailed), 2);
}

#[test]
fn a_bind_stands_beside_what_is_kept() {
    if !has_gcc("kept listeners") {
        return;
    }
    let port = free_port();
    let mut kept_table = table(&[port]);
    kept_table.services[0].kept = true;
    let node = Node::new(&kept_table);
    let at = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
    let kept = TcpListener::bind(at).expect("a listener");
    node.holder.keep(at, kept.try_clone().expect("a duplicate"));
    let server = Server::start(&node, "blocking", port, 1);
    assert_eq!(
        server.line(),
        "flags 0x2 0x1 reuseport 0",
        "the software's own flags, and no option that it has not set"
    );
    node.holder.forget_kept();
    drop(kept);
    assert_eq!(
        ask(dial(server.address, &encoded(&label(1))), "after it"),
        "after it"
    );
    server.expect("done");
    assert_eq!(
        (
            node.count(Counter::BindKept),
            node.count(Counter::BindNotKept)
        ),
        (1, 0)
    );
    let seen = node.stats().processes;
    let process = seen
        .iter()
        .find(|process| process.pid == server.child.id())
        .expect("the server was seen");
    assert!(process.did(Deed::Listen) && process.did(Deed::Accept) && !process.did(Deed::Connect));
}

#[test]
fn without_a_table_everything_is_left_alone_and_the_holder_hears_of_it() {
    if !has_gcc("no table") {
        return;
    }
    let port = free_port();
    let node = Node::new(&table(&[port]));
    std::fs::remove_file(node.folder.path().join("table")).expect("removed");
    let server = Server::start(&node, "edge", port, 1);
    assert_eq!(
        ask(
            TcpStream::connect(server.address).expect("connected"),
            "plain"
        ),
        "plain"
    );
    server.expect("done");
    wait_for("a hello", || !node.holder.others().is_empty());
    assert_eq!(
        (
            node.count(Counter::LoadedWithoutTable),
            node.count(Counter::AcceptNoTable)
        ),
        (1, 1)
    );
}

/// Whether a thread of the process waits in the kernel for a connection (proc_pid_syscall(5): the number comes first).
fn in_accept(process: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{process}/task"));
    threads.into_iter().flatten().flatten().any(|thread| {
        let doing = std::fs::read_to_string(thread.path().join("syscall")).unwrap_or_default();
        let number = doing
            .split(' ')
            .next()
            .and_then(|number| number.parse().ok());
        [Some(libc::SYS_accept), Some(libc::SYS_accept4)].contains(&number)
    })
}
