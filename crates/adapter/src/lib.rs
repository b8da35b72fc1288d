//! Protocols, lenses and the connection handler of cross-version calls.
//!
//! A foreign connection (one whose label's version has another interface than the node's) is
//! served here: bytes become calls, each call passes a [`Chain`] of adapters to the software and
//! its answer comes back the same way. [`Lens`] is the declarative adapter; docs/reference/lenses.md is its
//! reference. [`component`] runs adapters in WebAssembly; docs/reference/adapters.md is theirs. What these
//! remember is kept by [`Stores`].

pub mod lens;

pub use lens::{Lens, explain};
