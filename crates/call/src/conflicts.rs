//! Conflict keys: calls through a node's adapters that must not run between each other's steps.
//!
//! An operation that reads before it writes, or answers from what it read, holds its key alone; a
//! single write holds it together with other single writes, which the software orders by itself.
//! Calls that need neither never come here. The keys are shared by all chains of a service, so that
//! callers of different versions exclude each other too: a key belongs to the form that calls have
//! *behind* an adapter, and the last adapters of all chains speak the software's.

use parking_lot::{Mutex, MutexGuard};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::direction::Direction;

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

/// How many adapters are below, and, where there are some, the way they translate.
type LockLevel = (usize, Option<&'static str>);

/// The keys of one service at a node, or of all whose dispatch is observed.
#[derive(Default)]
pub struct Conflicts {
    levels: Mutex<BTreeMap<LockLevel, Arc<Locks>>>,
    far: Arc<RwLock<()>>,
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
        let mut levels = self.levels.lock();
        levels.entry(level).or_default().clone()
    }

    /// Held by calls that pass several adapters together, and alone by one that tells adapters farther away than the next: it learns
    /// their keys too late to wait for them in order.
    pub(crate) fn far(&self) -> Arc<RwLock<()>> {
        self.far.clone()
    }
}

/// The locks of one level. A call takes those of its first adapter first, so that calls never wait
/// for each other in a circle.
#[derive(Default)]
pub struct Locks {
    node: RwLock<()>,
    /// Only keys that calls hold or wait for: as many as there are such calls at most.
    named: Mutex<HashMap<String, Arc<RwLock<()>>>>,
}

/// A held key; dropped when the operation has ended.
pub struct HeldKey<'l> {
    // Given back in this order.
    _guards: Guards<'l>,
    _entry: Option<LockEntry<'l>>,
}

enum Guards<'l> {
    Node {
        _node: RwLockWriteGuard<'l, ()>,
    },
    Alone {
        _key: OwnedRwLockWriteGuard<()>,
        _node: RwLockReadGuard<'l, ()>,
    },
    Together {
        _key: OwnedRwLockReadGuard<()>,
        _node: RwLockReadGuard<'l, ()>,
    },
}

/// A key in the table; the last that needs it takes it out.
struct LockEntry<'l> {
    locks: &'l Locks,
    name: String,
}

impl Drop for LockEntry<'_> {
    fn drop(&mut self) {
        let mut named = self.locks.named();
        if named
            .get(&self.name)
            .is_some_and(|lock| Arc::strong_count(lock) == 1)
        {
            named.remove(&self.name);
        }
    }
}

impl Locks {
    fn named(&self) -> MutexGuard<'_, HashMap<String, Arc<RwLock<()>>>> {
        self.named.lock()
    }

    /// Waits until no other call holds the key, and holds it.
    pub async fn hold(&self, key: Key<'_>, hold: Hold) -> HeldKey<'_> {
        let Key::Named(name) = key else {
            let node = self.node.write().await;
            return HeldKey {
                _guards: Guards::Node { _node: node },
                _entry: None,
            };
        };
        let node = self.node.read().await;
        let entry = LockEntry {
            locks: self,
            name: name.to_owned(),
        };
        let lock = self.named().entry(name.to_owned()).or_default().clone();
        let guards = match hold {
            Hold::Exclusive => Guards::Alone {
                _key: lock.write_owned().await,
                _node: node,
            },
            Hold::Shared => Guards::Together {
                _key: lock.read_owned().await,
                _node: node,
            },
        };
        HeldKey {
            _guards: guards,
            _entry: Some(entry),
        }
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
        assert!(
            locks.named().is_empty(),
            "nothing is kept of keys that nobody holds"
        );
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
