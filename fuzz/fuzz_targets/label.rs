//! Any bytes: see the oracle.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| oracles::label::check(bytes));
