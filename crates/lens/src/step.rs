//! A lens in its place in a chain.

use std::sync::Arc;

use crate::Lens;
use call::{Direction, Side};

/// A lens and the direction that it is used in.
pub(crate) struct LensStep {
    pub(crate) lens: Arc<Lens>,
    pub(crate) direction: Direction,
}

impl LensStep {
    pub(crate) fn caller(&self) -> Side {
        self.direction.caller()
    }
}
