//! Instances of a component: one answers one call at a time, and those that are free wait for the next.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::{Engine, Store};

use crate::bindings::{CallsAdapter, CallsAdapterPre};
use crate::engine::{self, IDLE_MAX};
use crate::host::Host;
use crate::turns;
use call::Places;

/// Most free instances of a component: as many as calls run at once on a large machine's processors.
const FREE_MAX: usize = 16;

/// How many calls an instance answers: what a guest leaks goes with it.
const CALLS_MAX: u32 = 100_000;

/// Leave for each instance that waits for one.
static IDLE: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(IDLE_MAX)));

/// A running instance.
pub(crate) struct Instance<E = CallsAdapter> {
    pub(crate) store: Store<Host>,
    pub(crate) exports: E,
    calls: u32,
    /// While it is free; given back after the store's memory.
    place: Option<OwnedSemaphorePermit>,
}

/// A component of one of the contract's worlds, of which instances can be made.
pub(crate) trait Linked: Send + Sync {
    /// What an instance exports.
    type Exports: Send;

    fn engine(&self) -> &Engine;

    fn instantiate(
        &self,
        store: &mut Store<Host>,
    ) -> impl Future<Output = wasmtime::Result<Self::Exports>> + Send;
}

impl Linked for CallsAdapterPre<Host> {
    type Exports = CallsAdapter;

    fn engine(&self) -> &Engine {
        self.engine()
    }

    async fn instantiate(&self, store: &mut Store<Host>) -> wasmtime::Result<CallsAdapter> {
        self.instantiate_async(store).await
    }
}

/// The instances of a component.
pub(crate) struct Pool<L: Linked = CallsAdapterPre<Host>> {
    name: String,
    linked: L,
    memory_bytes: usize,
    free: Mutex<Vec<Instance<L::Exports>>>,
    /// The last call that ended broke: the next ones compute aside, so that what breaks or loops again and again costs nobody else.
    pub(crate) suspect: AtomicBool,
}

impl<L: Linked> Pool<L> {
    pub(crate) fn new(name: &str, linked: L, memory_bytes: usize) -> Self {
        Self {
            name: name.to_owned(),
            linked,
            memory_bytes,
            free: Mutex::default(),
            suspect: AtomicBool::new(false),
        }
    }

    fn free(&self) -> parking_lot::MutexGuard<'_, Vec<Instance<L::Exports>>> {
        self.free.lock()
    }

    /// An instance that is free, or a new one; whoever asks has a place for it.
    pub(crate) async fn take(&self, _: &Places) -> wasmtime::Result<Instance<L::Exports>> {
        let free = self.free().pop();
        match free {
            Some(mut instance) => {
                instance.place = None;
                Ok(instance)
            }
            None => self.make().await,
        }
    }

    async fn make(&self) -> wasmtime::Result<Instance<L::Exports>> {
        let host = Host::new(&self.name, self.memory_bytes);
        let turn = host.turn.clone();
        let mut store = Store::new(self.linked.engine(), host);
        store.limiter(|host| host.limits());
        turns::take_turns(&mut store, turn.clone());
        turns::begin(&mut store);
        let exports = self.linked.instantiate(&mut store).await?;
        turn.end();
        Ok(Instance {
            store,
            exports,
            calls: 0,
            place: None,
        })
    }

    /// Takes an instance back that is sound.
    pub(crate) fn give_back(&self, mut instance: Instance<L::Exports>) {
        self.suspect.store(false, Ordering::Relaxed);
        instance.calls += 1;
        // One that has leaked until little is left would fail a call soon.
        let is_large = instance.store.data_mut().limits().largest_bytes > self.memory_bytes / 4 * 3;
        if instance.calls >= CALLS_MAX || is_large {
            return;
        }
        let Ok(place) = IDLE.clone().try_acquire_owned() else {
            return;
        };
        instance.place = Some(place);
        let mut free = self.free();
        if free.len() < FREE_MAX {
            free.push(instance);
        }
    }

    /// A component runs until what is returned is dropped.
    pub(crate) fn enter(&self) -> wasmtime::Result<engine::Active> {
        match engine::running() {
            Ok(running) => Ok(running.enter()),
            Err(error) => Err(wasmtime::Error::msg(error.to_string())),
        }
    }
}
