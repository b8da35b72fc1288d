//! Where a component stands: between which versions, and with whose state.

use call::Direction;

use crate::state::StateId;

/// Where a component stands.
#[derive(Clone, Debug)]
pub struct ChainPlace {
    /// Whose state it has.
    pub state: StateId,
    /// The version of its callers.
    pub caller_version: u32,
    /// The version of the next in the chain.
    pub next_version: u32,
}

impl ChainPlace {
    /// Between two versions, with the state of the upgrade to the newer one.
    pub fn between(direction: Direction, caller_version: u32, next_version: u32) -> Self {
        Self {
            state: StateId {
                upgrade: caller_version.max(next_version),
                direction,
            },
            caller_version,
            next_version,
        }
    }
}
