//! Versions, upgrade files, the node machine, schedules, routing and the journal format; no I/O.

pub mod api;
pub mod bundle;
pub mod expression;
pub mod fleet;
pub mod gate;
pub mod ids;
pub mod journal;
pub mod machine;
pub mod manifest;
mod named;
pub mod names;
pub mod network;
pub mod release;
pub mod routing;
pub mod schedule;
pub mod spelling;
pub mod visible;
