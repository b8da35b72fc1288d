//! A holder with software below it: what it starts, keeps, hands over and ends.

#![allow(missing_docs, clippy::unwrap_used)]

mod child;
mod launch;
mod net;
mod own_calls;
mod sockets;
mod stop;
mod strangers;
mod support;
