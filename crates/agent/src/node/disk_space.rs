//! Room on the node's disk. An upgrade for which there is none is not begun: stopping the software only to find the disk
//! full would cost its callers something at every try.

use crate::error_chain::chain;
use crate::layout::Layout;
use crate::snapshot::{self, DeclaredState, FreeRoom, SnapshotError};
use model::machine::Place;
use parking_lot::Mutex;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long a look at the state holds: walking a large tree takes seconds.
const FOUND_HOLDS: Duration = Duration::from_secs(30);

/// The same where there was no room: whoever frees some should not wait long.
const FULL_HOLDS: Duration = Duration::from_secs(3);

/// How much more must be free than when an upgrade ran out of room, before it is tried again.
const MORE_BYTES: u64 = 8 << 20;

/// The same for files, where the file system counts them.
const MORE_FILES: u64 = 64;

/// After this it is tried again all the same: the state may have shrunk, which frees nothing elsewhere.
const TRIED_AGAIN_AFTER: Duration = Duration::from_secs(600);

/// What is known of the room.
#[derive(Debug)]
pub(super) struct DiskSpace {
    root: PathBuf,
    /// The state that would be copied.
    state: PathBuf,
    ran_out: Mutex<Option<RanOut>>,
    looked: Mutex<Option<StateLook>>,
    journal: Mutex<Option<String>>,
}

/// An upgrade that ran out of room on its way.
#[derive(Clone, Debug)]
struct RanOut {
    to: Place,
    free: Option<FreeRoom>,
    reason: String,
    at: Instant,
}

/// A look at the state that would be copied.
#[derive(Clone, Debug)]
struct StateLook {
    to: Place,
    problem: Option<String>,
    at: Instant,
}

impl DiskSpace {
    pub(super) fn of(layout: &Layout) -> Self {
        Self {
            root: layout.root().to_owned(),
            state: layout.current(),
            ran_out: Mutex::default(),
            looked: Mutex::default(),
            journal: Mutex::default(),
        }
    }

    /// Notes that an upgrade ran out of room, after what it had made was removed.
    pub(super) fn note_ran_out(&self, to: Place, reason: &str) {
        let note = RanOut {
            to,
            free: FreeRoom::at(&self.root).ok(),
            reason: reason.to_owned(),
            at: Instant::now(),
        };
        *self.ran_out.lock() = Some(note);
    }

    /// The state is looked at anew the next time: what was found a while ago must not decide whether software is stopped.
    pub(super) fn forget_look(&self) {
        *self.looked.lock() = None;
    }

    /// Notes whether the journal has room for an upgrade.
    pub(super) fn note_journal(&self, problem: Option<String>) {
        *self.journal.lock() = problem;
    }

    /// Why an upgrade to `to` would run out of room, or its copy of the state be none; `None` where nothing says so.
    pub(super) async fn lacking(
        &self,
        to: Place,
        declared: impl FnOnce() -> DeclaredState,
    ) -> Option<String> {
        if let Some(problem) = self.journal.lock().clone() {
            return Some(problem);
        }
        if let Some(problem) = self.ran_out_before(to) {
            return Some(problem);
        }
        if let Some(looked) = self.looked.lock().clone()
            && looked.to == to
            && looked.at.elapsed() < looked.problem.as_ref().map_or(FOUND_HOLDS, |_| FULL_HOLDS)
        {
            return looked.problem;
        }
        let (state, root, declared) = (self.state.clone(), self.root.clone(), declared());
        let look = tokio::task::spawn_blocking(move || snapshot::check(&state, &root, &declared));
        let problem = match look.await {
            Ok(Err(error)) if !error.is_passing() => Some(told(&error)),
            // What the software has just removed is looked for again, and told, when it is copied.
            _ => None,
        };
        *self.looked.lock() = Some(StateLook {
            to,
            problem: problem.clone(),
            at: Instant::now(),
        });
        problem
    }

    fn ran_out_before(&self, to: Place) -> Option<String> {
        let mut ran_out = self.ran_out.lock();
        let before = ran_out.clone()?;
        let worth_a_try = has_more(before.free, FreeRoom::at(&self.root).ok())
            || before.to != to
            || before.at.elapsed() > TRIED_AGAIN_AFTER;
        if worth_a_try {
            *ran_out = None;
            return None;
        }
        Some(before.reason)
    }
}

/// Whether there is more room than when an upgrade ran out of it. What cannot be looked at is tried.
fn has_more(before: Option<FreeRoom>, now: Option<FreeRoom>) -> bool {
    let Some((before, now)) = before.zip(now) else {
        return true;
    };
    let more_files = before.files.zip(now.files);
    now.bytes >= before.bytes.saturating_add(MORE_BYTES)
        || more_files.is_some_and(|(before, now)| now >= before.saturating_add(MORE_FILES))
}

/// A look that failed, and what to do.
fn told(error: &SnapshotError) -> String {
    let cause = chain(error);
    match error {
        SnapshotError::Io { path, .. } => format!(
            "the state cannot be copied: {cause}; put {} right (a missing one: back, or from a backup of the whole data directory), and the upgrade goes on by itself",
            path.display()
        ),
        _ => cause,
    }
}
