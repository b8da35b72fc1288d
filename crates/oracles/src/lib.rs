//! What must hold for any input: each target's oracle, used by its fuzz target and by the tests of what it judges.

pub mod framing;
pub mod label;
pub mod sessions;
pub mod wire;
