//! Listening sockets that are kept while the software is away, so that the kernel goes on queueing callers.

use super::sockets::{self, Found};
use intercept::holder::KeptListener;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

/// How many listeners may be kept: services times processes of a `SO_REUSEPORT` group, with room.
pub(super) const KEPT_MAX: usize = 1024;

/// The backlog of a listener of the holder's own; the system's `somaxconn` bounds it further.
const BACKLOG: i32 = 4096;

/// A listening socket in the holder's hands.
#[derive(Debug)]
pub(super) struct Kept {
    id: u64,
    address: SocketAddr,
    inode: u64,
    duplicate: bool,
    taken: bool,
    pub(super) socket: OwnedFd,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    kept: Vec<Kept>,
    last_id: u64,
}

/// What the software's `bind` meets.
#[derive(Debug)]
pub(super) enum Bind {
    /// This listener takes the place of its socket.
    Given(OwnedFd),
    /// Its own bind goes ahead. These listeners, which were in its way, are no longer kept.
    GoAhead(Vec<OwnedFd>),
}

impl Listeners {
    /// Keeps duplicates of the sockets that these processes listen on at these ports.
    pub(super) fn keep(&mut self, processes: &[i32], ports: &[u16]) -> io::Result<()> {
        let known: BTreeSet<u64> = self.kept.iter().map(|kept| kept.inode).collect();
        for found in sockets::find_listeners(processes, ports, &known)? {
            self.push(found, true)?;
        }
        Ok(())
    }

    /// Opens a listener of our own, unless something is kept at this very address.
    pub(super) fn listen(&mut self, address: SocketAddr) -> io::Result<()> {
        if self.kept.iter().any(|kept| kept.address == address) {
            return Ok(());
        }
        let socket = open(address)?;
        let found = Found {
            inode: sockets::inode(&socket)?,
            address: sockets::local_address(&socket)?,
            socket,
        };
        self.push(found, false)
    }

    /// Forgets one and closes our handle of it. Says whether there was one.
    pub(super) fn drop_one(&mut self, id: u64) -> bool {
        let before = self.kept.len();
        self.kept.retain(|kept| kept.id != id);
        self.kept.len() < before
    }

    /// Another handle of one.
    pub(super) fn fetch(&self, id: u64) -> Option<io::Result<OwnedFd>> {
        let kept = self.kept.iter().find(|kept| kept.id == id)?;
        Some(kept.socket.try_clone())
    }

    /// What the software's `bind` to this address gets. Each listener is given once; again only when the software has
    /// closed what it was given (`processes` are looked through for that).
    pub(super) fn bind(&mut self, address: SocketAddr, processes: &[i32]) -> io::Result<Bind> {
        let best = self
            .kept
            .iter_mut()
            .filter(|kept| kept.address == address)
            .filter(|kept| !kept.taken || !sockets::is_open(processes, kept.inode))
            .min_by_key(|kept| (kept.taken, !kept.duplicate, kept.id));
        if let Some(kept) = best {
            kept.taken = true;
            return Ok(Bind::Given(kept.socket.try_clone()?));
        }
        let taken_here = self.kept.iter().any(|kept| kept.address == address);
        if taken_here {
            // One more worker of a SO_REUSEPORT group: its own bind stands beside the others.
            return Ok(Bind::GoAhead(Vec::new()));
        }
        let in_the_way = self
            .kept
            .extract_if(.., |kept| !kept.taken && collide(kept.address, address))
            .map(|kept| kept.socket)
            .collect();
        Ok(Bind::GoAhead(in_the_way))
    }

    /// Nothing is taken any more: the child that took it has ended.
    pub(super) fn release_all(&mut self) {
        for kept in &mut self.kept {
            kept.taken = false;
        }
    }

    /// What the agent is told.
    pub(super) fn list(&self) -> Vec<KeptListener> {
        self.kept
            .iter()
            .map(|kept| KeptListener {
                listener: kept.id,
                address: kept.address,
                duplicate: kept.duplicate,
                taken: kept.taken,
            })
            .collect()
    }

