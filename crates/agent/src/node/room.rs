//! Room on the node's disk. An upgrade for which there is none is not begun: stopping the software only to find the disk
//! full would cost its callers something at every try.

use super::Node;
use crate::error_chain::chain;
use crate::snapshot::{self, Declared};
use crate::unpoisoned::Unpoisoned as _;
use model::machine::Place;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long a look at the state holds: walking a large tree takes seconds.
const FOUND_HOLDS: Duration = Duration::from_secs(30);

/// The same where there was no room: whoever frees some should not wait long.
const FULL_HOLDS: Duration = Duration::from_secs(3);

/// How much more must be free than when an upgrade ran out of room, before it is tried again.
const MORE_BYTES: u64 = 8 << 20;

/// After this it is tried again all the same: the state may have shrunk, which frees nothing elsewhere.
const TRIED_AGAIN_AFTER: Duration = Duration::from_secs(600);

/// What is known of the room.
#[derive(Debug, Default)]
pub(super) struct Room {
    ran_out: Mutex<Option<RanOut>>,
    looked: Mutex<Option<Looked>>,
    journal: Mutex<Option<String>>,
}

/// An upgrade that ran out of room on its way.
#[derive(Clone, Debug)]
struct RanOut {
    to: Place,
    available: u64,
    reason: String,
    at: Instant,
}

/// A look at the state that would be copied.
#[derive(Clone, Debug)]
struct Looked {
    to: Place,
    problem: Option<String>,
    at: Instant,
}

impl Node {
    /// Notes that an upgrade ran out of room, after what it had made was removed.
    pub(super) fn ran_out_of_room(&self, to: Place, reason: &str) {
        let note = RanOut {
            to,
            available: snapshot::available(self.layout.root()).unwrap_or(0),
            reason: reason.to_owned(),
            at: Instant::now(),
        };
        *lock(&self.room.ran_out) = Some(note);
    }

    /// Notes whether the journal has room for an upgrade.
    pub(super) fn note_journal_room(&self, problem: Option<String>) {
        *lock(&self.room.journal) = problem;
    }

    /// What of the state no copy can have as it is, and the version that it is copied for declares.
    pub(super) fn declared(&self, to: Place) -> Declared {
        let provided_by = (self.catalog().class_at(to.version)).map(|class| class.provided_by);
        let mut staged = self.staged_places().into_iter().rev();
        let bundle = match provided_by {
            Some(version) if version != to.version => staged.find(|place| place.version == version),
            _ => Some(to),
        };
        let definition = self.definition(bundle.unwrap_or(to));
        let state = definition
            .map(|class| class.state.clone())
            .unwrap_or_default();
        Declared {
            shared: state.shared.iter().map(PathBuf::from).collect(),
            set_user_id: state.set_user_id,
            seen_at: Some(self.layout.current()),
        }
    }

    /// Why an upgrade to `to` would run out of room, or its copy of the state be none; `None` where nothing says so.
    pub(super) async fn lacks_room(&self, to: Place) -> Option<String> {
        if let Some(problem) = lock(&self.room.journal).clone() {
            return Some(problem);
        }
        if let Some(problem) = self.ran_out_before(to) {
            return Some(problem);
        }
        if let Some(looked) = lock(&self.room.looked).clone()
            && looked.to == to
            && looked.at.elapsed() < looked.problem.as_ref().map_or(FOUND_HOLDS, |_| FULL_HOLDS)
        {
            return looked.problem;
        }
        let (state, root) = (self.layout.current(), self.layout.root().to_owned());
        let declared = self.declared(to);
        let look = tokio::task::spawn_blocking(move || snapshot::check(&state, &root, &declared));
        // What cannot be looked at now is found out, and told, when it is copied.
        let problem = match look.await {
            Ok(Err(error)) if error.is_no_space() || error.is_unfit() => Some(chain(&error)),
            _ => None,
        };
        *lock(&self.room.looked) = Some(Looked {
            to,
            problem: problem.clone(),
            at: Instant::now(),
        });
        problem
    }

    fn ran_out_before(&self, to: Place) -> Option<String> {
        let mut ran_out = lock(&self.room.ran_out);
        let before = ran_out.clone()?;
        let available = snapshot::available(self.layout.root()).unwrap_or(u64::MAX);
        let worth_a_try = available >= before.available.saturating_add(MORE_BYTES)
            || before.to != to
            || before.at.elapsed() > TRIED_AGAIN_AFTER;
        if worth_a_try {
            *ran_out = None;
            return None;
        }
        Some(before.reason)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unpoisoned()
}
