//! The shell around the node machine: journal file, sockets, fetch, transforms; and the holder.
pub mod config;
pub mod layout;
pub mod dial;
pub mod holder;
pub mod holder_client;
pub mod confine;
pub mod launch;
pub mod snapshot;
pub mod transform;
pub mod journal;
pub mod fetch;
pub mod probe;
mod kernel;
