//! TCP sockets of a network namespace: asked of the kernel's socket diagnosis where that is this process's own, else read from its
//! tables.

use super::{diag, tables};
use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;

/// A TCP socket that the kernel knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Socket {
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) state: State,
    /// 0 as long as nobody has it open, as in an accept queue.
    pub(crate) inode: u64,
}

impl Socket {
    pub(crate) fn is_listening(&self) -> bool {
        self.state == State::Listen
    }
}

/// The states that matter here, with the numbers of the kernel's `tcp_states.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Established = 1,
    /// A handshake that is half-way there.
    HalfOpen = 3,
    Listen = 10,
}

/// The TCP sockets of a process's network namespace that listen.
///
/// # Errors
/// The kernel does not tell, as where the process has ended.
pub(crate) fn listeners(pid: i32) -> io::Result<Vec<Socket>> {
    sockets(pid, State::Listen)
}

/// The TCP connections of a process's network namespace.
///
/// # Errors
/// As of [`listeners`].
pub(crate) fn connections(pid: i32) -> io::Result<Vec<Socket>> {
    sockets(pid, State::Established)
}

/// One end of one connection in a process's network namespace, if it is there.
///
/// # Errors
/// As of [`listeners`].
pub(crate) fn connection(
    pid: i32,
    local: SocketAddr,
    remote: SocketAddr,
) -> io::Result<Option<Socket>> {
    if is_own_network(pid)
        && let Ok(Some(found)) = diag::socket(local, remote)
        && found.state == State::Established
    {
        return Ok(Some(found));
    }
    // One that is bound to an interface is found by looking at all.
    let same = |socket: &Socket| {
        canonical(socket.local) == canonical(local) && canonical(socket.remote) == canonical(remote)
    };
    let all = connections(pid)?.into_iter().filter(same);
    Ok(all.max_by_key(|socket| socket.inode))
}

/// The ports of this network namespace at which a handshake is half-way there.
///
/// # Errors
/// The kernel does not tell.
pub(crate) fn half_open_ports() -> io::Result<BTreeSet<u16>> {
    let found = sockets(own_pid(), State::HalfOpen)?;
    Ok(found.iter().map(|socket| socket.local.port()).collect())
}

fn sockets(pid: i32, state: State) -> io::Result<Vec<Socket>> {
    if is_own_network(pid) {
        // A kernel without it, or a sandbox that forbids it, still has the tables.
        match diag::sockets(state) {
            Ok(found) => return Ok(found),
            Err(error) => tracing::debug!(%error, "reads the kernel's tables of sockets"),
        }
    }
    tables::sockets(pid, state)
}

fn own_pid() -> i32 {
    i32::try_from(std::process::id()).unwrap_or(0)
}

/// Whether a process is in this one's network namespace, for certain.
fn is_own_network(pid: i32) -> bool {
    let network = |pid: i32| std::fs::read_link(format!("/proc/{pid}/ns/net"));
    pid == own_pid()
        || matches!((network(own_pid()), network(pid)), (Ok(own), Ok(its)) if own == its)
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::owners;

    #[test]
    fn a_listener_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let here = listener.local_addr().expect("address");
        let found = listeners(own_pid()).expect("told");
        let mut found = found.into_iter().filter(|socket| socket.local == here);
        let inode = found.next().expect("it listens").inode;
        let owners = owners(&[own_pid()], &BTreeSet::from([inode])).expect("told");
        let owners = owners.get(&inode).expect("an owner");
        assert_eq!(
            owners.iter().map(|it| it.pid).collect::<Vec<_>>(),
            [own_pid()]
        );
    }

    #[test]
    fn a_connection_is_found_behind_those_that_have_ended() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let here = listener.local_addr().expect("address");
        // Whoever closes first keeps the connection in TIME_WAIT.
        drop(std::net::TcpStream::connect(here).expect("connected"));
        drop(listener.accept().expect("accepted"));
        let kept = std::net::TcpStream::connect(here).expect("connected");
        let local = kept.local_addr().expect("address");
        let found: Vec<Socket> = connections(own_pid())
            .expect("told")
            .into_iter()
            .filter(|socket| socket.remote == here)
            .collect();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].local, local);
        let listening = listeners(own_pid()).expect("told");
        assert!(!listening.iter().any(|socket| socket.local == local));
    }

    #[test]
    fn one_connection_is_found_by_its_ends() {
        for at in ["127.0.0.1:0", "[::1]:0", "[::ffff:127.0.0.1]:0"] {
            let listener = std::net::TcpListener::bind(at).expect("bind");
            let there = listener.local_addr().expect("address");
            let caller = std::net::TcpStream::connect(there).expect("connected");
            let here = caller.local_addr().expect("address");
            let find = || connection(own_pid(), there, here).expect("told");
            assert_eq!(find().expect("it waits to be accepted").inode, 0, "{at}");
            let accepted = listener.accept().expect("accepted");
            assert_ne!(find().expect("somebody has it").inode, 0, "{at}");
            drop((accepted, caller));
            assert_eq!(find(), None, "{at}");
        }
    }

    #[test]
    fn both_sources_tell_the_same() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let six = std::net::TcpListener::bind("[::1]:0").expect("bind");
        let caller = std::net::TcpStream::connect(six.local_addr().expect("one"));
        let _caller = caller.expect("connected");
        let ports: Vec<u16> = [&listener, &six]
            .map(|listener| listener.local_addr().expect("address").port())
            .into();
        for state in [State::Listen, State::Established] {
            let at_them = |mut found: Vec<Socket>| {
                found.retain(|socket| ports.contains(&socket.local.port()));
                found.sort_by_key(|socket| socket.local);
                found
            };
            let asked = at_them(diag::sockets(state).expect("told"));
            assert_eq!(
                asked,
                at_them(tables::sockets(own_pid(), state).expect("read"))
            );
            assert!(!asked.is_empty());
        }
    }
}
