//! The engine that runs all components of the process, and the clock that interrupts them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread::Thread;
use std::time::Duration;

use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::ComponentError;
use call::RUNNING_MAX;

/// How often the epoch goes up: the shortest time for which a component runs before others get their turn.
const TICK: Duration = Duration::from_micros(500);

/// How many ticks without a running component until the clock stops: starting it for every call would cost more.
const IDLE_TICKS: u32 = 200;

/// How deep a component's own calls may go, in bytes of stack.
const WASM_STACK_BYTES: usize = 512 * 1024;

/// The stack that a call runs on: the component's and, at its end, the host's.
const FIBER_STACK_BYTES: usize = 1024 * 1024;

/// Most instances that wait for calls, over all adapters of the process.
pub(crate) const IDLE_MAX: usize = 256;

/// All of them; each has some address space set aside.
const INSTANCES_MAX: usize = RUNNING_MAX + IDLE_MAX;

/// Most linear memories of one component: those of languages with a runtime of their own have two or three.
pub(crate) const MEMORIES_PER_COMPONENT_MAX: u32 = 4;

/// Most core instances and tables of one component: Python's have some dozens.
const PARTS_PER_COMPONENT_MAX: u32 = 64;

/// Largest memory that an adapter may be given, in bytes: what one linear memory can be.
pub(crate) const MEMORY_BYTES_MAX: usize = 4 << 30;

/// Most entries of a table: function pointers of large programs.
const TABLE_ELEMENTS_MAX: usize = 100_000;

/// What must be equal where a component is compiled and where it runs.
fn common() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .max_wasm_stack(WASM_STACK_BYTES)
        .async_stack_size(FIBER_STACK_BYTES);
    config
}

/// An engine that only compiles: it sets no address space aside.
pub(crate) fn compiling() -> Result<Engine, ComponentError> {
    Engine::new(&common()).map_err(|error| ComponentError::Engine(format!("{error:#}")))
}

fn pooled() -> Config {
    let instances = u32::try_from(INSTANCES_MAX).unwrap_or(u32::MAX);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances * PARTS_PER_COMPONENT_MAX)
        .total_memories(instances * MEMORIES_PER_COMPONENT_MAX)
        .total_tables(instances * PARTS_PER_COMPONENT_MAX)
        .total_stacks(instances)
        .max_core_instances_per_component(PARTS_PER_COMPONENT_MAX)
        .max_memories_per_component(MEMORIES_PER_COMPONENT_MAX)
        .max_tables_per_component(PARTS_PER_COMPONENT_MAX)
        .table_elements(TABLE_ELEMENTS_MAX)
        .max_memory_size(MEMORY_BYTES_MAX);
    let mut config = common();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

/// The engine and its clock.
pub(crate) struct Running {
    pub(crate) engine: Engine,
    clock: Arc<EngineClock>,
}

struct EngineClock {
    /// Components that run now.
    running: AtomicUsize,
    stopped: AtomicBool,
    thread: std::sync::OnceLock<Thread>,
}

/// A component runs until this is dropped.
pub(crate) struct Active(Arc<EngineClock>);

impl Drop for Active {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

static RUNNING: LazyLock<Result<Running, String>> = LazyLock::new(Running::start);

/// The engine of this process.
pub(crate) fn running() -> Result<&'static Running, ComponentError> {
    RUNNING
        .as_ref()
        .map_err(|why| ComponentError::Engine(why.clone()))
}

impl Running {
    fn start() -> Result<Self, String> {
        // Where so much address space is not to be had (`ulimit -v`), instances are made without a pool.
        let engine = Engine::new(&pooled())
            .or_else(|error| {
                tracing::warn!(%error, "no room for a pool of instances: they are made one by one");
                Engine::new(&common())
            })
            .map_err(|error| format!("{error:#}"))?;
        let clock = Arc::new(EngineClock {
            running: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
            thread: std::sync::OnceLock::new(),
        });
        let (ticking, ticked) = (clock.clone(), engine.clone());
        let thread = std::thread::Builder::new()
            .name("adapter-clock".to_owned())
            .spawn(move || ticking.tick(&ticked))
            .map_err(|error| format!("no thread for the clock: {error}"))?;
        // Nothing else sets it.
        let _ = clock.thread.set(thread.thread().clone());
        Ok(Self { engine, clock })
    }

    /// Says that a component runs now.
    pub(crate) fn enter(&self) -> Active {
        self.clock.running.fetch_add(1, Ordering::SeqCst);
        if self.clock.stopped.swap(false, Ordering::SeqCst)
            && let Some(thread) = self.clock.thread.get()
        {
            thread.unpark();
        }
        Active(self.clock.clone())
    }
}

impl EngineClock {
    fn tick(&self, engine: &Engine) {
        let mut idle = 0;
        loop {
            std::thread::sleep(TICK);
            engine.increment_epoch();
            if self.running.load(Ordering::SeqCst) > 0 {
                idle = 0;
                continue;
            }
            idle += 1;
            if idle > IDLE_TICKS {
                idle = 0;
                self.stopped.store(true, Ordering::SeqCst);
                // Looked at again: one that began before the line above does not know that it must wake the clock.
                while self.stopped.load(Ordering::SeqCst)
                    && self.running.load(Ordering::SeqCst) == 0
                {
                    std::thread::park();
                }
                self.stopped.store(false, Ordering::SeqCst);
            }
        }
    }
}
