//! Turns: components that compute for long take turns, so that the others, and the node, stay quick. Those that have broken before
//! compute aside, on threads of their own that get what nobody else wants.

use parking_lot::Mutex;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};

use rustix::process::setpriority_process;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use wasmtime::{Store, UpdateDeadline};

/// How many ticks of the clock a component may compute at a stretch: most calls need less.
const STRETCH_TICKS: u64 = 2;

/// The lowest priority of a thread (setpriority(2)).
const LOWEST: i32 = 19;

/// Who may go on: half of the processors, so that what is quick always finds one.
static LONG: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(half())));

/// Where suspects compute; none where no thread can be had.
static ASIDE: LazyLock<Option<Runtime>> = LazyLock::new(|| {
    let built = Builder::new_multi_thread()
        .worker_threads(half())
        .thread_name("upstart-aside")
        .on_thread_start(|| {
            // Where it may not be lowered it takes its share like any other.
            let _ = setpriority_process(None, LOWEST);
        })
        .build();
    built
        .inspect_err(|error| tracing::warn!(%error, "suspect adapters compute among the others"))
        .ok()
});

fn half() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    (processors / 2).max(1)
}

/// The turn that an instance has, if it has one.
#[derive(Clone, Default)]
pub(crate) struct Turn {
    permit: Arc<Mutex<Option<OwnedSemaphorePermit>>>,
    /// It computes aside, and waits for nobody but the others there.
    aside: Arc<AtomicBool>,
}

impl Turn {
    /// Lets others have it.
    pub(crate) fn end(&self) {
        (self.permit.lock()).take();
    }

    /// Waits for a turn.
    async fn wait(self) {
        if self.aside.load(Ordering::Relaxed) {
            return tokio::task::yield_now().await;
        }
        // Never closed.
        if let Ok(permit) = LONG.clone().acquire_owned().await {
            *self.permit.lock() = Some(permit);
        }
    }
}

/// A call begins to compute.
pub(crate) fn begin<T: 'static>(store: &mut Store<T>) {
    store.set_epoch_deadline(STRETCH_TICKS);
}

/// Makes what runs in a store take turns.
pub(crate) fn take_turns<T: 'static>(store: &mut Store<T>, turn: Turn) {
    store.epoch_deadline_callback(move |_| {
        turn.end();
        let next = Box::pin(turn.clone().wait());
        Ok(UpdateDeadline::YieldCustom(STRETCH_TICKS, next))
    });
}

/// What a guest does, here or aside.
pub(crate) enum TurnWork<T> {
    Here(Pin<Box<dyn Future<Output = T> + Send>>),
    Aside(JoinHandle<T>),
}

impl<T: Send + 'static> TurnWork<T> {
    /// Lets a guest compute; aside where it is suspect. Dropped, it ends at the guest's next turn.
    pub(crate) fn begin(
        is_suspect: bool,
        turn: &Turn,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Self {
        let aside = ASIDE.as_ref().filter(|_| is_suspect);
        turn.aside.store(aside.is_some(), Ordering::Relaxed);
        match aside {
            Some(runtime) => Self::Aside(runtime.spawn(work)),
            None => Self::Here(Box::pin(work)),
        }
    }
}

impl<T> Future for TurnWork<T> {
    /// None where the guest's task is gone: the process ends, or the task has panicked.
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        match &mut *self {
            Self::Here(work) => work.as_mut().poll(cx).map(Some),
            Self::Aside(task) => Pin::new(task).poll(cx).map(Result::ok),
        }
    }
}

impl<T> Drop for TurnWork<T> {
    fn drop(&mut self) {
        if let Self::Aside(task) = self {
            task.abort();
        }
    }
}
