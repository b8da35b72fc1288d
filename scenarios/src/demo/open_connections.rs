//! Which connections were open when something was stopped: at most so many may break.

use super::hosts::{Hosts, Sockets};
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How far back a stop is looked for: it is noticed a little after it happened.
const LOOK_BACK: Duration = Duration::from_secs(3);

/// The pause between two counts.
const INTERVAL: Duration = Duration::from_millis(50);

/// When, and how many connections by local port.
type Count = (Instant, BTreeMap<u16, u64>);

/// Counts the established connections at some local ports, again and again, in a thread of its own.
#[derive(Debug)]
pub struct OpenConnections {
    counts: Arc<Mutex<VecDeque<Count>>>,
    over: Arc<AtomicBool>,
}

impl OpenConnections {
    /// Begins to count; each port is one of its host.
    pub fn begin(ports: Vec<(u16, Sockets)>) -> Self {
        let open_connections = Self {
            counts: Arc::default(),
            over: Arc::default(),
        };
        let (counts, over) = (
            Arc::clone(&open_connections.counts),
            Arc::clone(&open_connections.over),
        );
        std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                let now = Instant::now();
                let mut counts = counts.lock();
                counts.push_back((now, established(&ports)));
                while counts.front().is_some_and(|(at, _)| now - *at > LOOK_BACK) {
                    counts.pop_front();
                }
                drop(counts);
                std::thread::sleep(INTERVAL);
            }
        });
        open_connections
    }

    /// The most connections that were open at this port lately.
    pub fn lately(&self, port: u16) -> u64 {
        let counts = self.counts.lock();
        counts
            .iter()
            .filter_map(|(_, ports)| ports.get(&port))
            .copied()
            .max()
            .unwrap_or(0)
    }
}

impl Drop for OpenConnections {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// Somebody listens at this port of loopback.
pub fn listens(port: u16) -> bool {
    let sockets = Hosts::loopback().sockets("");
    sockets.is_ok_and(|sockets| count(&sockets.read(), LISTEN, port) > 0)
}

fn established(ports: &[(u16, Sockets)]) -> BTreeMap<u16, u64> {
    let of = |(port, sockets): &(u16, Sockets)| (*port, count(&sockets.read(), ESTABLISHED, *port));
    ports.iter().map(of).collect()
}

/// How many sockets in this state have this local port.
fn count(tables: &str, state: &str, port: u16) -> u64 {
    let ports = tables.lines().filter_map(|line| local_port(line, state));
    ports.filter(|found| *found == port).count() as u64
}

/// States of a connection as the kernel prints them (its documentation's `proc_net_tcp`).
const ESTABLISHED: &str = "01";
const LISTEN: &str = "0A";

/// The local port of a socket that is in this state.
fn local_port(line: &str, wanted: &str) -> Option<u16> {
    let mut fields = line.split_whitespace().skip(1);
    let (local, state) = (fields.next()?, fields.nth(1)?);
    (state == wanted).then(|| u16::from_str_radix(local.rsplit(':').next()?, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn connections_are_seen_at_their_port() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().expect("its address");
        let sockets = Hosts::loopback().sockets("").expect("tables");
        let ports = [(address.port(), sockets)];
        assert_eq!(established(&ports), BTreeMap::from([(address.port(), 0)]));
        assert!(listens(address.port()));
        let _caller = TcpStream::connect(address).expect("a connection");
        let _accepted = listener.accept().expect("accepted");
        assert_eq!(established(&ports), BTreeMap::from([(address.port(), 1)]));
    }
}
