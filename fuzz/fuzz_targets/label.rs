//! Any bytes: see the oracle.
#![no_main]

mod oracle;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| oracle::check(bytes));
