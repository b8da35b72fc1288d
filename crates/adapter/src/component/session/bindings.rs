//! What the contract's world of sessions is in Rust, generated; what both worlds share is that of the world of calls.

#![allow(
    missing_docs,
    unreachable_pub,
    reason = "generated from wit/, which is documented"
)]

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "sessions-adapter",
    with: {
        "upstart:adapter/types": super::super::bindings::upstart::adapter::types,
        "upstart:adapter/state": super::super::bindings::upstart::adapter::state,
        "upstart:adapter/log": super::super::bindings::upstart::adapter::log,
        "upstart:adapter/clock": super::super::bindings::upstart::adapter::clock,
        "upstart:adapter/random": super::super::bindings::upstart::adapter::random,
        "upstart:adapter/utf8": super::super::bindings::upstart::adapter::utf8,
    },
    imports: { default: trappable },
    exports: { default: async },
});

impl super::super::instance::Linked for SessionsAdapterPre<super::super::host::Host> {
    type Exports = SessionsAdapter;

    fn engine(&self) -> &wasmtime::Engine {
        self.engine()
    }

    async fn instantiate(
        &self,
        store: &mut wasmtime::Store<super::super::host::Host>,
    ) -> wasmtime::Result<SessionsAdapter> {
        self.instantiate_async(store).await
    }
}
