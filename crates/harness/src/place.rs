//! Ports that belong to one test.

use std::net::{Ipv4Addr, TcpListener};

/// How many ports a test gets.
const PORTS: u16 = 32;

/// Below the range from which the kernel gives out ports for outgoing connections, and beside that of the demos.
const BASES: std::ops::Range<u16> = 12_000..19_968;

/// A block of free ports; nobody else gets it while this lives.
#[derive(Debug)]
pub(crate) struct Ports {
    /// Listening on the block's first port marks it as taken.
    _mark: TcpListener,
    base: u16,
}

impl Ports {
    /// Finds a free block.
    pub(crate) fn reserve() -> Self {
        let blocks = (BASES.end - BASES.start) / PORTS;
        let first = u16::try_from(std::process::id() % u32::from(blocks)).expect("a small number");
        for turn in 0..blocks {
            let base = BASES.start + (first + turn) % blocks * PORTS;
            let Ok(mark) = TcpListener::bind((Ipv4Addr::LOCALHOST, base)) else {
                continue;
            };
            let free = |port: u16| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok();
            if (base + 1..base + PORTS).all(free) {
                return Self { _mark: mark, base };
            }
        }
        panic!("no block of {PORTS} free ports in {BASES:?}");
    }

    /// The port of that number, from 1.
    pub(crate) fn get(&self, number: u16) -> u16 {
        assert!((1..PORTS).contains(&number), "a test has {PORTS} ports");
        self.base + number
    }
}
