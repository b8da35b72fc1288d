//! Ports at which nothing listens.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixDatagram};
use std::sync::atomic::{AtomicU32, Ordering};

/// A port of this range at which nothing listens now, and which no other test has as long as this process lives; the one behind it goes
/// with it. Never the same twice in this process. Each test program has a range of its own, below the one from which the kernel gives out
/// ports for outgoing connections, and beside the blocks of whole systems.
pub fn free_port(range: Range<u16>) -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let pairs = u32::from(range.end - range.start) / 2;
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let turn = std::process::id().wrapping_mul(37).wrapping_add(step) % pairs;
        let port = range.start + 2 * u16::try_from(turn).expect("below the count");
        if reserve(port) && ![port, port + 1].into_iter().any(is_taken) {
            return port;
        }
    }
}

/// Takes a port among all tests of this network namespace, by a name that ends with the process; says whether it was free.
fn reserve(port: u16) -> bool {
    let name = format!("upstart-test-port-{port}");
    let address = UnixAddress::from_abstract_name(name).expect("short");
    match UnixDatagram::bind_addr(&address) {
        Ok(socket) => {
            std::mem::forget(socket);
            true
        }
        Err(_) => false,
    }
}

fn is_taken(port: u16) -> bool {
    let hosts = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::LOCALHOST.into()];
    // A host without IPv6 has nothing that listens there.
    hosts.into_iter().any(|host| {
        let bound = TcpListener::bind(SocketAddr::new(host, port));
        bound.is_err_and(|error| error.kind() == ErrorKind::AddrInUse)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_given_once() {
        // Four pairs, of which another process may have none: the range is this test's own.
        let mut given: Vec<u16> = (0..4).map(|_| free_port(19_970..19_978)).collect();
        given.sort_unstable();
        assert_eq!(given, [19_970, 19_972, 19_974, 19_976]);
        assert!(!reserve(19_970));
    }
}
