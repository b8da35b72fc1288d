//! The holder as the keeper of sockets: listeners across restarts, connections between software and agent.

use crate::support::{Node, exit, free_port, hook, next};
use agent::holder_client::{HolderClient, HolderNotice, HolderNotices};
use intercept::holder::{ChildSpec, HandOverReason};
use intercept::hook_protocol::HookMessage;
use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

pub(crate) fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

pub(crate) fn variable(name: &str) -> String {
    std::env::var(name).unwrap()
}

/// The part of a server whose `bind` asks for room beside what is kept first; it answers every caller with one byte.
/// With `PART_HAND_OVER` it gives every caller to the holder instead, and says over the token what comes back. With `PART_WORKERS`
/// it has so many listeners that share the address, each a little later than the one before.
#[test]
#[ignore = "a part that another test plays"]
fn part_server() {
    let address: SocketAddr = variable("PART_ADDRESS").parse().unwrap();
    let Ok(workers) = std::env::var("PART_WORKERS") else {
        return part_worker(address, false);
    };
    for _ in 0..workers.parse().unwrap() {
        std::thread::spawn(move || part_worker(address, true));
        std::thread::sleep(Duration::from_millis(25));
    }
    loop {
        std::thread::park();
    }
}

/// That part at this address, as a node's software; told more by variables.
pub(crate) fn server(
    node: &Node,
    generation: u64,
    address: SocketAddr,
    more: &[(&str, &str)],
) -> ChildSpec {
    let address = address.to_string();
    let variables = [&[("PART_ADDRESS", address.as_str())], more].concat();
    node.part(generation, "sockets::part_server", &variables)
}

pub(crate) fn part_worker(address: SocketAddr, shares: bool) {
    let holder = variable("UPSTART_HOLDER");
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
    // As the listen hook sees to it: connections that have ended must not keep the next process from the address.
    socket.set_reuse_address(true).unwrap();
    socket.set_reuse_port(shares).unwrap();
    let message = HookMessage::Bind { local: address };
    if hook::is_so(&holder, message, Some(socket.as_fd())) {
        println!("server binds beside what is kept");
    }
    socket.bind(&address.into()).unwrap();
    socket.listen(128).unwrap();
    let listener = TcpListener::from(socket);
    hook::say(&holder, HookMessage::Listening { local: address }, None).unwrap();
    let hands_over = std::env::var("PART_HAND_OVER").is_ok();
    loop {
        let (mut connection, peer) = listener.accept().unwrap();
        if hands_over {
            let message = HookMessage::HandOver {
                reason: HandOverReason::Foreign,
                local: address,
                peer,
            };
            hook::say(&holder, message, Some(connection.as_fd())).unwrap();
            let given_back = loop {
                let token = *b"a token of test!";
                if let Some(given) = hook::ask(&holder, HookMessage::Take { token }) {
                    break given;
                }
                std::thread::sleep(Duration::from_millis(5));
            };
            TcpStream::from(given_back).write_all(b"software").unwrap();
            continue;
        }
        connection.write_all(b"!").unwrap();
    }
}

pub(crate) fn call(address: SocketAddr) -> std::io::Result<()> {
    let mut connection = TcpStream::connect(address)?;
    connection.set_read_timeout(Some(crate::support::PATIENCE))?;
    let mut byte = [0];
    connection.read_exact(&mut byte)
}

/// Callers that call without a pause; counted apart: answered, refused, failed otherwise.
pub(crate) struct Callers {
    over: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    refused: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Callers {
    fn start(address: SocketAddr) -> Self {
        let mut callers = Self {
            over: Arc::default(),
            answered: Arc::default(),
            refused: Arc::default(),
            failed: Arc::default(),
            threads: Vec::new(),
        };
        for _ in 0..4 {
            let (over, answered) = (Arc::clone(&callers.over), Arc::clone(&callers.answered));
            let (refused, failed) = (Arc::clone(&callers.refused), Arc::clone(&callers.failed));
            callers.threads.push(std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    match call(address) {
                        Ok(()) => answered.fetch_add(1, Ordering::Relaxed),
                        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                            refused.fetch_add(1, Ordering::Relaxed)
                        }
                        Err(error) => {
                            eprintln!("a call failed: {error}");
                            failed.fetch_add(1, Ordering::Relaxed)
                        }
                    };
                }
            }));
        }
        callers
    }

    fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    fn until_more(&self) {
        let before = self.answered();
        kit::wait_for("callers are answered", || self.answered() > before + 20);
    }

    fn end(self) -> (u64, u64) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
        let refused = self.refused.load(Ordering::Relaxed);
        (refused, self.failed.load(Ordering::Relaxed))
    }
}

