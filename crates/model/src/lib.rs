//! Versions, upgrade files, the node machine, schedules, routing and the journal format; no I/O.

pub mod api;
pub mod ids;
pub mod machine;
pub mod schedule;
