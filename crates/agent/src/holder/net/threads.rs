//! The net's threads: receivers grow while none is idle and shrink again; one thread for the accepts that wait.

use super::{NetShared, calls, parking};
use interpose::net::alarm::{self, Alarm};
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Receivers that are always there.
const RECEIVERS_MIN: usize = 2;

/// How many there are at most: so many slow connects at once hold up nobody.
const RECEIVERS_MAX: usize = 64;

/// How many may be idle before one that has nothing to do ends.
const IDLE_MAX: usize = 6;

/// Their work is a few system calls deep.
const STACK_BYTES: usize = 256 * 1024;

/// How long the threads of a net may take to end, and how often they are told.
const END_LIMIT: Duration = Duration::from_secs(10);
const END_TICK: Duration = Duration::from_millis(2);

/// The threads that run.
#[derive(Debug, Default)]
pub(super) struct Threads {
    running: Mutex<BTreeSet<i32>>,
    receivers: std::sync::atomic::AtomicUsize,
}

pub(super) fn start(shared: &Arc<NetShared>) -> io::Result<()> {
    spawn(shared, "net-parking", parking::serve)?;
    for _ in 0..RECEIVERS_MIN {
        spawn_receiver(shared)?;
    }
    Ok(())
}

/// Tells all threads to end, without waiting for them.
pub(super) fn end(shared: &Arc<NetShared>) {
    let shared = Arc::clone(shared);
    let ending = std::thread::Builder::new().name("net-end".to_owned());
    let begun = ending.stack_size(STACK_BYTES).spawn(move || {
        let until = Instant::now() + END_LIMIT;
        while Instant::now() < until {
            shared.parking.wake();
            let running = shared.threads.running.lock().clone();
            if running.is_empty() {
                return;
            }
            running.into_iter().for_each(alarm::interrupt);
            std::thread::sleep(END_TICK);
        }
    });
    if let Err(error) = begun {
        tracing::warn!(%error, "threads of an ended net are left");
    }
}

fn spawn_receiver(shared: &Arc<NetShared>) -> io::Result<()> {
    shared.threads.receivers.fetch_add(1, Ordering::AcqRel);
    // Counted as idle before it runs, so that a burst does not start one for each of its calls.
    shared.idle.fetch_add(1, Ordering::AcqRel);
    spawn(shared, "net", receive).inspect_err(|_| {
        shared.idle.fetch_sub(1, Ordering::AcqRel);
        shared.threads.receivers.fetch_sub(1, Ordering::AcqRel);
    })
}

fn spawn(shared: &Arc<NetShared>, name: &str, work: fn(&Arc<NetShared>, &Alarm)) -> io::Result<()> {
    let shared = Arc::clone(shared);
    std::thread::Builder::new()
        .name(name.to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || {
            let own = alarm::thread();
            shared.threads.running.lock().insert(own);
            match Alarm::new() {
                Ok(alarm) => work(&shared, &alarm),
                Err(error) => tracing::error!(error, "a thread of the net has no timer"),
            }
            shared.threads.running.lock().remove(&own);
        })
        .map(|_| ())
}

fn receive(shared: &Arc<NetShared>, alarm: &Alarm) {
    loop {
        let received = shared.notices.receive();
        let idle = shared.idle.fetch_sub(1, Ordering::AcqRel) - 1;
        match received {
            Ok(notice) => {
                if idle == 0 {
                    grow(shared);
                }
                calls::serve(shared, &notice, alarm);
            }
            Err(libc::EINTR) if !shared.has_ended() => {}
            Err(_) if shared.has_ended() || is_deserted(shared) => break,
            Err(_) => {}
        }
        if idle >= IDLE_MAX && shrinks(shared) {
            return;
        }
        shared.idle.fetch_add(1, Ordering::AcqRel);
    }
    shared.threads.receivers.fetch_sub(1, Ordering::AcqRel);
}

fn grow(shared: &Arc<NetShared>) {
    if shared.threads.receivers.load(Ordering::Acquire) < RECEIVERS_MAX
        && let Err(error) = spawn_receiver(shared)
    {
        tracing::warn!(%error, "no more threads for the net");
    }
}

/// One receiver too many ends.
fn shrinks(shared: &NetShared) -> bool {
    let receivers = &shared.threads.receivers;
    let fewer = |count: usize| (count > RECEIVERS_MIN).then(|| count - 1);
    receivers
        .fetch_update(Ordering::AcqRel, Ordering::Acquire, fewer)
        .is_ok()
}

/// Whether nobody is left whose calls could come.
fn is_deserted(shared: &NetShared) -> bool {
    let mut watched = [PollFd::from_borrowed_fd(
        shared.notices.as_fd(),
        PollFlags::IN,
    )];
    let at_once = Timespec::default();
    poll(&mut watched, Some(&at_once)).is_ok() && watched[0].revents().contains(PollFlags::HUP)
}