/// Answers the callers that come to the agent, until this is heard.
pub(crate) async fn answer_until(
    notices: &mut HolderNotices,
    heard: impl Fn(&HolderNotice) -> bool,
) {
    loop {
        let notice = next(notices).await;
        if heard(&notice) {
            return;
        }
        if let HolderNotice::HandedOver { connection, .. } = notice {
            // A caller that was killed with its process has gone.
            let _ = TcpStream::from(connection).write_all(b"!");
        }
    }
}

pub(crate) async fn until_exit(notices: &mut HolderNotices) {
    answer_until(notices, |notice| {
        matches!(notice, HolderNotice::ChildExited(_))
    })
    .await;
}

pub(crate) async fn wait_listening(notices: &mut HolderNotices, address: SocketAddr) {
    assert!(matches!(next(notices).await, HolderNotice::Listening(at) if at == address));
}

#[tokio::test]
async fn nobody_is_refused_while_the_child_is_restarted_with_its_listener_kept() {
    let (node, client, mut notices) = Node::start().await;
    let address = free_address();
    let part = |generation| server(&node, generation, address, &[]);
    client.start(part(1)).await.unwrap();
    wait_listening(&mut notices, address).await;
    let callers = Callers::start(address);
    callers.until_more();
    for generation in 2..6 {
        let ports = vec![address.port()];
        let kept = client.keep(ports.clone()).await.unwrap();
        // Its own, and what takes over if it shuts that down.
        assert_eq!(kept.len(), 2, "{kept:?}");
        assert!(kept.iter().all(|kept| kept.address == address));
        assert!(kept[0].duplicate && !kept[1].duplicate);
        assert_eq!(client.keep(ports.clone()).await.unwrap(), kept);
        client
            .stop(9, false, crate::support::PATIENCE)
            .await
            .unwrap();
        until_exit(&mut notices).await;
        client.start(part(generation)).await.unwrap();
        // Whoever calls meanwhile is the agent's, who gives them back: here they are answered by it.
        answer_until(
            &mut notices,
            |notice| matches!(notice, HolderNotice::Listening(at) if *at == address),
        )
        .await;
        client.let_go(ports, Duration::from_secs(5)).await.unwrap();
        answer_until(
            &mut notices,
            |notice| matches!(notice, HolderNotice::Kept(kept) if kept.is_empty()),
        )
        .await;
        callers.until_more();
    }
    let (refused, failed) = callers.end();
    assert_eq!(refused, 0);
    // A caller whose connection the killed process had accepted is reset: at most one each and restart.
    assert!(failed <= 16, "{failed}");
    let output = std::fs::read_to_string(node.output()).unwrap();
    assert_eq!(
        output.matches("server binds beside what is kept").count(),
        4
    );
    node.end(&client, &mut notices).await;
}

#[tokio::test]
async fn without_keeping_callers_are_refused_during_a_restart() {
    let (node, client, mut notices) = Node::start().await;
    let address = free_address();
    client.start(server(&node, 1, address, &[])).await.unwrap();
    wait_listening(&mut notices, address).await;
    call(address).unwrap();
    client.kill().await.unwrap();
    exit(&mut notices).await;
    let error = call(address).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    node.end(&client, &mut notices).await;
}

