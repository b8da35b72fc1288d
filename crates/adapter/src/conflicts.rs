//! Conflict keys: calls through a node's adapters that must not run between each other's steps.
//!
//! An operation that reads before it writes, or answers from what it read, holds its key alone; a
//! single write holds it together with other single writes, which the software orders by itself.
//! Calls that need neither never come here. The keys are shared by all chains of a service, so that
//! callers of different versions exclude each other too: a key belongs to the form that calls have
//! *behind* an adapter, and the last adapters of all chains speak the software's.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::chain::Direction;

/// Named keys share this many locks by their hashes: two keys that meet in one only wait for each
/// other needlessly, and memory stays bounded whatever callers name.
const LOCKS: usize = 64;

/// What an operation excludes others from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key<'k> {
    /// The whole node: every other key too.
    Node,
    /// What has this name.
    Named(&'k str),
}

/// How a key is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Together with others that hold it so; of the whole node there is no such form.
    Shared,
    /// Alone.
    Exclusive,
}

/// The keys of one service at a node.
#[derive(Default)]
pub struct Conflicts {
    levels: Mutex<BTreeMap<(usize, Option<&'static str>), Arc<Locks>>>,
}

impl fmt::Debug for Conflicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conflicts").finish_non_exhaustive()
    }
}

impl Conflicts {
    /// The locks of adapters with `below` others between them and the software.
    pub(crate) fn level(&self, below: usize, direction: Direction) -> Arc<Locks> {
        // All last adapters delegate in the software's own form, whichever way they translate.
        let level = (below, (below > 0).then(|| direction.name()));
        let mut levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        levels.entry(level).or_default().clone()
    }
}

/// The locks of one level. A call takes those of its first adapter first, so that calls never wait
/// for each other in a circle.
pub(crate) struct Locks {
    node: RwLock<()>,
    named: [RwLock<()>; LOCKS],
}

impl Default for Locks {
    fn default() -> Locks {
        Locks {
            node: RwLock::new(()),
            named: std::array::from_fn(|_| RwLock::new(())),
        }
    }
}

/// A held key; dropped when the operation has ended.
pub struct Held<'l> {
    _guards: Guards<'l>,
}

enum Guards<'l> {
    Node {
        _node: RwLockWriteGuard<'l, ()>,
    },
    Alone {
        _key: RwLockWriteGuard<'l, ()>,
        _node: RwLockReadGuard<'l, ()>,
    },
    Together {
        _key: RwLockReadGuard<'l, ()>,
        _node: RwLockReadGuard<'l, ()>,
    },
}

impl Locks {
    pub(crate) async fn hold(&self, key: Key<'_>, hold: Hold) -> Held<'_> {
        let guards = match key {
            Key::Node => Guards::Node {
                _node: self.node.write().await,
            },
            Key::Named(name) => {
                let mut hasher = DefaultHasher::new();
                name.hash(&mut hasher);
                let lock = &self.named[hasher.finish() as usize % LOCKS];
                let node = self.node.read().await;
                match hold {
                    Hold::Exclusive => Guards::Alone {
                        _key: lock.write().await,
                        _node: node,
                    },
                    Hold::Shared => Guards::Together {
                        _key: lock.read().await,
                        _node: node,
                    },
                }
            }
        };
        Held { _guards: guards }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_free(locks: &Locks, key: Key<'_>, hold: Hold) -> bool {
        let mut attempt = std::pin::pin!(locks.hold(key, hold));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        attempt.as_mut().poll(&mut context).is_ready()
    }

    #[tokio::test]
    async fn the_same_key_excludes_and_the_node_excludes_all() {
        let locks = Locks::default();
        let held = locks.hold(Key::Named("a"), Hold::Exclusive).await;
        assert!(!is_free(&locks, Key::Named("a"), Hold::Shared));
        assert!(!is_free(&locks, Key::Node, Hold::Exclusive));
        assert!(is_free(&locks, Key::Named("b"), Hold::Exclusive));
        drop(held);
        let held = locks.hold(Key::Named("a"), Hold::Shared).await;
        assert!(is_free(&locks, Key::Named("a"), Hold::Shared));
        assert!(!is_free(&locks, Key::Named("a"), Hold::Exclusive));
        drop(held);
        let _node = locks.hold(Key::Node, Hold::Shared).await;
        assert!(!is_free(&locks, Key::Named("b"), Hold::Shared));
    }

    #[test]
    fn last_adapters_share_their_keys_whichever_way_they_translate() {
        let conflicts = Conflicts::default();
        let level = |below, direction| conflicts.level(below, direction);
        assert!(Arc::ptr_eq(
            &level(0, Direction::Past),
            &level(0, Direction::Future)
        ));
        assert!(!Arc::ptr_eq(
            &level(1, Direction::Past),
            &level(1, Direction::Future)
        ));
    }
}
