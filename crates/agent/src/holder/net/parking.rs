//! Blocking accepts that wait: one thread watches their listeners and their callers' ends.
//!
//! An epoll rather than a poll, which would keep the listeners' files open while it waits: a listener that its software has closed
//! must be gone as soon as nobody waits at it.

use super::NetShared;
use super::accepting::{Tried, WantedConnection};
use interpose::net::alarm::Alarm;
use parking_lot::Mutex;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often those who wait are looked through for who has gone on (a signal does not tell us), while somebody waits.
const TICK: Duration = Duration::from_millis(50);

/// How long what is left alone rests: its listeners are ready all the time.
const STOPPING_PAUSE: Duration = Duration::from_millis(5);

/// How many accepts may wait; beyond that the software is told ENOBUFS, as where the kernel is out of memory.
const PARKED_MAX: usize = 16 * 1024;

/// The number of the wake-up among the watched.
const WAKE: u64 = u64::MAX;

/// Marks a watched caller's end, beside its listener under the same number.
const ENDING: u64 = 1 << 63;

/// Those who wait.
#[derive(Debug)]
pub(super) struct Parking {
    watch: OwnedFd,
    wake: OwnedFd,
    parked: Mutex<Parked>,
    /// Held while the thread tries an accept: it has the listener open then.
    trying: Mutex<()>,
}

#[derive(Debug, Default)]
struct Parked {
    last: u64,
    waiting: BTreeMap<u64, Arc<WantedConnection>>,
}

impl Parking {
    pub(super) fn new() -> io::Result<Self> {
        let watch = epoll::create(CreateFlags::CLOEXEC)?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&watch, &wake, EventData::new_u64(WAKE), EventFlags::IN)?;
        Ok(Self {
            watch,
            wake,
            parked: Mutex::default(),
            trying: Mutex::default(),
        })
    }

    /// Lets an accept wait.
    pub(super) fn park(&self, shared: &NetShared, wanted: WantedConnection) {
        let mut parked = self.parked.lock();
        if parked.waiting.len() >= PARKED_MAX {
            wanted.end(shared, Tried::Failed(libc::ENOBUFS));
            return;
        }
        parked.last += 1;
        let number = parked.last;
        let first = parked.waiting.is_empty();
        let watched = epoll::add(
            &self.watch,
            wanted.target.ending(),
            EventData::new_u64(number | ENDING),
            EventFlags::IN,
        )
        .and_then(|()| {
            epoll::add(
                &self.watch,
                &wanted.listener,
                EventData::new_u64(number),
                EventFlags::IN,
            )
        });
        if let Err(error) = watched {
            self.unwatch(&wanted);
            wanted.end(shared, Tried::Failed(error.raw_os_error()));
            return;
        }
        if !shared.notices.is_valid(&wanted.notice) {
            self.unwatch(&wanted);
            return;
        }
        parked.waiting.insert(number, Arc::new(wanted));
        drop(parked);
        if first {
            // It waits without a tick.
            self.wake();
        }
    }

    /// Lets the thread look through all who wait.
    pub(super) fn wake(&self) {
        // A full counter wakes as well.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    /// Forgets who has gone on meanwhile, so that nothing keeps their listeners open.
    pub(super) fn sweep(&self, shared: &NetShared) {
        let _trying = self.trying.lock();
        let mut parked = self.parked.lock();
        parked.waiting.retain(|_, wanted| {
            let waits = shared.notices.is_valid(&wanted.notice);
            if !waits {
                self.unwatch(wanted);
            }
            waits
        });
    }

    pub(super) fn clear(&self) {
        let mut parked = self.parked.lock();
        parked
            .waiting
            .values()
            .for_each(|wanted| self.unwatch(wanted));
        parked.waiting.clear();
    }

    /// Closing our descriptors does not do it: the files are open in the software too.
    fn unwatch(&self, wanted: &WantedConnection) {
        // What is not watched need not be taken off.
        let _ = epoll::delete(&self.watch, &wanted.listener);
        let _ = epoll::delete(&self.watch, wanted.target.ending());
    }

    fn numbers(&self) -> Vec<u64> {
        self.parked.lock().waiting.keys().copied().collect()
    }

    fn get(&self, number: u64) -> Option<Arc<WantedConnection>> {
        self.parked.lock().waiting.get(&number).cloned()
    }

    fn remove(&self, number: u64) {
        let mut parked = self.parked.lock();
        if let Some(wanted) = parked.waiting.remove(&number) {
            self.unwatch(&wanted);
        }
    }

    /// How long the next wait may take; `None` while nobody is here.
    fn patience(&self) -> Option<Duration> {
        let parked = self.parked.lock();
        let first = parked.waiting.values().filter_map(|wanted| wanted.until());
        let first = first
            .min()
            .map(|until| until.saturating_duration_since(Instant::now()));
        // Rounded up, so that who is waited for is late afterwards.
        let first = first.map_or(TICK, |first| first + Duration::from_millis(1));
        (!parked.waiting.is_empty()).then_some(first.min(TICK))
    }

    fn wait(&self) -> Vec<u64> {
        let mut events = Vec::with_capacity(64);
        let tick = self
            .patience()
            .and_then(|tick| Timespec::try_from(tick).ok());
        // A signal wakes as well.
        let _ = epoll::wait(
            &self.watch,
            rustix::buffer::spare_capacity(&mut events),
            tick.as_ref(),
        );
        events
            .iter()
            .map(|event: &epoll::Event| event.data.u64())
            .collect()
    }
}