#[tokio::test]
async fn a_connection_waits_for_an_agent_and_goes_back_to_the_software() {
    let (node, client, mut notices) = Node::start().await;
    let address = free_address();
    client
        .start(server(&node, 1, address, &[("PART_HAND_OVER", "1")]))
        .await
        .unwrap();
    wait_listening(&mut notices, address).await;
    drop((client, notices));
    let mut caller = TcpStream::connect(address).unwrap();
    caller.write_all(b"hello").unwrap();
    let (client, mut notices) = HolderClient::attach(node.data()).await.unwrap();
    let HolderNotice::HandedOver {
        reason,
        local,
        peer,
        connection,
    } = next(&mut notices).await
    else {
        panic!("no connection");
    };
    assert_eq!(reason, HandOverReason::Foreign);
    assert_eq!((local, peer), (address, caller.local_addr().unwrap()));
    let mut agents = TcpStream::from(connection.try_clone().unwrap());
    let mut bytes = [0; 5];
    agents.peek(&mut bytes).unwrap();
    assert_eq!(&bytes, b"hello");
    agents.write_all(b"agent ").unwrap();
    let token = *b"a token of test!";
    client
        .offer(token, Duration::from_secs(5), connection)
        .await
        .unwrap();
    drop(agents);
    let mut answer = [0; 14];
    caller
        .set_read_timeout(Some(crate::support::PATIENCE))
        .unwrap();
    caller.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"agent software");
    node.end(&client, &mut notices).await;
}

#[tokio::test]
async fn a_connection_that_nobody_takes_comes_back_when_it_is_withdrawn() {
    let (node, client, mut notices) = Node::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut caller = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (connection, _) = listener.accept().unwrap();
    let token = *b"a token of test!";
    client
        .offer(token, Duration::from_secs(5), connection.into())
        .await
        .unwrap();
    let back = client.withdraw(token).await.unwrap();
    TcpStream::from(back).write_all(b"!").unwrap();
    caller
        .set_read_timeout(Some(crate::support::PATIENCE))
        .unwrap();
    let mut byte = [0];
    caller.read_exact(&mut byte).unwrap();
    assert_eq!(&byte, b"!");
    let again = client.withdraw(token).await.unwrap_err();
    assert!(again.to_string().contains("offered"), "{again}");
    node.end(&client, &mut notices).await;
}

#[tokio::test]
async fn a_port_of_the_holders_own_is_fetched_by_the_agent_and_left_to_the_software() {
    let (node, client, mut notices) = Node::start().await;
    let address = free_address();
    let kept = client.listen(address).await.unwrap();
    assert_eq!(client.listen(address).await.unwrap(), kept);
    assert!(!kept[0].duplicate);
    let mut early = TcpStream::connect(address).unwrap();
    let listener = TcpListener::from(client.fetch(kept[0].listener).await.unwrap());
    listener.set_nonblocking(false).unwrap();
    listener.accept().unwrap().0.write_all(b"?").unwrap();
    let mut byte = [0];
    early.read_exact(&mut byte).unwrap();
    assert_eq!(&byte, b"?");
    drop(listener);
    client.start(server(&node, 1, address, &[])).await.unwrap();
    wait_listening(&mut notices, address).await;
    let mut held = TcpStream::connect(address).unwrap();
    answer_until(&mut notices, |notice| {
        let HolderNotice::HandedOver { reason, .. } = notice else {
            return false;
        };
        *reason == HandOverReason::Held
    })
    .await;
    assert_eq!(held.read(&mut byte).unwrap_or(0), 0);
    client
        .let_go(vec![address.port()], Duration::from_secs(5))
        .await
        .unwrap();
    call(address).unwrap();
    let unknown = client.fetch(99).await;
    assert!(unknown.unwrap_err().to_string().contains("99"));
    node.end(&client, &mut notices).await;
}

/// Where a listener is kept, and where the software then binds.
pub(crate) const PAIRS: [(&str, &str); 8] = [
    ("127.0.0.1", "127.0.0.1"),
    ("0.0.0.0", "0.0.0.0"),
    ("0.0.0.0", "127.0.0.1"),
    ("127.0.0.1", "0.0.0.0"),
    ("[::]", "[::]"),
    ("[::]", "127.0.0.1"),
    ("0.0.0.0", "[::]"),
    ("[::1]", "[::]"),
];

