//! The net under the software: calls that did not go through the library are shown by the kernel, and done here by the same code.
//!
//! Static programs, Go, other C libraries, emptied environments and set-uid programs are intercepted so. It has threads of its own,
//! beside the holder's loop: *receivers* take the calls, as many as are needed, so that a slow one holds up nobody; one more
//! (*parking*) keeps the accepts that wait. A call is done on a duplicate of the software's socket with a copy of its address, so that
//! the software cannot change what was decided on, or the kernel is told to go on with it.
//!
//! A signal ends the waiting for an answer, and the call begins anew or fails with EINTR, as it would without us: so what was done
//! for an answer that nobody took is remembered for the next try ([`repeats`]).

mod accepting;
mod calls;
mod parking;
mod repeats;
mod threads;

use interpose::net::alarm;
use interpose::net::notice::Notices;
use interpose::state;
use parking::Parking;
use parking_lot::Mutex;
use repeats::{LeftOver, Repeats};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use threads::Threads;

/// Processes that are remembered to have called themselves while they were being stopped.
const WAKERS_MAX: usize = 256;

/// The net under one child. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Net {
    shared: Arc<NetShared>,
}

/// What the threads have in common.
#[derive(Debug)]
struct NetShared {
    notices: Notices,
    parking: Parking,
    repeats: Repeats,
    left_over: LeftOver,
    threads: Threads,
    /// Processes that connect to a port of their own to wake an accept, as some do to end: their listeners must work on.
    wakers: Mutex<BTreeSet<i32>>,
    /// How many threads wait for a call.
    idle: AtomicUsize,
    ended: AtomicBool,
    told_blind: AtomicBool,
}

impl Net {
    /// Serves the calls that come from this descriptor.
    ///
    /// # Errors
    /// When there are no descriptors or threads left.
    pub(super) fn start(notices: OwnedFd) -> io::Result<Self> {
        alarm::prepare().map_err(io::Error::from_raw_os_error)?;
        let shared = Arc::new(NetShared {
            notices: Notices::new(notices),
            parking: Parking::new()?,
            repeats: Repeats::default(),
            left_over: LeftOver::default(),
            threads: Threads::default(),
            wakers: Mutex::default(),
            idle: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
            told_blind: AtomicBool::new(false),
        });
        let net = Self { shared };
        threads::start(&net.shared)?;
        Ok(net)
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        // Who waits at a listener keeps it open: nothing of this child may be in the next one's way.
        self.shared.parking.clear();
        self.shared.left_over.clear();
        threads::end(&self.shared);
    }
}

impl NetShared {
    /// Notes that this process wakes its own accept.
    fn note_waker(&self, process: i32) {
        let mut wakers = self.wakers.lock();
        if wakers.len() < WAKERS_MAX {
            wakers.insert(process);
        }
    }

    fn is_waker(&self, process: i32) -> bool {
        self.wakers.lock().contains(&process)
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    fn note_blind(&self, thread: i32, error: i32) {
        state::count(intercept::stats::Counter::NetBlind);
        if !self.told_blind.swap(true, Ordering::Relaxed) {
            let error = io::Error::from_raw_os_error(error);
            tracing::warn!(thread, %error, "calls of a process pass unseen: it must not be looked into");
        }
    }
}

/// Learns the files of the node, as its software is told them. False when the net cannot go by them: it lets everything through.
pub(super) fn learn_files(environment: &BTreeMap<String, String>) -> bool {
    use intercept::environment::{HOLDER, STATS, TABLE};
    let path = |name| {
        let text = environment.get(name).cloned().unwrap_or_default();
        CString::new(text).unwrap_or_default()
    };
    let holder = environment.get(HOLDER).map_or("", String::as_str);
    state::open(&path(TABLE), &path(STATS), holder.as_bytes())
}
