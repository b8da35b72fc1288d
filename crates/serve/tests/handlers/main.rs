//! The handlers of connections, with software and callers on real sockets.

mod abuse;
mod budget;
mod connections;
mod intermediary;
mod leaving;
mod messages;
mod node;