/// How many sockets listen at this port of IPv4.
pub(crate) fn listening(port: u16) -> usize {
    let text = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let local = format!(":{port:04X}");
    let words = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    words
        .filter(|words| words[1].ends_with(&local) && words[3] == "0A")
        .count()
}

#[tokio::test]
async fn what_stands_by_goes_where_the_software_goes_on_after_all() {
    let (node, client, mut notices) = Node::start().await;
    let address = free_address();
    let part = server(&node, 1, address, &[]);
    client.start(part).await.unwrap();
    wait_listening(&mut notices, address).await;
    let ports = vec![address.port()];
    client.keep(ports.clone()).await.unwrap();
    assert_eq!(listening(address.port()), 2, "one stands by");
    // The upgrade is given up before the stop.
    let limit = Duration::from_secs(20);
    assert_eq!(client.let_go(ports, limit).await.unwrap(), []);
    assert_eq!(listening(address.port()), 1, "the software's own");
    (0..20).for_each(|_| call(address).unwrap());
    // Nobody else can share its address afterwards.
    let asks = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    asks.set_reuse_port(true).unwrap();
    asks.bind(&address.into()).unwrap_err();
    node.end(&client, &mut notices).await;
}

#[tokio::test]
async fn software_that_listens_after_the_release_gets_its_callers_itself() {
    let (node, client, mut notices) = Node::start().await;
    let address = free_address();
    client.listen(address).await.unwrap();
    let ports = vec![address.port()];
    (client.let_go(ports, Duration::from_secs(20)).await).unwrap();
    let part = server(&node, 1, address, &[]);
    client.start(part).await.unwrap();
    answer_until(
        &mut notices,
        |notice| matches!(notice, HolderNotice::Kept(kept) if kept.is_empty()),
    )
    .await;
    (0..20).for_each(|_| call(address).unwrap());
    node.end(&client, &mut notices).await;
}

#[tokio::test]
async fn workers_that_listen_while_what_is_kept_closes_hold_nobody_again() {
    const WORKERS: usize = 16;
    let (node, client, mut notices) = Node::start().await;
    let address = free_address();
    client
        .start(server(&node, 1, address, &[("PART_WORKERS", "1")]))
        .await
        .unwrap();
    wait_listening(&mut notices, address).await;
    let ports = vec![address.port()];
    for generation in 2..5 {
        client.keep(ports.clone()).await.unwrap();
        client
            .stop(9, false, crate::support::PATIENCE)
            .await
            .unwrap();
        until_exit(&mut notices).await;
        let callers = Callers::start(address);
        let count = WORKERS.to_string();
        let part = server(&node, generation, address, &[("PART_WORKERS", &count)]);
        client.start(part).await.unwrap();
        answer_until(&mut notices, |it| matches!(it, HolderNotice::Listening(_))).await;
        // The first one is healthy: it gets its callers, while the others go on coming.
        let limit = Duration::from_secs(5);
        client.let_go(ports.clone(), limit).await.unwrap();
        answer_until(
            &mut notices,
            |notice| matches!(notice, HolderNotice::Kept(kept) if kept.is_empty()),
        )
        .await;
        kit::wait_for("all workers listen", || {
            listening(address.port()) == WORKERS
        });
        callers.until_more();
        assert_eq!(callers.end(), (0, 0), "refused and failed");
        assert_eq!(listening(address.port()), WORKERS, "nothing else listens");
    }
    node.end(&client, &mut notices).await;
}

#[tokio::test]
async fn hooks_of_strangers_and_nonsense_are_not_heard() {
    let (node, client, mut notices) = Node::start().await;
    let address = free_address();
    client.listen(address).await.unwrap();
    // This process is of the right user but not of the child's group.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let message = HookMessage::Bind { local: address };
    assert!(!hook::is_so(
        &node.hook_name(),
        message,
        Some(socket.as_fd())
    ));
    // The holder may have closed before it is written.
    hook::say_bytes(&node.hook_name(), b"nonsense", None).ok();
    client.start(server(&node, 1, address, &[])).await.unwrap();
    wait_listening(&mut notices, address).await;
    node.end(&client, &mut notices).await;
}
