//! The threads that serve connections. A connection stays on one of them with all that its calls need, so that no call
//! is passed between threads.

use parking_lot::Mutex;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// Threads, each with a runtime of its own.
pub(crate) struct Workers {
    workers: Vec<Worker>,
    running: Mutex<Vec<WorkerThread>>,
}

/// What work is given to.
struct Worker {
    runtime: Handle,
    /// Tasks that have not ended.
    load: Arc<AtomicUsize>,
}

/// What ends a worker.
struct WorkerThread {
    end: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Workers {
    /// Starts so many threads.
    ///
    /// # Errors
    /// When the system gives no thread, or no event queue for it.
    pub(crate) fn start(threads: NonZeroUsize) -> io::Result<Self> {
        let mut workers = Vec::new();
        let mut running = Vec::new();
        for number in 0..threads.get() {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            workers.push(Worker {
                runtime: runtime.handle().clone(),
                load: Arc::default(),
            });
            let (end, ended) = oneshot::channel();
            let thread = std::thread::Builder::new()
                .name(format!("calls-{number}"))
                .spawn(move || {
                    // An answer or the sender's end: both mean that it is over. What still runs is dropped with the runtime.
                    let _ = runtime.block_on(ended);
                })?;
            running.push(WorkerThread { end, thread });
        }
        Ok(Self {
            workers,
            running: Mutex::new(running),
        })
    }

    /// Runs a task on the thread that has the fewest.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let least = self
            .workers
            .iter()
            .min_by_key(|worker| worker.load.load(Ordering::Relaxed));
        let Some(worker) = least else { return };
        let counted = CountedTask::one_more(&worker.load);
        worker.runtime.spawn(async move {
            let _counted = counted;
            task.await;
        });
    }

    /// Ends the threads and drops what runs on them: connections are reset, as by the death of the process.
    pub(crate) fn end(&self) {
        let running = {
            let mut running = self.running.lock();
            std::mem::take(&mut *running)
        };
        for WorkerThread { end, thread } in running {
            // It may have ended by a panic.
            let _ = end.send(());
            let _ = thread.join();
        }
    }
}

/// A task, counted until it is dropped.
struct CountedTask(Arc<AtomicUsize>);

impl CountedTask {
    fn one_more(load: &Arc<AtomicUsize>) -> Self {
        load.fetch_add(1, Ordering::Relaxed);
        Self(load.clone())
    }
}

impl Drop for CountedTask {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::sync::mpsc;

    #[test]
    fn tasks_are_spread_and_dropped_at_the_end() {
        let two = NonZeroUsize::new(2).expect("two");
        let workers = Workers::start(two).expect("threads");
        let (say, said) = mpsc::channel();
        for _ in 0..4 {
            let say = say.clone();
            workers.spawn(async move {
                say.send(std::thread::current().id()).expect("heard");
                std::future::pending::<()>().await;
            });
        }
        drop(say);
        let threads: Vec<_> = said.iter().take(4).collect();
        let different: BTreeSet<String> = threads.iter().map(|id| format!("{id:?}")).collect();
        assert_eq!(different.len(), 2, "{threads:?}");
        workers.end();
        // Every sender was dropped with its task.
        assert!(said.recv().is_err());
    }
}
