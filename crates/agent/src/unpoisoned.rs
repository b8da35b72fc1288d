//! Locks whose holder has panicked. Nothing in this crate leaves what a lock guards half changed, and the task that broke is told of
//! elsewhere: whoever comes next goes on with what is there.

use std::sync::{LockResult, PoisonError};

/// What a lock guards, whatever became of whoever held it before.
pub(crate) trait Unpoisoned {
    /// What is given: a guard, or the value itself.
    type Given;

    /// Takes it.
    fn unpoisoned(self) -> Self::Given;
}

impl<T> Unpoisoned for LockResult<T> {
    type Given = T;

    fn unpoisoned(self) -> T {
        self.unwrap_or_else(PoisonError::into_inner)
    }
}
