//! What must hold for any input: each target's oracle, used by its fuzz target and by the tests.

pub(crate) mod framing;
pub(crate) mod sessions;
pub(crate) mod wire;
