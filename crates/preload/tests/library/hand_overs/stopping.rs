//! Software that is being stopped, and what its hooks leave to the next.

use super::*;

#[test]
fn software_that_is_being_stopped_leaves_its_queue_to_the_next() {
    if !has_gcc("left queues") {
        return;
    }
    for mode in ["blocking", "edge"] {
        let port = free_port();
        let mut running = table(&[port]);
        running.services[0].kept = true;
        let mut node = Node::new(&Table {
            stopping_until_ms: u64::MAX,
            ..running.clone()
        });
        let server = Server::start(&node, mode, port, 1);
        let kept = listener_of(server.child.id(), port);
        let queued: Vec<TcpStream> = (0..20)
            .map(|number| dial(server.address, &encoded(&label(2 + number % 2))))
            .collect();
        for client in &queued {
            assert!(is_readable(&kept), "{mode}: still in the queue");
            let (_, peer) = kept.accept().expect("accepted");
            let from = client.local_addr().expect("its address");
            assert_eq!(peer.port(), from.port(), "{mode}");
        }
        node.publish(&running);
        let next = dial(server.address, &encoded(&label(2)));
        assert_eq!(ask(next, "goes on"), "goes on", "{mode}");
        server.expect("done");
    }
}

#[test]
fn software_that_polls_before_its_blocking_accept_ends_though_its_queue_is_left_alone() {
    let Some(python) = find("servers that poll first", "python3") else {
        return;
    };
    let port = free_port();
    let running = table(&[port]);
    let node = Node::new(&Table {
        stopping_until_ms: u64::MAX,
        ..running
    });
    let mut command = Command::new(python);
    command
        .arg("-c")
        .arg(include_str!("polls_first.py"))
        .arg(port.to_string());
    let mut server = node.preload(&mut command).spawn().expect("the server");
    node.holder.wait_listening(port);
    let kept = listener_of(server.id(), port);
    let there = SocketAddr::new([127, 0, 0, 1].into(), port);
    let caller = dial(there, &encoded(&label(2)));
    let pid = rustix::process::Pid::from_child(&server);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("told to end");
    wait_for(
        "its end",
        || matches!(server.try_wait(), Ok(Some(status)) if status.success()),
    );
    // Its caller is the next software's.
    let (_, peer) = kept.accept().expect("accepted");
    let from = caller.local_addr().expect("its address");
    assert_eq!(peer.port(), from.port());
}

/// A duplicate of the listener that a process has at a port.
fn listener_of(process: u32, port: u16) -> TcpListener {
    let pid = rustix::process::Pid::from_raw(process.try_into().expect("a pid")).expect("a pid");
    let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty());
    let pidfd = pidfd.expect("it lives");
    let descriptors = std::fs::read_dir(format!("/proc/{process}/fd")).expect("its descriptors");
    descriptors
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .find_map(|number| {
            let flags = rustix::process::PidfdGetfdFlags::empty();
            let socket = rustix::process::pidfd_getfd(&pidfd, number, flags).ok()?;
            let listens = rustix::net::sockopt::socket_acceptconn(&socket).unwrap_or(false);
            let listener = TcpListener::from(socket);
            let here = listens && listener.local_addr().is_ok_and(|at| at.port() == port);
            here.then_some(listener)
        })
        .expect("a listener")
}

fn is_readable(listener: &TcpListener) -> bool {
    let mut asked = [rustix::event::PollFd::new(
        listener,
        rustix::event::PollFlags::IN,
    )];
    rustix::event::poll(&mut asked, Some(&rustix::event::Timespec::default())) == Ok(1)
}

#[test]
fn software_that_wakes_its_own_accept_to_end_is_woken() {
    let Some(python) = find("self-waking servers", "python3") else {
        return;
    };
    let port = free_port();
    let mut node = Node::new(&table(&[port]));
    let mut command = Command::new(python);
    command
        .arg("-c")
        .arg(include_str!("wakes_itself.py"))
        .arg(port.to_string())
        .stdin(Stdio::piped());
    let mut server = node.preload(&mut command).spawn().expect("the server");
    node.holder.wait_listening(port);
    wait_for("an accept under way", || in_accept(server.id()));
    node.publish(&Table {
        stopping_until_ms: u64::MAX,
        ..table(&[port])
    });
    // The accept that was under way gets one more; the next one waits.
    let mut last = dial(
        SocketAddr::new([127, 0, 0, 1].into(), port),
        &encoded(&label(2)),
    );
    assert_eq!(last.read(&mut [0; 1]).expect("closed"), 0);
    drop(server.stdin.take());
    wait_for(
        "its end",
        || matches!(server.try_wait(), Ok(Some(status)) if status.success()),
    );
}
