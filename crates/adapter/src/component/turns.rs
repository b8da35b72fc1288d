//! Turns: components that compute for long take turns, so that the others, and the node, stay quick.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::{Store, UpdateDeadline};

/// How many ticks of the clock a component may compute at a stretch: most calls need less.
const STRETCH_TICKS: u64 = 2;

/// Who may go on: half of the processors, so that what is quick always finds one.
static LONG: LazyLock<Arc<Semaphore>> = LazyLock::new(|| {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    Arc::new(Semaphore::new((processors / 2).max(1)))
});

/// The turn that an instance has, if it has one.
#[derive(Clone, Default)]
pub(super) struct Turn(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl Turn {
    /// Lets others have it.
    pub(super) fn end(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Waits for a turn.
    pub(super) async fn wait(self) {
        // Never closed.
        if let Ok(permit) = LONG.clone().acquire_owned().await {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(permit);
        }
    }
}

/// A call begins to compute.
pub(super) fn begin<T: 'static>(store: &mut Store<T>) {
    store.set_epoch_deadline(STRETCH_TICKS);
}

/// Makes what runs in a store take turns.
pub(super) fn take_turns<T: 'static>(store: &mut Store<T>, turn: Turn) {
    store.epoch_deadline_callback(move |_| {
        turn.end();
        let next = Box::pin(turn.clone().wait());
        Ok(UpdateDeadline::YieldCustom(STRETCH_TICKS, next))
    });
}
