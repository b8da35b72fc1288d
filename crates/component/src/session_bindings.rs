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
        "upstart:adapter/types": crate::bindings::upstart::adapter::types,
        "upstart:adapter/state": crate::bindings::upstart::adapter::state,
        "upstart:adapter/log": crate::bindings::upstart::adapter::log,
        "upstart:adapter/clock": crate::bindings::upstart::adapter::clock,
        "upstart:adapter/random": crate::bindings::upstart::adapter::random,
        "upstart:adapter/utf8": crate::bindings::upstart::adapter::utf8,
    },
    imports: { default: trappable },
    exports: { default: async },
});

impl crate::instance::Linked for SessionsAdapterPre<crate::host::Host> {
    type Exports = SessionsAdapter;

    fn engine(&self) -> &wasmtime::Engine {
        self.engine()
    }

    async fn instantiate(
        &self,
        store: &mut wasmtime::Store<crate::host::Host>,
    ) -> wasmtime::Result<SessionsAdapter> {
        self.instantiate_async(store).await
    }
}
