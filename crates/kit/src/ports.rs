//! Ports at which nothing listens.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

/// A port of this range at which nothing listens now, never the same twice in this process. Each test program has a range of its own, below
/// the one from which the kernel gives out ports for outgoing connections, and beside the blocks of whole systems.
pub fn free_port(range: Range<u16>) -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let count = u32::from(range.end - range.start);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let turn = std::process::id().wrapping_mul(37).wrapping_add(step) % count;
        let port = range.start + u16::try_from(turn).expect("below the count");
        let hosts = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::LOCALHOST.into()];
        // A host without IPv6 has nothing that listens there.
        let is_taken = |address| match TcpListener::bind(address) {
            Ok(_) => false,
            Err(error) => error.kind() == ErrorKind::AddrInUse,
        };
        if !hosts
            .map(|host| is_taken(SocketAddr::new(host, port)))
            .contains(&true)
        {
            return port;
        }
    }
}
