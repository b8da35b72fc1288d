//! Decisions of interception, the member table and the protocol of hooks, holder and agent; no I/O.

pub mod holder;
