//! The mapped words: what hooks write. No locks, no allocation.
//!
//! ```text
//! 0: magic   16..144: counters   512: processes   then callers   then paths
//! process   0: pid | library << 32   1: deeds seen (bits)   2: since, ms of the monotonic clock
//! caller    0: socket cookie (0 free, all ones being written)   1, 2: address   3: port
//! path      0: key   1: strikes   2: slow until, ms      at port 0: asked for a cookie in vain   2: not again until, ms
//! ```

use super::Counter;
use crate::address::{from_number, number};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering, fence};

pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"UPSTSTA\x01");
pub(super) const COUNTERS_AT: usize = 16;
const COUNTERS_MAX: usize = 128;
pub(super) const PROCESSES_AT: usize = 512;
pub(super) const PROCESS_WORDS: usize = 3;
/// Processes that connected, accepted or listened. Slots of ended ones are taken over.
pub(super) const PROCESSES_MAX: usize = 4096;
const CALLERS_AT: usize = PROCESSES_AT + PROCESSES_MAX * PROCESS_WORDS;
const CALLER_WORDS: usize = 4;
/// Callers of the agent's connections; the oldest of a neighbourhood makes room.
const CALLERS_MAX: usize = 16384;
const PATHS_AT: usize = CALLERS_AT + CALLERS_MAX * CALLER_WORDS;
const PATH_WORDS: usize = 3;
const PATHS_MAX: usize = 1024;
/// The length of the file in words.
pub const FILE_WORDS: usize = PATHS_AT + PATHS_MAX * PATH_WORDS;
/// The length of the file.
pub const FILE_BYTES: usize = FILE_WORDS * 8;

/// Slots that are looked at for one entry.
const NEIGHBOURS: usize = 16;
/// A host as a whole: nobody connects to this port.
const NO_PORT: u16 = 0;
const BEING_WRITTEN: u64 = u64::MAX;
/// Losses in a row after which a path counts as one that drops handshakes with data.
const STRIKES: u64 = 2;
/// How long such a path is remembered.
const SLOW_MS: u64 = 600_000;
/// How long a host is not asked for a cookie after two answers without one; each further one doubles it.
const COOKIE_PAUSE_MS: u64 = 1_000;
/// The longest such pause.
const COOKIE_PAUSE_MS_MAX: u64 = 600_000;

const _: () = assert!(Counter::ALL.len() <= COUNTERS_MAX);

/// Something that a process was seen to do through the hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Deed {
    /// It began a connection to a member.
    Connect = 1,
    /// It accepted at a declared service.
    Accept = 2,
    /// It listens on TCP.
    Listen = 4,
}

/// The words, mapped (or private where the file could not be mapped).
#[derive(Clone, Copy, Debug)]
pub struct StatsView<'a> {
    words: &'a [AtomicU64],
}

impl<'a> StatsView<'a> {
    /// A view of [`FILE_WORDS`] words made by [`super::StatsFile`]; `None` for anything else.
    pub fn new(words: &'a [AtomicU64]) -> Option<Self> {
        let known = words.len() >= FILE_WORDS && words[0].load(Ordering::Relaxed) == MAGIC.to_le();
        known.then_some(Self { words })
    }

    /// A view of private words, for where there is no file. At least [`FILE_WORDS`] of them.
    pub fn private(words: &'a [AtomicU64]) -> Option<Self> {
        (words.len() >= FILE_WORDS).then_some(Self { words })
    }

