//! The preloaded library: hooks of a few lines that ask [`interpose`] what to do.
//!
//! Loaded into every process of a node's software by `LD_PRELOAD`. Beside the rules of [`interpose`]:
//!
//! - `errno` is what the software's own call would have left there, untouched where the call succeeded;
//! - nothing but the functions of `hooks` is exported.
#![allow(unsafe_code)] // Replacing libc's functions is what this crate is for.

mod hooks;

use intercept::environment;
use interpose::{keyring, state};

/// Kept in the file for the agent to find.
#[used]
static MARK: [u8; environment::LIBRARY_MARK.len()] = *environment::LIBRARY_MARK;

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = constructor;

extern "C" fn constructor() {
    hooks::find_next();
    state::ensure();
    keyring::prepare();
    // SAFETY: the handler only stores an atomic.
    unsafe { libc::pthread_atfork(None, None, Some(forked)) };
}

unsafe extern "C" fn forked() {
    state::forked();
}
