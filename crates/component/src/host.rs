//! What a component can reach: its contract's imports, and of WASI what a guest's standard library asks for.

use std::sync::LazyLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, oneshot};
use wasmtime::component::{HasSelf, Linker};
use wasmtime::{ResourceLimiter, StoreLimits, StoreLimitsBuilder};
use wasmtime_wasi::{Deterministic, HostMonotonicClock, HostWallClock, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::bindings::CallsAdapter;
use crate::bindings::upstart::adapter::{clock, log, messages, next, random, state, types, utf8};
use crate::state::{ChangeRefused, StateError, Transaction};
use crate::turns::Turn;

/// Most random bytes at once, as the contract says.
const RANDOM_BYTES_MAX: u32 = 4096;
/// Longest line of a log; the rest is cut.
const LOG_LINE_BYTES_MAX: usize = 1024;
/// Most lines of an instance in a second.
const LOG_LINES_PER_S: u32 = 20;
/// Most things that a guest may hold of WASI (streams, timers).
const RESOURCES_MAX: usize = 256;
/// Most entries of an instance's tables of functions.
const TABLE_ELEMENTS_MAX: usize = 100_000;
/// WASI's randomness: always the same.
const WASI_SEED: u128 = 0x7570_7374_6172_7420_7761_7369_2073_6564;

/// A call that a guest delegates, and where its reply goes.
pub(crate) struct DelegatedCall {
    pub(crate) call: messages::Call,
    pub(crate) reply: oneshot::Sender<Result<messages::Reply, messages::Failure>>,
}

/// What belongs to the call at hand.
pub(crate) struct Context {
    /// Whoever delegates for it; none where nothing can be delegated.
    pub(crate) asks: Option<mpsc::Sender<DelegatedCall>>,
    /// Its view of the state; none where it has none.
    pub(crate) transaction: Option<Transaction>,
}

/// An instance's side of the host.
pub(crate) struct Host {
    wasi: WasiCtx,
    table: ResourceTable,
    limits: Memory,
    pub(crate) turn: Turn,
    pub(crate) context: Option<Context>,
    /// As log lines name the adapter.
    adapter: String,
    log: LogRate,
}

/// The limits of an instance's memory, and whether it ran into them.
pub(crate) struct Memory {
    limits: StoreLimits,
    pub(crate) exceeded: bool,
    /// How large its largest memory is, in bytes.
    pub(crate) largest_bytes: usize,
}

impl ResourceLimiter for Memory {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let grows = self.limits.memory_growing(current, desired, maximum)?;
        self.exceeded |= !grows;
        if grows {
            self.largest_bytes = self.largest_bytes.max(desired);
        }
        Ok(grows)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.limits.table_growing(current, desired, maximum)
    }
}

#[derive(Default)]
struct LogRate {
    second: u64,
    lines: u32,
    left_out: u64,
}

/// WASI's clock stands still: what a guest computes does not depend on it.
struct StandingClock;

impl HostWallClock for StandingClock {
    fn resolution(&self) -> std::time::Duration {
        std::time::Duration::from_secs(1)
    }

    fn now(&self) -> std::time::Duration {
        std::time::Duration::ZERO
    }
}

impl HostMonotonicClock for StandingClock {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        0
    }
}

/// When the first component of this process ran: the beginning of its monotonic time.
static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Host {
    pub(crate) fn new(adapter: &str, memory_bytes: usize) -> Self {
        let mut wasi = WasiCtx::builder();
        wasi.secure_random(Deterministic::new(WASI_SEED.to_le_bytes().to_vec()))
            .insecure_random(Deterministic::new(WASI_SEED.to_le_bytes().to_vec()))
            .insecure_random_seed(WASI_SEED)
            .wall_clock(StandingClock)
            .monotonic_clock(StandingClock)
            .allow_tcp(false)
            .allow_udp(false);
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES_MAX);
        Self {
            wasi: wasi.build(),
            table,
            limits: Memory {
                limits: StoreLimitsBuilder::new()
                    .memory_size(memory_bytes)
                    .table_elements(TABLE_ELEMENTS_MAX)
                    .build(),
                exceeded: false,
                largest_bytes: 0,
            },
            turn: Turn::default(),
            context: None,
            adapter: adapter.to_owned(),
            log: LogRate::default(),
        }
    }

    pub(crate) fn limits(&mut self) -> &mut Memory {
        &mut self.limits
    }

    fn transaction(&mut self) -> Option<&mut Transaction> {
        self.context.as_mut()?.transaction.as_mut()
    }
}

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

/// What components are linked with.
pub(crate) fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<Host>> {
    let mut linker = Linker::new(engine);
    // All of it, since guests' standard libraries ask for whole interfaces; what may be imported is decided in `program`.
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    CallsAdapter::add_to_linker::<_, HasSelf<_>>(&mut linker, |host| host)?;
    Ok(linker)
}

impl messages::Host for Host {}

impl types::Host for Host {}

