//! The adapters of sessions between a caller's version and the software's, and the framing between each two of them.

use call::{Direction, Sessions};
use std::fmt;
use std::sync::Arc;
use wire::framing::Codec;

/// One adapter or more, the first being nearest to the caller.
pub struct SessionChain {
    direction: Direction,
    pub(super) steps: Vec<Arc<dyn Sessions>>,
    /// What is spoken before the first adapter, between each two, and behind the last: one more than there are adapters.
    pub(super) links: Vec<Arc<Codec>>,
    /// All of them are the same: a message that every adapter lets pass stays as it is.
    pub(super) is_uniform: bool,
}

impl fmt::Debug for SessionChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionChain")
            .field("direction", &self.direction)
            .field("length", &self.steps.len())
            .finish()
    }
}

impl SessionChain {
    /// A chain. `caller` is the framing that callers speak; each step brings that of what is behind it.
    pub fn new(
        direction: Direction,
        caller: Arc<Codec>,
        steps: Vec<(Arc<dyn Sessions>, Arc<Codec>)>,
    ) -> Self {
        let mut links = vec![caller];
        let mut adapters = Vec::new();
        for (adapter, behind) in steps {
            adapters.push(adapter);
            links.push(behind);
        }
        let is_uniform = links.windows(2).all(|pair| pair[0] == pair[1]);
        Self {
            direction,
            steps: adapters,
            links,
            is_uniform,
        }
    }

    /// Past or future.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// Number of adapters.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether messages pass unseen.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}
