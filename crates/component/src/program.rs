//! A component that has been compiled and found fit, and its instances.

use std::fmt;
use std::sync::Arc;

use wasmtime::component::{Component, types::ComponentItem};

use crate::bindings::CallsAdapterPre;
use crate::broken::RunFailure;
use crate::engine::MEMORIES_PER_COMPONENT_MAX;
use crate::host::Host;
use crate::instance::Pool;
use crate::session_bindings::SessionsAdapterPre;
use crate::{ComponentError, ComponentLimits, engine, host};
use call::AdapterKind;

/// What the contract's interfaces begin with.
const CONTRACT: &str = "upstart:adapter/";

/// The interfaces of WASI that a guest's standard library may ask for: they lead nowhere.
const WASI: [&str; 5] = [
    "wasi:cli/",
    "wasi:clocks/",
    "wasi:filesystem/",
    "wasi:io/",
    "wasi:random/",
];

/// A page of WebAssembly's memory.
const PAGE_BYTES: u64 = 64 * 1024;

const MIB: u64 = 1 << 20;

/// How to build what imports nothing foreign.
const BUILD_HINT: &str = "build it for a world of `upstart:adapter` and nothing else: in Rust with the target \
     wasm32-wasip2, in C with wit-bindgen and wasi-libc, in JavaScript with componentize-qjs, in Python with componentize-py \
     and --stub-wasi";

/// A component that is fit to be an adapter.
pub struct Program {
    /// As messages name it.
    pub(crate) name: String,
    world: World,
    /// Whether it remembers anything at all.
    uses_state: bool,
}

/// What it is made for, and its instances.
enum World {
    Calls(Pool),
    Sessions(Pool<SessionsAdapterPre<Host>>),
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("name", &self.name).finish()
    }
}

impl Program {
    /// Compiles a component in this process.
    ///
    /// # Errors
    /// When it is no component, or not fit to be an adapter.
    pub fn compile(
        name: &str,
        bytes: &[u8],
        limits: ComponentLimits,
    ) -> Result<Arc<Self>, ComponentError> {
        let engine = &engine::running()?.engine;
        let component = Component::new(engine, bytes);
        let component = component.map_err(|error| unfit(name, format!("{error:#}"), ""))?;
        Self::of(name, &component, limits)
    }

    /// Looks at a compiled component: its imports, its exports, and that both are of the contract.
    pub(crate) fn of(
        name: &str,
        component: &Component,
        limits: ComponentLimits,
    ) -> Result<Arc<Self>, ComponentError> {
        let running = engine::running()?;
        if let Some(foreign) = foreign_import(component) {
            let why = format!("it imports `{foreign}`, which an adapter is not given");
            return Err(unfit(name, why, BUILD_HINT));
        }
        let memories = component
            .resources_required()
            .map_or(0, |needs| needs.num_memories);
        if memories > MEMORIES_PER_COMPONENT_MAX {
            let why = format!(
                "it has {memories} linear memories; an adapter may have {MEMORIES_PER_COMPONENT_MAX}"
            );
            return Err(unfit(name, why, "link its modules into fewer"));
        }
        let needed = component.resources_required();
        let pages = needed.and_then(|needs| needs.max_initial_memory_size);
        let needed_bytes = pages.unwrap_or(0).saturating_mul(PAGE_BYTES);
        if needed_bytes > limits.memory_bytes as u64 {
            let (needs, may) = (needed_bytes.div_ceil(MIB), limits.memory_bytes as u64 / MIB);
            let why = format!(
                "it begins with {needs} MiB of memory, and `limits.memory_mib` lets it have {may}: no instance of it could be made"
            );
            return Err(unfit(
                name,
                why,
                "raise `memory_mib` in its declaration, or build it with less",
            ));
        }
        let linker = host::linker(&running.engine);
        let linker = linker.map_err(|error| ComponentError::Engine(format!("{error:#}")))?;
        let of_another = |error: wasmtime::Error| {
            let hint = "build it against the `wit` folder of this release";
            unfit(name, format!("it is of another contract: {error:#}"), hint)
        };
        let linked = linker.instantiate_pre(component).map_err(of_another);
        let memory = limits.memory_bytes;
        let world = if exports(component, "calls") {
            let linked = CallsAdapterPre::new(linked?).map_err(of_another)?;
            World::Calls(Pool::new(name, linked, memory))
        } else if exports(component, "sessions") {
            let linked = SessionsAdapterPre::new(linked?).map_err(of_another)?;
            World::Sessions(Pool::new(name, linked, memory))
        } else {
            let why = format!("it does not export `{CONTRACT}calls`, nor `{CONTRACT}sessions`");
            let hint = "it must be a component of the world `calls-adapter` or `sessions-adapter`; `wasm-tools component wit FILE` shows what it is";
            return Err(unfit(name, why, hint));
        };
        Ok(Arc::new(Self {
            name: name.to_owned(),
            world,
            uses_state: imports_state(component),
        }))
    }

    /// What it is as an adapter.
    pub fn kind(&self) -> AdapterKind {
        if self.is_of_sessions() {
            AdapterKind::Sessions
        } else {
            AdapterKind::Calls
        }
    }

    /// Whether it is an adapter of sessions, not of calls.
    pub fn is_of_sessions(&self) -> bool {
        matches!(self.world, World::Sessions(_))
    }

    /// Whether it remembers anything at all.
    pub(crate) fn uses_state(&self) -> bool {
        self.uses_state
    }

    /// Its instances, where it is an adapter of calls.
    pub(crate) fn calls(&self) -> Result<&Pool, RunFailure> {
        match &self.world {
            World::Calls(pool) => Ok(pool),
            World::Sessions(_) => Err(RunFailure::Trapped("it is made for sessions".to_owned())),
        }
    }

    /// Its instances, where it is an adapter of sessions.
    pub(crate) fn sessions(&self) -> Result<&Pool<SessionsAdapterPre<Host>>, RunFailure> {
        match &self.world {
            World::Sessions(pool) => Ok(pool),
            World::Calls(_) => Err(RunFailure::Trapped("it is made for calls".to_owned())),
        }
    }
}

fn foreign_import(component: &Component) -> Option<String> {
    let engine = component.engine();
    let of_type = component.component_type();
    let foreign = of_type.imports(engine).find(|(name, _)| {
        !name.starts_with(CONTRACT) && !WASI.iter().any(|wasi| name.starts_with(wasi))
    });
    foreign.map(|(name, _)| name.to_owned())
}

fn imports_state(component: &Component) -> bool {
    let engine = component.engine();
    let of_type = component.component_type();
    let mut imports = of_type.imports(engine);
    imports.any(|(name, _)| is_interface(name, "state"))
}

/// Whether a name is that of one of the contract's interfaces, whatever its version.
fn is_interface(name: &str, interface: &str) -> bool {
    let name = name.strip_prefix(CONTRACT);
    let rest = name.and_then(|name| name.strip_prefix(interface));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('@'))
}

fn exports(component: &Component, interface: &str) -> bool {
    let engine = component.engine();
    let of_type = component.component_type();
    of_type.exports(engine).any(|(name, item)| {
        is_interface(name, interface) && matches!(item.ty, ComponentItem::ComponentInstance(_))
    })
}

fn unfit(component: &str, why: String, hint: &str) -> ComponentError {
    ComponentError::Unfit {
        component: component.to_owned(),
        why,
        hint: hint.to_owned(),
    }
}