/// The thread's work.
pub(super) fn serve(shared: &Arc<NetShared>, alarm: &Alarm) {
    let parking = &shared.parking;
    let mut swept = Instant::now();
    while !shared.has_ended() {
        let mut ready = parking.wait();
        if ready.contains(&WAKE) {
            // Emptied, or empty already.
            let _ = rustix::io::read(&parking.wake, &mut [0; 8]);
            ready = parking.numbers();
        }
        let mut rests = false;
        for number in ready {
            rests |= attend(shared, number, alarm);
        }
        if swept.elapsed() >= TICK {
            swept = Instant::now();
            parking.sweep(shared);
        }
        end_late(shared);
        if rests {
            std::thread::sleep(STOPPING_PAUSE);
        }
    }
}

/// Looks after one of those who wait; says whether it is to be left alone for now.
fn attend(shared: &NetShared, number: u64, alarm: &Alarm) -> bool {
    let parking = &shared.parking;
    if number & ENDING != 0 {
        parking.remove(number & !ENDING);
        return false;
    }
    let _trying = parking.trying.lock();
    let Some(wanted) = parking.get(number) else {
        return false;
    };
    let tried = wanted.attempt(shared, alarm);
    if matches!(tried, Tried::Nothing | Tried::LeftAlone) {
        return matches!(tried, Tried::LeftAlone);
    }
    parking.remove(number);
    end(shared, wanted, tried);
    false
}

/// Only this thread shares what waits, so that what was removed is its own.
fn end(shared: &NetShared, wanted: Arc<WantedConnection>, tried: Tried) {
    if let Some(wanted) = Arc::into_inner(wanted) {
        wanted.end(shared, tried);
    }
}

/// Answers those whose time is up.
fn end_late(shared: &NetShared) {
    let _trying = shared.parking.trying.lock();
    let now = Instant::now();
    let late: Vec<(u64, Arc<WantedConnection>)> = shared
        .parking
        .parked
        .lock()
        .waiting
        .iter()
        .filter(|(_, wanted)| wanted.until().is_some_and(|until| until <= now))
        .map(|(number, wanted)| (*number, Arc::clone(wanted)))
        .collect();
    for (number, wanted) in late {
        shared.parking.remove(number);
        end(shared, wanted, Tried::Failed(libc::EAGAIN));
    }
}
