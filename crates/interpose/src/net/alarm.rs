//! An alarm for one thread: a call that might wait for ever, because somebody else was faster, ends with EINTR instead.
//!
//! The signal is one that is ignored until its handler is there, and whose handler does nothing: the interruption is all.

use crate::kernel::{Errno, call};
use libc::{c_int, itimerspec, sigevent, timespec};
use std::mem::zeroed;

/// Nobody but us sends it to the holder's threads, and by default it is ignored.
const SIGNAL: c_int = libc::SIGURG;

/// How long a call may wait: what it waits for is there as a rule, and then it waits not at all.
const PATIENCE_NS: i64 = 5_000_000;

/// The calling thread's alarm.
#[derive(Debug)]
pub struct Alarm {
    timer: c_int,
}

/// Makes the signal interrupt calls of this process's threads.
///
/// # Errors
/// What the kernel says.
pub fn prepare() -> Result<(), Errno> {
    extern "C" fn nothing(_: c_int) {}
    // SAFETY: a structure for which zero is valid: no flags, so that calls are not restarted, and no mask.
    let mut action: libc::sigaction = unsafe { zeroed() };
    action.sa_sigaction = nothing as extern "C" fn(c_int) as usize;
    // SAFETY: the handler does nothing.
    if unsafe { libc::sigaction(SIGNAL, &raw const action, std::ptr::null_mut()) } == 0 {
        Ok(())
    } else {
        Err(crate::kernel::errno())
    }
}

/// The number of the calling thread.
pub fn thread() -> c_int {
    // SAFETY: no pointers.
    unsafe { libc::gettid() }
}

/// Interrupts a thread of this process.
pub fn interrupt(thread: c_int) {
    let arguments = [
        std::process::id() as usize,
        thread as usize,
        SIGNAL as usize,
        0,
        0,
        0,
    ];
    // SAFETY: no pointers. A thread that has ended is no concern.
    let _ = unsafe { call(libc::SYS_tgkill, arguments) };
}

impl Alarm {
    /// The calling thread's.
    ///
    /// # Errors
    /// When the kernel has no timer left.
    pub fn new() -> Result<Self, Errno> {
        // SAFETY: a structure for which zero is valid.
        let mut event: sigevent = unsafe { zeroed() };
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = SIGNAL;
        event.sigev_notify_thread_id = thread();
        let mut timer: c_int = 0;
        let arguments = [
            libc::CLOCK_MONOTONIC as usize,
            &raw mut event as usize,
            &raw mut timer as usize,
            0,
            0,
            0,
        ];
        // SAFETY: the kernel reads the event and writes its number of the timer.
        unsafe { call(libc::SYS_timer_create, arguments) }?;
        Ok(Self { timer })
    }

    /// Runs what may wait; the alarm goes off again and again, since the first may come before the wait has begun.
    pub fn during<T>(&self, what: impl FnOnce() -> T) -> T {
        self.set(PATIENCE_NS);
        let result = what();
        self.set(0);
        result
    }

    fn set(&self, every_ns: i64) {
        let every = timespec {
            tv_sec: 0,
            tv_nsec: every_ns,
        };
        let times = itimerspec {
            it_interval: every,
            it_value: every,
        };
        let arguments = [self.timer as usize, 0, &raw const times as usize, 0, 0, 0];
        // SAFETY: the kernel reads one structure.
        let _ = unsafe { call(libc::SYS_timer_settime, arguments) };
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        // SAFETY: a timer of ours.
        let _ = unsafe { call(libc::SYS_timer_delete, [self.timer as usize, 0, 0, 0, 0, 0]) };
    }
}
