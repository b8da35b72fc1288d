//! What adapters remember: durable, transactional, private to a version and a direction.
//!
//! A call works on a [`Transaction`]: it sees its own changes at once, and they become durable together. Before the first
//! call that it delegates, its *intent* becomes durable; it is closed together with the changes. What is found open later is
//! a call of which nobody knows how far it came, and the adapter is asked to recover from it.

mod committer;
mod intent;
mod store;
mod stores;
mod transaction;
mod transfer;

pub(crate) use intent::{Intent, OpenIntent};
pub(crate) use store::AdapterState;
pub use store::StateOrigin;
pub use stores::{StateId, Stores};
pub(crate) use transaction::{ChangeRefused, Transaction};
pub use transfer::{ENTRIES_FILE, UNFINISHED_FILE};

/// Longest key, in bytes: keys are compared and kept in the store's inner pages.
pub(crate) const KEY_BYTES_MAX: usize = 1024;

/// Longest value, in bytes.
pub(crate) const VALUE_BYTES_MAX: usize = 1 << 20;

/// What an entry counts beside its key and its value: what the store needs for it.
pub(crate) const ENTRY_BYTES: u64 = 64;

/// Why adapters' state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The store's file cannot be opened, read or written.
    #[error("the adapters' state {file}: cannot {what}: {why}")]
    Store {
        /// The file.
        file: String,
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        why: String,
    },
    /// The node is upgrading: nothing changes any more.
    #[error("the adapters' state is frozen while the node upgrades")]
    Frozen,
    /// The intent of another call does not fit.
    #[error("the adapters' state is full: its limit is {0} MiB")]
    Full(u64),
    /// What a transform has written for the adapter is not as it must be.
    #[error("{file}:{line}: {what}")]
    Written {
        /// The file.
        file: String,
        /// Its line, from 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
}