    /// Counts one.
    pub fn count(&self, counter: Counter) {
        self.words[COUNTERS_AT + counter as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How often it was counted.
    pub fn counted(&self, counter: Counter) -> u64 {
        self.words[COUNTERS_AT + counter as usize].load(Ordering::Relaxed)
    }

    /// Finds or makes the slot of a process. `ended` tells of slots that may be taken over. `None` when all are live.
    pub fn process(
        &self,
        pid: u32,
        library: u16,
        now_ms: u64,
        ended: impl Fn(u32) -> bool,
    ) -> Option<usize> {
        let head = u64::from(pid) | u64::from(library) << 32;
        let slots = || {
            neighbours(u64::from(pid), PROCESSES_MAX)
                .map(|slot| PROCESSES_AT + slot * PROCESS_WORDS)
        };
        let free = || slots().find(|at| self.load(*at) == 0);
        let left = || slots().find(|at| ended(self.load(*at) as u32));
        let at = slots()
            .find(|at| self.load(*at) as u32 == pid)
            .or_else(free)
            .or_else(left)?;
        self.store(at + 1, 0);
        self.store(at + 2, now_ms);
        self.store(at, head);
        Some(at)
    }

    /// Notes what the process in this slot (of [`process`](Self::process)) was seen to do.
    pub fn note(&self, slot: usize, deed: Deed) {
        if let Some(word) = self.words.get(slot + 1)
            && word.load(Ordering::Relaxed) & deed as u64 == 0
        {
            word.fetch_or(deed as u64, Ordering::Relaxed);
        }
    }

    /// Remembers the true caller of the connection with this socket cookie.
    pub fn remember_caller(&self, cookie: u64, caller: SocketAddr) {
        let slots = neighbours(cookie, CALLERS_MAX).map(|slot| CALLERS_AT + slot * CALLER_WORDS);
        // Cookies rise, so the smallest is the oldest; a free slot (0) is smaller still.
        let Some(at) = slots.min_by_key(|at| self.load(*at)) else {
            return;
        };
        let old = self.load(at);
        let word = &self.words[at];
        if word
            .compare_exchange(old, BEING_WRITTEN, Ordering::AcqRel, Ordering::Relaxed)
            .is_err()
        {
            return self.remember_caller_again(cookie, caller);
        }
        self.write_caller(at, cookie, caller);
    }

    /// Another thread took the slot: one more try, at the next oldest.
    fn remember_caller_again(&self, cookie: u64, caller: SocketAddr) {
        for at in neighbours(cookie, CALLERS_MAX).map(|slot| CALLERS_AT + slot * CALLER_WORDS) {
            let old = self.load(at);
            let free = old != BEING_WRITTEN && old < cookie;
            let word = &self.words[at];
            if free
                && word
                    .compare_exchange(old, BEING_WRITTEN, Ordering::AcqRel, Ordering::Relaxed)
                    .is_ok()
            {
                return self.write_caller(at, cookie, caller);
            }
        }
    }

    fn write_caller(&self, at: usize, cookie: u64, caller: SocketAddr) {
        let ip = number(caller.ip());
        self.store(at + 1, (ip >> 64) as u64);
        self.store(at + 2, ip as u64);
        self.store(at + 3, u64::from(caller.port()));
        self.words[at].store(cookie, Ordering::Release);
    }

    /// No caller was ever remembered: nothing to look up.
    pub fn no_callers(&self) -> bool {
        self.counted(Counter::AcceptAgent) == 0
    }

    /// The true caller of the connection with this socket cookie.
    pub fn caller(&self, cookie: u64) -> Option<SocketAddr> {
        neighbours(cookie, CALLERS_MAX)
            .map(|slot| CALLERS_AT + slot * CALLER_WORDS)
            .find_map(|at| {
                if self.words[at].load(Ordering::Acquire) != cookie {
                    return None;
                }
                let ip = u128::from(self.load(at + 1)) << 64 | u128::from(self.load(at + 2));
                let port = self.load(at + 3) as u16;
                fence(Ordering::Acquire);
                (self.load(at) == cookie).then_some(SocketAddr::new(from_number(ip), port))
            })
    }

    /// Handshakes with data are known to be dropped on the way to this address.
    pub fn is_slow_path(&self, to: SocketAddr, now_ms: u64) -> bool {
        let (key, at) = path(to);
        self.load(at) == key && self.load(at + 2) > now_ms
    }

    /// Notes how a handshake with data to this address went. Returns true when it has just become a slow path.
    pub fn note_path(&self, to: SocketAddr, lost: bool, now_ms: u64) -> bool {
        let strikes = self.strike(to, lost, |strikes| {
            if strikes >= STRIKES {
                now_ms + SLOW_MS
            } else {
                0
            }
        });
        strikes == STRIKES
    }

    /// This host may be asked for a Fast Open cookie, or be shown the one that it gave.
    pub fn is_cookie_wanted(&self, host: IpAddr, now_ms: u64) -> bool {
        !self.is_slow_path(SocketAddr::new(host, NO_PORT), now_ms)
    }

    /// Notes whether the kernel had a cookie of this host. The first time it cannot: that connection asks for it.
    pub fn note_cookie(&self, host: IpAddr, missing: bool, now_ms: u64) {
        let host = SocketAddr::new(host, NO_PORT);
        self.strike(host, missing, |strikes| now_ms + cookie_pause(strikes));
    }

    /// Counts what has gone wrong in a row towards an address; `until` says until when it is left alone after so many. Returns how
    /// many there are now.
    fn strike(&self, to: SocketAddr, wrong: bool, until: impl Fn(u64) -> u64) -> u64 {
        let (key, at) = path(to);
        let before = if self.load(at) == key {
            self.load(at + 1)
        } else {
            0
        };
        if !wrong && before == 0 {
            return 0;
        }
        let strikes = if wrong { before + 1 } else { 0 };
        self.store(at, key);
        self.store(at + 1, strikes);
        self.store(at + 2, until(strikes));
        strikes
    }

    fn load(&self, at: usize) -> u64 {
        self.words[at].load(Ordering::Relaxed)
    }

    fn store(&self, at: usize, value: u64) {
        self.words[at].store(value, Ordering::Relaxed);
    }
}

fn cookie_pause(strikes: u64) -> u64 {
    match strikes.checked_sub(STRIKES) {
        None => 0,
        Some(further) => (COOKIE_PAUSE_MS << further.min(16)).min(COOKIE_PAUSE_MS_MAX),
    }
}

fn mix(key: u64) -> u64 {
    let key = (key ^ (key >> 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    key ^ (key >> 29)
}

fn neighbours(key: u64, slots: usize) -> impl Iterator<Item = usize> {
    let first = mix(key) as usize;
    (0..NEIGHBOURS).map(move |step| first.wrapping_add(step) % slots)
}

fn path(to: SocketAddr) -> (u64, usize) {
    let ip = number(to.ip().to_canonical());
    let key = mix((ip >> 64) as u64 ^ mix(ip as u64) ^ u64::from(to.port())) | 1;
    (key, PATHS_AT + (mix(key) as usize % PATHS_MAX) * PATH_WORDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> Vec<AtomicU64> {
        (0..FILE_WORDS).map(|_| AtomicU64::new(0)).collect()
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn processes_keep_their_slot_and_inherit_those_of_ended_ones() {
        let words = words();
        let stats = StatsView::private(&words).expect("words");
        let slot = stats.process(77, 1, 5, |_| false).expect("a slot");
        stats.note(slot, Deed::Connect);
        stats.note(slot, Deed::Listen);
        assert_eq!(words[slot + 1].load(Ordering::Relaxed), 5);
        assert_eq!(stats.process(77, 1, 6, |_| false), Some(slot));

        let first = |pid: u32| neighbours(u64::from(pid), PROCESSES_MAX).next();
        let mut crowd = (1..).filter(|pid| *pid != 77 && first(*pid) == first(77));
        for pid in crowd.by_ref().take(NEIGHBOURS - 1) {
            assert!(stats.process(pid, 1, 7, |_| false).is_some());
        }
        let late = crowd.next().expect("one more");
        assert_eq!(stats.process(late, 1, 8, |_| false), None);
        assert_eq!(stats.process(late, 1, 8, |pid| pid == 77), Some(slot));
    }

    #[test]
    fn callers_are_found_by_cookie_and_the_oldest_makes_room() {
        let words = words();
        let stats = StatsView::private(&words).expect("words");
        assert_eq!(stats.caller(9), None);
        for cookie in 1..100_000u64 {
            stats.remember_caller(
                cookie,
                SocketAddr::new(address("10.0.0.1:0").ip(), cookie as u16),
            );
        }
        let found = |range: std::ops::Range<u64>| {
            range
                .filter(|cookie| stats.caller(*cookie).is_some())
                .count()
        };
        assert_eq!(
            stats.caller(99_999),
            Some(SocketAddr::new(
                address("10.0.0.1:0").ip(),
                99_999u64 as u16
            ))
        );
        assert_eq!(found(98_000..100_000), 2000);
        assert_eq!(found(1..2000), 0);
    }

    #[test]
    fn a_path_that_loses_twice_in_a_row_is_slow_for_a_while() {
        let words = words();
        let stats = StatsView::private(&words).expect("words");
        let to = address("10.0.0.1:7000");
        assert!(!stats.note_path(to, true, 1000));
        assert!(!stats.note_path(to, false, 2000));
        assert!(!stats.note_path(to, true, 3000));
        assert!(!stats.is_slow_path(to, 3000));
        assert!(stats.note_path(to, true, 4000));
        assert!(stats.is_slow_path(to, 5000));
        assert!(stats.is_slow_path(address("[::ffff:10.0.0.1]:7000"), 5000));
        assert!(!stats.is_slow_path(address("10.0.0.1:7001"), 5000));
        assert!(!stats.is_slow_path(to, 4000 + SLOW_MS));
    }

    #[test]
    fn a_host_that_gives_no_cookie_is_asked_ever_more_rarely() {
        let words = words();
        let stats = StatsView::private(&words).expect("words");
        let host = address("10.0.0.1:0").ip();
        let miss = |now| {
            assert!(stats.is_cookie_wanted(host, now), "{now}");
            stats.note_cookie(host, true, now);
        };
        // The first connection asks, the second finds that nothing came.
        miss(0);
        miss(0);
        let pause = |now| {
            (0..)
                .step_by(1_000)
                .find(|after| stats.is_cookie_wanted(host, now + after))
        };
        assert_eq!(pause(0), Some(1_000));
        miss(5_000);
        assert_eq!(pause(5_000), Some(2_000));
        (1..40).for_each(|hour| miss(hour * 3_600_000));
        assert_eq!(pause(39 * 3_600_000), Some(COOKIE_PAUSE_MS_MAX));
        assert!(stats.is_cookie_wanted(address("10.0.0.2:0").ip(), 0));
        assert!(!stats.is_slow_path(address("10.0.0.1:7000"), 39 * 3_600_000));

        // One that is there makes up for all that were not.
        stats.note_cookie(host, false, 40 * 3_600_000);
        miss(41 * 3_600_000);
        miss(41 * 3_600_000);
        assert_eq!(pause(41 * 3_600_000), Some(1_000));
    }
}
