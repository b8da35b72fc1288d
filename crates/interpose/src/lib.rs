//! What is done with a socket of the software: system calls around `intercept`'s decisions.
//!
//! Two callers: the preloaded library's hooks, inside the software's processes, and the holder's net, which does the calls of what
//! the library did not reach on duplicates of its sockets. It is one code, so that both decide and answer alike. The rules are the
//! hooks', which run in signal handlers, between fork and exec and in threads that hold any lock:
//!
//! - no allocation, no locks, nothing that waits for the agent (but `late_label`, in the seconds after an operator has changed a setting of
//!   the kernel); the holder is asked at most one bounded question;
//! - all decisions are `intercept`'s; what is here is system calls;
//! - these are raw system calls with a mark that the net lets pass, so that nothing meets itself or another preloaded library;
//! - frames hold nothing that needs dropping where a thread can be cancelled: it unwinds through them.
#![allow(unsafe_code)] // System calls on sockets and addresses that belong to somebody else.

pub mod accept;
pub mod bind;
pub mod connect;
mod cookies;
mod dead_connection;
pub mod kernel;
pub mod keyring;
mod labelling;
mod late_label;
pub mod listen;
mod messenger;
pub mod net;
pub mod paths;
pub mod peer;
pub mod segment;
mod slow_path;
pub mod state;
