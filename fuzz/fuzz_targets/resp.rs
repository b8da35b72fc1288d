//! Any bytes as a stream of RESP: see the oracle of framing.
#![no_main]

use libfuzzer_sys::fuzz_target;

/// What chooses RESP there, then the pieces.
const SETUP: [u8; 7] = [3, 0, 0, 0, 0, 0, 5];

fuzz_target!(|bytes: &[u8]| oracles::framing::check(&[&SETUP, bytes].concat()));
