//! One call's view of its adapter's state, and what it changes.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use redb::{ReadOnlyTable, ReadableDatabase};

use super::committer::{Changes, ENTRIES};
use super::{AdapterState, ENTRY_BYTES, KEY_BYTES_MAX, StateError, VALUE_BYTES_MAX};

/// Most entries of one look along the keys.
const SCAN_ENTRIES_MAX: usize = 1000;
/// Most bytes of one look along the keys; at least one entry is given.
const SCAN_BYTES_MAX: usize = 1 << 20;

/// Why a change is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChangeRefused {
    /// The limit of all calls together.
    Full,
    /// A key or a value is too long.
    TooLong,
    /// The call is declared to only read.
    ReadOnly,
}

/// An entry: key and value.
pub(crate) type Entry = (Vec<u8>, Vec<u8>);

/// What an entry counts.
pub(super) fn cost(key: usize, value: usize) -> i64 {
    i64::try_from(key + value).unwrap_or(i64::MAX / 2) + ENTRY_BYTES as i64
}

/// What a call's changes count; given back where they do not become durable.
pub(crate) struct Reserved {
    used: Arc<AtomicI64>,
    /// What has been added to `used` for this call.
    reserved: i64,
    /// What the changes really add; less than zero where they free something.
    net: i64,
}

impl Reserved {
    /// The changes are durable.
    pub(super) fn spend(&mut self) {
        self.used
            .fetch_sub(self.reserved - self.net, Ordering::SeqCst);
        self.reserved = 0;
        self.net = 0;
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.used.fetch_sub(self.reserved, Ordering::SeqCst);
    }
}

/// One call's transaction. It reads what was durable when it first looked; calls with its conflict key run one at a time.
pub(crate) struct Transaction {
    state: Arc<AdapterState>,
    snapshot: Option<ReadOnlyTable<&'static [u8], &'static [u8]>>,
    changes: Changes,
    reserved: Reserved,
    limit: i64,
    may_write: bool,
}

impl Transaction {
    pub(super) fn new(state: Arc<AdapterState>, limit: u64, may_write: bool) -> Self {
        let reserved = Reserved {
            used: state.used.clone(),
            reserved: 0,
            net: 0,
        };
        Self {
            state,
            snapshot: None,
            changes: BTreeMap::new(),
            reserved,
            limit: i64::try_from(limit).unwrap_or(i64::MAX),
            may_write,
        }
    }

    fn snapshot(&mut self) -> Result<&ReadOnlyTable<&'static [u8], &'static [u8]>, StateError> {
        if self.snapshot.is_none() {
            let state = self.state.clone();
            let opened = || -> Result<_, redb::Error> {
                Ok(state.database.begin_read()?.open_table(ENTRIES)?)
            };
            self.snapshot = Some(opened().map_err(|why| state.failed("read", &why))?);
        }
        match &self.snapshot {
            Some(snapshot) => Ok(snapshot),
            None => unreachable!("just opened"),
        }
    }

    /// The value at a key.
    pub(crate) fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        if let Some(changed) = self.changes.get(key) {
            return Ok(changed.clone());
        }
        let state = self.state.clone();
        let found = self.snapshot()?.get(key);
        let found = found.map_err(|why| state.failed("read", &why))?;
        Ok(found.map(|value| value.value().to_vec()))
    }

    /// Sets or removes the value at a key.
    pub(crate) fn put(
        &mut self,
        key: Vec<u8>,
        value: Option<Vec<u8>>,
    ) -> Result<Result<(), ChangeRefused>, StateError> {
        if !self.may_write {
            return Ok(Err(ChangeRefused::ReadOnly));
        }
        let length = value.as_ref().map_or(0, Vec::len);
        if key.len() > KEY_BYTES_MAX || length > VALUE_BYTES_MAX {
            return Ok(Err(ChangeRefused::TooLong));
        }
        let before = self.get(&key)?.map_or(0, |old| cost(key.len(), old.len()));
        let after = value.as_ref().map_or(0, |new| cost(key.len(), new.len()));
        let net = self.reserved.net + after - before;
        let more = net - self.reserved.reserved;
        if more > 0 {
            let used = self.reserved.used.fetch_add(more, Ordering::SeqCst);
            if used + more > self.limit {
                self.reserved.used.fetch_sub(more, Ordering::SeqCst);
                return Ok(Err(ChangeRefused::Full));
            }
            self.reserved.reserved += more;
        }
        self.reserved.net = net;
        self.changes.insert(key, value);
        Ok(Ok(()))
    }

    /// Entries whose keys begin with `prefix`, in order, those behind `after`, at most `count`.
    pub(crate) fn scan(
        &mut self,
        prefix: &[u8],
        after: Option<&[u8]>,
        count: u32,
    ) -> Result<Vec<Entry>, StateError> {
        let most = usize::try_from(count).map_or(SCAN_ENTRIES_MAX, |n| n.min(SCAN_ENTRIES_MAX));
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after.to_vec()),
            _ => Bound::Included(prefix.to_vec()),
        };
        let state = self.state.clone();
        let failed = |why: redb::StorageError| state.failed("read", &why);
        self.snapshot()?;
        let Some(snapshot) = &self.snapshot else {
            return Ok(Vec::new());
        };
        let bounds = (as_slice(&from), Bound::Unbounded);
        let mut durable = snapshot.range::<&[u8]>(bounds).map_err(failed)?;
        let mut changed = self
            .changes
            .range::<[u8], _>((as_slice(&from), Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .peekable();
        let mut next_durable = || -> Result<Option<Entry>, StateError> {
            let Some(entry) = durable.next() else {
                return Ok(None);
            };
            let (key, value) = entry.map_err(failed)?;
            let fits = key.value().starts_with(prefix);
            Ok(fits.then(|| (key.value().to_vec(), value.value().to_vec())))
        };
        let mut waiting = next_durable()?;
        let (mut found, mut bytes) = (Vec::new(), 0);
        while found.len() < most && bytes < SCAN_BYTES_MAX {
            let changed_first = match (&waiting, changed.peek()) {
                (None, None) => break,
                (Some((durable, _)), Some((key, _))) => *key <= durable,
                (durable, _) => durable.is_none(),
            };
            let entry = if changed_first {
                let Some((key, value)) = changed.next() else {
                    break;
                };
                if waiting.as_ref().is_some_and(|(durable, _)| durable == key) {
                    waiting = next_durable()?;
                }
                value.as_ref().map(|value| (key.clone(), value.clone()))
            } else {
                std::mem::replace(&mut waiting, next_durable()?)
            };
            if let Some((key, value)) = entry {
                bytes += key.len() + value.len();
                found.push((key, value));
            }
        }
        Ok(found)
    }

    /// What is to become durable.
    pub(super) fn into_changes(self) -> (Changes, Reserved) {
        (self.changes, self.reserved)
    }
}

fn as_slice(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    match bound {
        Bound::Included(key) => Bound::Included(key),
        Bound::Excluded(key) => Bound::Excluded(key),
        Bound::Unbounded => Bound::Unbounded,
    }
}
