//! A node's directory that is moved, copied, or put back from a backup.

use super::Fault;

/// Each kind of copy.
pub(super) fn faults() -> Vec<Fault> {
    Vec::new()
}
