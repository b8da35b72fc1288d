//! What the contract in `wit/` is in Rust, generated.

#![allow(
    missing_docs,
    unreachable_pub,
    reason = "generated from wit/, which is documented"
)]

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "calls-adapter",
    imports: {
        "upstart:adapter/next.delegate": async | trappable,
        default: trappable,
    },
    exports: { default: async },
});