    fn push(&mut self, found: Found, duplicate: bool) -> io::Result<()> {
        if self.kept.len() >= KEPT_MAX {
            return Err(io::Error::other(format!(
                "{KEPT_MAX} listeners are kept already"
            )));
        }
        self.last_id += 1;
        self.kept.push(Kept {
            id: self.last_id,
            // Without scope and flow, which hooks do not tell.
            address: SocketAddr::new(found.address.ip(), found.address.port()),
            inode: found.inode,
            duplicate,
            // The present child holds the original.
            taken: duplicate,
            socket: found.socket,
        });
        Ok(())
    }
}

fn open(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    // Non-blocking: whoever accepts from it must not wait for a caller that has left the queue.
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    // So that the second worker of a group may bind beside this one, which the first has been given.
    sockopt::set_socket_reuseport(&socket, true)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// Whether a listener at one address keeps another from binding the other (a dual-stack IPv6 wildcard takes IPv4 too).
fn collide(kept: SocketAddr, asked: SocketAddr) -> bool {
    if kept.port() != asked.port() {
        return false;
    }
    match (kept.ip(), asked.ip()) {
        (IpAddr::V6(six), IpAddr::V4(four)) | (IpAddr::V4(four), IpAddr::V6(six)) => {
            six.is_unspecified()
                || six
                    .to_ipv4_mapped()
                    .is_some_and(|mapped| mapped == four || mapped.is_unspecified())
        }
        (kept, asked) => kept == asked || kept.is_unspecified() || asked.is_unspecified(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Bind, Listeners, collide};
    use std::net::SocketAddr;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    fn free_port() -> u16 {
        let probe = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
        probe.local_addr().expect("an address").port()
    }

    #[test]
    fn addresses_collide_as_the_kernel_sees_it() {
        let cases = [
            ("0.0.0.0:1", "127.0.0.1:1", true),
            ("127.0.0.1:1", "127.0.0.1:2", false),
            ("127.0.0.1:1", "127.0.0.2:1", false),
            ("[::]:1", "0.0.0.0:1", true),
            ("[::]:1", "127.0.0.1:1", true),
            ("[::1]:1", "0.0.0.0:1", false),
            ("[::ffff:127.0.0.1]:1", "127.0.0.1:1", true),
        ];
        for (kept, asked, expected) in cases {
            assert_eq!(
                collide(address(kept), address(asked)),
                expected,
                "{kept} {asked}"
            );
        }
    }

    #[test]
    fn a_listener_is_given_once_until_the_child_ends_or_closes_it() {
        let own = [i32::try_from(std::process::id()).expect("a pid")];
        let at = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut listeners = Listeners::default();
        listeners.listen(at).expect("free");
        listeners.listen(at).expect("the same again");
        assert_eq!(listeners.list().len(), 1);
        assert!(matches!(listeners.bind(at, &own), Ok(Bind::Given(_))));
        // This very process holds it open (as the kept one), so it counts as still in use.
        assert!(matches!(listeners.bind(at, &own), Ok(Bind::GoAhead(_))));
        assert!(matches!(listeners.bind(at, &[]), Ok(Bind::Given(_))));
        listeners.release_all();
        assert!(matches!(listeners.bind(at, &own), Ok(Bind::Given(_))));
    }

    #[test]
    fn a_bind_to_another_address_of_the_port_gets_it_free() {
        let port = free_port();
        let mut listeners = Listeners::default();
        listeners
            .listen(SocketAddr::from(([127, 0, 0, 1], port)))
            .expect("free");
        let wildcard = SocketAddr::from(([0, 0, 0, 0], port));
        match listeners.bind(wildcard, &[]).expect("looked") {
            Bind::GoAhead(in_the_way) => assert_eq!(in_the_way.len(), 1),
            Bind::Given(_) => panic!("a listener of another address was given"),
        }
        assert!(listeners.list().is_empty());
    }
}
