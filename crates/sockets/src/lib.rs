//! The TCP sockets of a network namespace, for agents, which look at their software's, and for whoever wants to know whom a call on
//! this host would reach: asked of the kernel's socket diagnosis where that is this process's own, else read from its
//! tables.

mod diag;
mod tables;

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// A TCP socket that the kernel knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// This end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// What has become of it.
    pub state: SocketState,
    /// Whose it is. Of a connection that nobody has open this says nothing.
    pub user: u32,
    /// 0 as long as nobody has it open, as in an accept queue.
    pub inode: u64,
}

impl Socket {
    /// Whether it takes callers.
    #[must_use]
    pub fn is_listening(&self) -> bool {
        self.state == SocketState::Listen
    }
}

/// The states that matter here, with the numbers of the kernel's `tcp_states.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketState {
    /// A connection.
    Established = 1,
    /// A handshake that is half-way there.
    HalfOpen = 3,
    /// It takes callers.
    Listen = 10,
}

/// The TCP sockets of a process's network namespace that listen.
///
/// # Errors
/// The kernel does not tell, as where the process has ended.
pub fn listeners(pid: i32) -> io::Result<Vec<Socket>> {
    sockets(pid, SocketState::Listen)
}

/// The TCP connections of a process's network namespace.
///
/// # Errors
/// As of [`listeners`].
pub fn connections(pid: i32) -> io::Result<Vec<Socket>> {
    sockets(pid, SocketState::Established)
}

/// One end of one connection in a process's network namespace, if it is there.
///
/// # Errors
/// As of [`listeners`].
pub fn connection(pid: i32, local: SocketAddr, remote: SocketAddr) -> io::Result<Option<Socket>> {
    if is_own_network(pid)
        && let Ok(Some(found)) = diag::socket(local, remote)
        && found.state == SocketState::Established
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

/// Who gets the callers of an address of this host: the listener that the kernel chooses.
///
/// # Errors
/// As of [`listeners`].
pub fn listener(address: SocketAddr) -> io::Result<Option<Socket>> {
    let nobody = match canonical(address).ip() {
        IpAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
    };
    if let Ok(found) = diag::socket(address, SocketAddr::new(nobody, 0)) {
        return Ok(found.filter(Socket::is_listening));
    }
    Ok(chosen(&listeners(own_pid())?, canonical(address)))
}

/// The kernel's choice, as far as the tables show it: the exact address, then all of its family, then all of both.
fn chosen(listeners: &[Socket], address: SocketAddr) -> Option<Socket> {
    let mut here: Vec<&Socket> = listeners
        .iter()
        .filter(|socket| socket.local.port() == address.port())
        .filter(|socket| socket.local.ip() == address.ip() || socket.local.ip().is_unspecified())
        .collect();
    here.sort_by_key(|socket| {
        (
            socket.local.ip() != address.ip(),
            socket.local.is_ipv4() != address.is_ipv4(),
        )
    });
    here.first().map(|socket| (*socket).clone())
}

/// Whether an address is this host's, in this network namespace.
#[must_use]
pub fn is_here(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    if ip.is_unspecified() || ip.is_loopback() {
        return true;
    }
    let Ok(all) = nix::ifaddrs::getifaddrs() else {
        // A sandbox that forbids to list them still lets nobody have a socket at another host's address.
        let bound = UdpSocket::bind((ip, 0));
        return !bound.is_err_and(|error| error.kind() == io::ErrorKind::AddrNotAvailable);
    };
    all.filter_map(|interface| interface.address)
        .any(|address| match ip {
            IpAddr::V4(ip) => address.as_sockaddr_in().is_some_and(|at| at.ip() == ip),
            IpAddr::V6(ip) => address.as_sockaddr_in6().is_some_and(|at| at.ip() == ip),
        })
}

/// The ports of this network namespace at which a handshake is half-way there.
///
/// # Errors
/// The kernel does not tell.
pub fn half_open_ports() -> io::Result<BTreeSet<u16>> {
    let found = sockets(own_pid(), SocketState::HalfOpen)?;
    Ok(found.iter().map(|socket| socket.local.port()).collect())
}

fn sockets(pid: i32, state: SocketState) -> io::Result<Vec<Socket>> {
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
    use std::net::TcpListener;
    use std::os::unix::fs::MetadataExt;

    /// Whoever made a socket, by its file.
    fn user() -> u32 {
        std::fs::metadata("/proc/self").expect("this process").uid()
    }

    #[test]
    fn the_listener_that_gets_an_addresss_callers_is_found_with_its_user() {
        for (at, asked) in [
            ("127.0.0.1:0", "127.0.0.1"),
            ("0.0.0.0:0", "127.0.0.1"),
            ("[::]:0", "127.0.0.1"),
            ("[::1]:0", "::1"),
            ("[::]:0", "::1"),
        ] {
            let socket = TcpListener::bind(at).expect("bind");
            let port = socket.local_addr().expect("address").port();
            let asked = SocketAddr::new(asked.parse().expect("an address"), port);
            let found = listener(asked).expect("told").expect("it listens");
            assert!(found.is_listening() && found.user == user(), "{found:?}");
            let read = tables::sockets(own_pid(), SocketState::Listen).expect("read");
            assert_eq!(chosen(&read, asked), Some(found), "{at}");
            drop(socket);
            assert_eq!(listener(asked).expect("told"), None, "{at}");
        }
    }

    #[test]
    fn the_exact_listener_gets_the_callers() {
        let at = |text: &str, user: u32| Socket {
            local: text.parse().expect("an address"),
            remote: "0.0.0.0:0".parse().expect("an address"),
            state: SocketState::Listen,
            user,
            inode: 1,
        };
        let all = [
            at("[::]:7", 1),
            at("0.0.0.0:7", 2),
            at("10.0.0.1:7", 3),
            at("10.0.0.1:8", 4),
        ];
        let user_at = |text: &str| {
            let found = chosen(&all, text.parse().expect("an address"));
            found.map(|socket| socket.user)
        };
        assert_eq!(user_at("10.0.0.1:7"), Some(3));
        assert_eq!(user_at("10.0.0.2:7"), Some(2));
        assert_eq!(user_at("[fd00::1]:7"), Some(1));
        assert_eq!(user_at("10.0.0.2:8"), None);
    }

    #[test]
    fn a_connection_is_found_behind_those_that_have_ended() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
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
            let listener = TcpListener::bind(at).expect("bind");
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
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let six = TcpListener::bind("[::1]:0").expect("bind");
        let caller = std::net::TcpStream::connect(six.local_addr().expect("one"));
        let _caller = caller.expect("connected");
        let ports: Vec<u16> = [&listener, &six]
            .map(|listener| listener.local_addr().expect("address").port())
            .into();
        for state in [SocketState::Listen, SocketState::Established] {
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
