//! What was done for an answer that its caller did not take, because a signal came between.

use super::calls::NetOutcome;
use interpose::accept::Delivered;
use parking_lot::{Condvar, Mutex};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// How many connects are remembered; a thread has at most one.
const REPEATS_MAX: usize = 4096;

/// How long a call that is repeated waits for what is still done for its first try.
const FIRST_TRY_LIMIT: Duration = Duration::from_secs(3);

/// How many accepted connections wait for the next accept at a listener.
const LEFT_OVER_MAX: usize = 1024;

/// Connects that were begun, by their threads. The kernel restarts an interrupted connect; bare, that finds its own beginning
/// untouched, while ours has a socket that connects already: it gets the first try's answer.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    begun: Mutex<BTreeMap<i32, BegunCall>>,
    answered: Condvar,
}

#[derive(Debug)]
struct BegunCall {
    /// The socket's cookie.
    socket: u64,
    /// The answer that was not taken; `None` while it is being found.
    answer: Option<NetOutcome>,
}

impl Repeats {
    /// The answer to a try of this thread's for this socket that was not taken. Else a first try begins.
    pub(super) fn begin(&self, thread: i32, socket: u64) -> Option<NetOutcome> {
        let mut begun = self.begun.lock();
        loop {
            let known = begun.get(&thread).filter(|first| first.socket == socket);
            let Some(first) = known else { break };
            if let Some(answer) = first.answer {
                begun.remove(&thread);
                return Some(answer);
            }
            let limit = self.answered.wait_for(&mut begun, FIRST_TRY_LIMIT);
            if limit.timed_out() {
                break;
            }
        }
        if begun.len() >= REPEATS_MAX {
            begun.retain(|_, first| first.answer.is_none());
        }
        begun.insert(
            thread,
            BegunCall {
                socket,
                answer: None,
            },
        );
        None
    }

    /// The try has ended so, and its answer was taken or not.
    pub(super) fn end(&self, thread: i32, socket: u64, answer: NetOutcome, taken: bool) {
        let mut begun = self.begun.lock();
        if !taken {
            let answer = Some(answer);
            begun.insert(thread, BegunCall { socket, answer });
        } else if begun
            .get(&thread)
            .is_some_and(|first| first.socket == socket)
        {
            begun.remove(&thread);
        }
        self.answered.notify_all();
    }
}

/// Accepted connections that could not be given to whoever asked, by their listeners' cookies.
#[derive(Debug, Default)]
pub(super) struct LeftOver {
    waiting: Mutex<BTreeMap<u64, VecDeque<Delivered>>>,
}

impl LeftOver {
    /// Keeps a connection for the next accept at this listener; past the limit the new one is closed.
    pub(super) fn keep(&self, listener: u64, connection: Delivered) {
        let mut waiting = self.waiting.lock();
        let queue = waiting.entry(listener).or_default();
        if queue.len() < LEFT_OVER_MAX {
            queue.push_back(connection);
        }
    }

    /// The one that has waited longest at this listener.
    pub(super) fn take(&self, listener: u64) -> Option<Delivered> {
        let mut waiting = self.waiting.lock();
        let queue = waiting.get_mut(&listener)?;
        let first = queue.pop_front();
        if queue.is_empty() {
            waiting.remove(&listener);
        }
        first
    }

    pub(super) fn clear(&self) {
        self.waiting.lock().clear();
    }
}
