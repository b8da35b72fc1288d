//! Paths that drop handshakes with data: noticed, and remembered for all processes of the node.
//!
//! The kernel repeats a lost SYN without data, a second late, so nothing fails, but every connection would wait. A blocking
//! connect shows it by its time. Of non-blocking ones, now and then one is remembered by its cookie and looked at when its
//! program asks for SO_ERROR, as it does once the connection stands, or when the next connect to the same address comes.
//! A connection that does not come about tells nothing: a peer that is down must not make connects slow.

use crate::kernel;
use crate::state;
use intercept::address::destination;
use intercept::stats::Counter;
use libc::c_int;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

/// The kernel's first retransmission of a SYN comes after a second.
const SYN_REPEATED_MS: u64 = 900;
/// The least and the greatest age at which a sample tells something.
const SAMPLE_MS: std::ops::Range<u64> = 1100..60_000;
/// A connection that has sent more than this may have retransmitted for other reasons.
const SEGMENTS_MAX: u32 = 32;
const ESTABLISHED: u8 = 1;

/// One connection under observation; `begun_ms` 0 means none.
struct Sample {
    begun_ms: AtomicU64,
    cookie: AtomicU64,
    descriptor: AtomicU64,
    port: AtomicU64,
}

const NO_DESCRIPTOR: u64 = u64::MAX;
const SAMPLES: usize = 16;
static SAMPLED: [Sample; SAMPLES] = [const {
    Sample {
        begun_ms: AtomicU64::new(0),
        cookie: AtomicU64::new(0),
        descriptor: AtomicU64::new(NO_DESCRIPTOR),
        port: AtomicU64::new(0),
    }
}; SAMPLES];

fn slot(to: SocketAddr) -> (&'static Sample, u64) {
    let ip = intercept::address::number(to.ip().to_canonical());
    let key =
        (ip as u64 ^ (ip >> 64) as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ u64::from(to.port());
    (&SAMPLED[(key ^ key >> 32) as usize % SAMPLES], key)
}

/// Labels to this address take the slow path.
pub(crate) fn is_slow(to: SocketAddr, now: u64) -> bool {
    judge(to, now);
    state::stats().is_some_and(|stats| stats.is_slow_path(to, now))
}

/// Remembers a non-blocking connect, if none has been for a while.
pub(crate) fn sample(fd: c_int, to: SocketAddr, now: u64) {
    let (sample, key) = slot(to);
    let begun = sample.begun_ms.load(Ordering::Relaxed);
    if begun != 0 && now.saturating_sub(begun) < SAMPLE_MS.end {
        return;
    }
    let Some(cookie) = kernel::cookie(fd) else {
        return;
    };
    sample.cookie.store(cookie, Ordering::Relaxed);
    sample.descriptor.store(fd as u64, Ordering::Relaxed);
    sample.port.store(key, Ordering::Relaxed);
    sample.begun_ms.store(now, Ordering::Release);
}

/// Looks at a remembered connection whose program has just asked how its connect went.
pub fn asked_for_error(fd: c_int) {
    for sample in &SAMPLED {
        if sample.descriptor.load(Ordering::Relaxed) != fd as u64 {
            continue;
        }
        let now = kernel::now_ms();
        let took = now.saturating_sub(sample.begun_ms.load(Ordering::Acquire));
        if let Some(to) = kernel::peer(fd).ok().and_then(|peer| peer.address()) {
            look(sample, to, |lost| lost && took >= SYN_REPEATED_MS, now);
        }
    }
}

fn judge(to: SocketAddr, now: u64) {
    let (sample, key) = slot(to);
    let begun = sample.begun_ms.load(Ordering::Acquire);
    let ripe = begun != 0 && SAMPLE_MS.contains(&now.saturating_sub(begun));
    if ripe && sample.port.load(Ordering::Relaxed) == key {
        look(sample, to, |lost| lost, now);
    }
}

/// A good path is left alone until its sample is stale; one that has lost is sampled again at once.
fn look(sample: &Sample, to: SocketAddr, counts: impl Fn(bool) -> bool, now: u64) {
    let fd = sample.descriptor.swap(NO_DESCRIPTOR, Ordering::Relaxed);
    if fd == NO_DESCRIPTOR
        || kernel::cookie(fd as c_int) != Some(sample.cookie.load(Ordering::Relaxed))
    {
        return;
    }
    if let Some(lost) = handshake_was_lost(fd as c_int).map(counts) {
        note(fd as c_int, to, lost, now);
        if lost {
            sample.begun_ms.store(0, Ordering::Release);
        }
    }
}

/// Without fast open at the listener one retransmission (the label itself) is the rule; the SYN's is the second.
fn handshake_was_lost(fd: c_int) -> Option<bool> {
    let info: libc::tcp_info = kernel::option(fd, libc::IPPROTO_TCP, libc::TCP_INFO).ok()?;
    match info.tcpi_state {
        ESTABLISHED if info.tcpi_total_retrans <= 1 => Some(false),
        ESTABLISHED if info.tcpi_unacked <= SEGMENTS_MAX => Some(true),
        _ => None,
    }
}

/// Notes how long a blocking connect took.
pub(crate) fn note_blocking(fd: c_int, to: SocketAddr, took_ms: u64, connected: bool) {
    if !connected {
        return;
    }
    let lost = took_ms >= SYN_REPEATED_MS && handshake_was_lost(fd).unwrap_or(false);
    note(fd, to, lost, kernel::now_ms());
}

/// Within one host nothing drops packets for what is in them: there a listener's queue was full. And there no label may take the
/// slow path, since accept takes for unlabelled what begins without one.
fn note(fd: c_int, to: SocketAddr, lost: bool, now: u64) {
    if lost && within_this_host(fd, to) {
        return;
    }
    if state::stats().is_some_and(|stats| stats.note_path(to, lost, now)) {
        state::count(Counter::PathRemembered);
    }
}

fn within_this_host(fd: c_int, to: SocketAddr) -> bool {
    let to = destination(to).ip();
    let own = || kernel::local(fd).address().map(|at| at.ip().to_canonical());
    to.is_loopback() || own() == Some(to)
}
