//! Places: leave for the instances of adapters that run while a call passes.

use std::sync::{Arc, LazyLock};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Most instances that answer calls at once, over all adapters of the process.
pub const RUNNING_MAX: usize = 256;

/// Leave for each instance that answers a call.
static RUNNING: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(RUNNING_MAX)));

/// Leave for all instances that a call may take on its way to the software: given at once, since calls that ask for more while they
/// hold some could wait for each other for ever. A call brings it along, and all that is delegated for it.
#[derive(Clone, Debug)]
pub struct Places {
    /// None where nobody counts any more.
    _all: Option<Arc<OwnedSemaphorePermit>>,
}

impl Places {
    /// Waits until so many instances may run.
    pub async fn take(count: usize) -> Self {
        let count = u32::try_from(count.min(RUNNING_MAX)).unwrap_or(u32::MAX);
        // It fails where the semaphore is closed, which nobody does.
        let all = RUNNING.clone().acquire_many_owned(count).await.ok();
        Self {
            _all: all.map(Arc::new),
        }
    }
}