impl next::Host for Host {
    async fn delegate(
        &mut self,
        call: messages::Call,
    ) -> wasmtime::Result<Result<messages::Reply, messages::Failure>> {
        // Others compute meanwhile.
        self.turn.end();
        let asks = self
            .context
            .as_ref()
            .and_then(|context| context.asks.clone());
        let asks = asks.ok_or_else(|| wasmtime::Error::msg("nothing can be delegated here"))?;
        let (reply, replied) = oneshot::channel();
        let gone = |_| wasmtime::Error::msg("the call has ended");
        let asked = DelegatedCall { call, reply };
        asks.send(asked).await.map_err(|_| gone(()))?;
        replied.await.map_err(|_| gone(()))
    }
}

/// A broken store ends the call.
fn broken(error: StateError) -> wasmtime::Error {
    wasmtime::Error::msg(error.to_string())
}

impl state::Host for Host {
    fn get(&mut self, key: Vec<u8>) -> wasmtime::Result<Option<Vec<u8>>> {
        match self.transaction() {
            Some(transaction) => transaction.get(&key).map_err(broken),
            None => Ok(None),
        }
    }

    fn set(&mut self, key: Vec<u8>, value: Vec<u8>) -> wasmtime::Result<Result<(), state::Error>> {
        self.put(key, Some(value))
    }

    fn remove(&mut self, key: Vec<u8>) -> wasmtime::Result<Result<(), state::Error>> {
        self.put(key, None)
    }

    fn scan(
        &mut self,
        prefix: Vec<u8>,
        after: Option<Vec<u8>>,
        count: u32,
    ) -> wasmtime::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        match self.transaction() {
            Some(transaction) => {
                let found = transaction.scan(&prefix, after.as_deref(), count);
                found.map_err(broken)
            }
            None => Ok(Vec::new()),
        }
    }
}

impl Host {
    fn put(
        &mut self,
        key: Vec<u8>,
        value: Option<Vec<u8>>,
    ) -> wasmtime::Result<Result<(), state::Error>> {
        let Some(transaction) = self.transaction() else {
            return Ok(Err(state::Error::ReadOnly));
        };
        let put = transaction.put(key, value).map_err(broken)?;
        Ok(put.map_err(|refused| match refused {
            ChangeRefused::Full => state::Error::Full,
            ChangeRefused::TooLong => state::Error::TooLong,
            ChangeRefused::ReadOnly => state::Error::ReadOnly,
        }))
    }
}

impl log::Host for Host {
    fn write(&mut self, level: log::Level, line: String) -> wasmtime::Result<()> {
        let second = since_1970().as_secs();
        let rate = &mut self.log;
        if rate.second != second {
            if rate.left_out > 0 {
                let (adapter, lines) = (&self.adapter, rate.left_out);
                tracing::warn!(target: "adapter", %adapter, lines, "too many lines: these were left out");
            }
            *rate = LogRate {
                second,
                ..LogRate::default()
            };
        }
        rate.lines += 1;
        if rate.lines > LOG_LINES_PER_S {
            rate.left_out += 1;
            return Ok(());
        }
        let line = &line[..line.floor_char_boundary(LOG_LINE_BYTES_MAX)];
        // A line of a log stays one line.
        let line: String = (line.chars())
            .map(|letter| if letter.is_control() { ' ' } else { letter })
            .collect();
        let adapter = &self.adapter;
        match level {
            log::Level::Debug => tracing::debug!(target: "adapter", %adapter, "{line}"),
            log::Level::Info => tracing::info!(target: "adapter", %adapter, "{line}"),
            log::Level::Warn => tracing::warn!(target: "adapter", %adapter, "{line}"),
            log::Level::Error => tracing::error!(target: "adapter", %adapter, "{line}"),
        }
        Ok(())
    }
}

fn since_1970() -> std::time::Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

impl clock::Host for Host {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(u64::try_from(since_1970().as_millis()).unwrap_or(u64::MAX))
    }

    fn monotonic(&mut self) -> wasmtime::Result<u64> {
        Ok(u64::try_from(BEGINNING.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

impl random::Host for Host {
    fn bytes(&mut self, count: u32) -> wasmtime::Result<Vec<u8>> {
        if count > RANDOM_BYTES_MAX {
            let why = format!("more than {RANDOM_BYTES_MAX} random bytes at once");
            return Err(wasmtime::Error::msg(why));
        }
        let mut bytes = vec![0; count as usize];
        rand::fill(&mut bytes[..]);
        Ok(bytes)
    }
}

impl utf8::Host for Host {
    fn decode(&mut self, bytes: Vec<u8>) -> wasmtime::Result<Result<String, u32>> {
        Ok(String::from_utf8(bytes)
            .map_err(|error| u32::try_from(error.utf8_error().valid_up_to()).unwrap_or(u32::MAX)))
    }

    fn encode(&mut self, text: String) -> wasmtime::Result<Vec<u8>> {
        Ok(text.into_bytes())
    }
}
