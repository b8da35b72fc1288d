//! Any bytes: see the oracle.
#![no_main]

#[path = "../oracles/mod.rs"]
#[allow(dead_code, reason = "other targets use more of it")]
mod oracles;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| oracles::framing::check(bytes));
