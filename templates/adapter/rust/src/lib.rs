//! The adapter: in version 1 an item has a `colour`, in version 2 a `tint`, and the paths begin with the version.
//!
//! `rename` has what changes between the versions and is tested like any code; `component` is what the node calls, and only there is
//! WebAssembly.

#[cfg(target_family = "wasm")]
mod component;
pub mod rename;
