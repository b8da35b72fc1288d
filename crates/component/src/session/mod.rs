//! Components of sessions: the contract's other world, on the same engine, pool and state as components of calls.

mod convert;
mod run;
mod step;

pub use step::SessionStep;
