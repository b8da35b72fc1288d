//! Components of sessions: the contract's other world, on the same engine, pool and state as components of calls.

mod bindings;
mod convert;
mod run;
mod step;

pub(super) use bindings::SessionsAdapterPre;
pub use step::SessionStep;
