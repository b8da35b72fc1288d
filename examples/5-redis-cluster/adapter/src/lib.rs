//! The adapter of Redis Cluster's bus between 3.2 and 7.0.
//!
//! Nodes talk on the bus in messages that either side sends when it likes. Since Redis 4.0 the header is longer and says another protocol
//! version, and nodes drop the other version's messages without a word. `bus` writes each message as the other version does; `component`
//! is what the node of Upstart calls.

pub mod bus;
#[cfg(target_family = "wasm")]
mod component;
