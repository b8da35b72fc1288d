//! Who has settled, counted, and who is to be told when so many have.

use model::ids::Version;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

/// The nodes of a class at a version; of one wave of it, where that is said.
pub(crate) type TallyKey = (Version, Arc<str>, Option<usize>);

/// How many there were, and who waits for how many.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watched {
    count: u64,
    watchers: BinaryHeap<Reverse<(u64, usize)>>,
}

impl Watched {
    /// A node is to be told after so many more.
    pub(crate) fn watch(&mut self, more: u64, node: usize) {
        self.watchers
            .push(Reverse((self.count + more.max(1), node)));
    }

    /// One more; those who are to be told now.
    pub(crate) fn one_more(&mut self) -> Vec<usize> {
        self.count += 1;
        let mut told = Vec::new();
        while let Some(Reverse((at, _))) = self.watchers.peek()
            && *at <= self.count
        {
            told.extend(self.watchers.pop().map(|Reverse((_, node))| node));
        }
        told
    }
}

/// Each class and wave.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tallies(BTreeMap<TallyKey, Watched>);

impl Tallies {
    pub(crate) fn of(&mut self, key: TallyKey) -> &mut Watched {
        self.0.entry(key).or_default()
    }
}
