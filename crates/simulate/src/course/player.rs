//! An actor in the middle of a course.

use model::ids::Version;
use model::schedule::WaitReason;

/// What an actor does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PlayerState {
    /// It is not ready to ask.
    Stages,
    /// It asks, and waits.
    Waits,
    /// It is unavailable.
    Away,
    /// It is where it wants to be, or will never ask.
    Rests,
}

/// An actor in the middle of a course.
#[derive(Clone, Debug)]
pub(super) struct Player {
    pub(super) state: PlayerState,
    /// The versions that it has before it, in order.
    pub(super) ahead: Vec<Version>,
    /// Those among them whose upgrade changes what it runs.
    pub(super) restarts: Vec<Version>,
    /// Where it is on its way to, and since when.
    pub(super) leaves: Option<(Version, u64)>,
    /// When it asks next.
    pub(super) asks_ms: Option<u64>,
    /// What it was told last.
    pub(super) waits: Option<ToldWait>,
    /// The latest moment before which it was told that it cannot begin.
    pub(super) promised_ms: u64,
}

/// What a node was told that may not begin.
#[derive(Clone, Debug)]
pub(super) struct ToldWait {
    pub(super) since_ms: u64,
    pub(super) to: Version,
    pub(super) reasons: Vec<WaitReason>,
}

impl Player {
    pub(super) fn of(ahead: Vec<Version>, restarts: Vec<Version>) -> Self {
        Self {
            state: PlayerState::Rests,
            ahead,
            restarts,
            leaves: None,
            asks_ms: None,
            waits: None,
            promised_ms: 0,
        }
    }

    /// Whether this is when it asks next: it may have been told another time since.
    pub(super) fn asks_at(&mut self, at_ms: u64) -> bool {
        let is_next = self.state == PlayerState::Waits && self.asks_ms == Some(at_ms);
        if is_next {
            self.asks_ms = None;
        }
        is_next
    }
}
