//! What is to come, in order of time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Something that happens at a moment, by the number of the actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum CourseEvent {
    /// It has staged.
    Stages(usize),
    /// It has settled.
    Settles(usize),
    /// It asks whether it may go.
    Asks(usize),
}

/// What is to come.
#[derive(Clone, Debug, Default)]
pub(super) struct Upcoming(BinaryHeap<Reverse<(u64, CourseEvent)>>);

impl Upcoming {
    pub(super) fn at(&mut self, at_ms: u64, event: CourseEvent) {
        self.0.push(Reverse((at_ms, event)));
    }

    pub(super) fn next(&mut self) -> Option<(u64, CourseEvent)> {
        self.0.pop().map(|Reverse(next)| next)
    }
}
