//! The shell around the node machine: journal file, sockets, fetch, transforms; and the holder.
pub mod config;
pub mod layout;
pub mod dial;
