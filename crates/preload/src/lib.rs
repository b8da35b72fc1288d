//! The preloaded library: hooks of a few lines that ask intercept what to do.
//!
//! Loaded into every process of a node's software by `LD_PRELOAD`. The rules of the house, since hooks run in signal
//! handlers, between fork and exec and in threads that hold any lock:
//!
//! - no allocation, no locks, nothing that waits for the agent; the holder is asked at most one bounded question;
//! - `errno` is what the software's own call would have left there, untouched where the call succeeded;
//! - all decisions are `intercept`'s; what is here is system calls;
//! - the library's own calls are raw system calls, so that it never meets itself or another preloaded library;
//! - frames hold nothing that needs dropping: a cancelled thread unwinds through them.
#![allow(unsafe_code)] // Replacing libc's functions is what this crate is for.

mod accept;
mod bind;
mod connect;
mod cookies;
mod hooks;
mod kernel;
mod listen;
mod messenger;
mod paths;
mod peer;
mod slow_path;
mod state;
