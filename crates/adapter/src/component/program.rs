//! A component that has been compiled and found fit, and its instances.

use std::fmt;
use std::sync::Arc;

use wasmtime::component::{Component, types::ComponentItem};

use super::bindings::CallsAdapterPre;
use super::instance::Pool;
use super::{ComponentError, ComponentLimits, engine, host};

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

/// How to build what imports nothing foreign.
const BUILD_HINT: &str = "build it for the world `calls-adapter` of `upstart:adapter` and nothing else: in Rust with the target \
     wasm32-wasip2, in C with wit-bindgen and wasi-libc, in JavaScript with componentize-qjs, in Python with componentize-py \
     and --stub-wasi";

/// A component that is fit to be an adapter.
pub struct Program {
    /// As messages name it.
    pub(super) name: String,
    pub(super) pool: Pool,
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
    ) -> Result<Arc<Program>, ComponentError> {
        let engine = &engine::running()?.engine;
        let component = Component::new(engine, bytes);
        let component = component.map_err(|error| unfit(name, format!("{error:#}"), ""))?;
        Program::of(name, &component, limits)
    }

    /// Looks at a compiled component: its imports, its exports, and that both are of the contract.
    pub(super) fn of(
        name: &str,
        component: &Component,
        limits: ComponentLimits,
    ) -> Result<Arc<Program>, ComponentError> {
        let running = engine::running()?;
        if let Some(foreign) = foreign_import(component) {
            let why = format!("it imports `{foreign}`, which an adapter is not given");
            return Err(unfit(name, why, BUILD_HINT));
        }
        if !exports_calls(component) {
            let why = format!("it does not export `{CONTRACT}calls`");
            let hint = "it must be a component of the world `calls-adapter`; `wasm-tools component wit FILE` shows what it is";
            return Err(unfit(name, why, hint));
        }
        let linker = host::linker(&running.engine);
        let linker = linker.map_err(|error| ComponentError::Engine(format!("{error:#}")))?;
        let linked = linker.instantiate_pre(component);
        let linked = linked.and_then(CallsAdapterPre::new);
        let linked = linked.map_err(|error| {
            let hint = "build it against the `wit` folder of this release";
            unfit(name, format!("it is of another contract: {error:#}"), hint)
        })?;
        Ok(Arc::new(Program {
            name: name.to_owned(),
            pool: Pool::new(name, linked, limits.memory_bytes),
        }))
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

fn exports_calls(component: &Component) -> bool {
    let engine = component.engine();
    let of_type = component.component_type();
    of_type.exports(engine).any(|(name, item)| {
        let is_calls = name
            .strip_prefix(CONTRACT)
            .is_some_and(|name| name == "calls" || name.starts_with("calls@"));
        is_calls && matches!(item.ty, ComponentItem::ComponentInstance(_))
    })
}

fn unfit(component: &str, why: String, hint: &str) -> ComponentError {
    ComponentError::Unfit {
        component: component.to_owned(),
        why,
        hint: hint.to_owned(),
    }
}
