//! How a run ends that gives no answer, and how that is told.

use std::time::Duration;

use crate::state::StateError;

/// How a run ended that gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunFailure {
    /// It took too long.
    #[error("it did not answer within {} ms", .0.as_millis())]
    Time(Duration),
    /// It may not have so much memory.
    #[error("it needs more memory than its limit of {0} MiB")]
    Memory(usize),
    /// It trapped, or did what the contract does not allow.
    #[error("{0}")]
    Trapped(String),
    /// Its intent could not be made durable.
    #[error("{0}")]
    State(#[from] StateError),
}

pub(crate) fn is_out_of_memory(error: &wasmtime::Error) -> bool {
    format!("{error:#}").contains("memory minimum size")
}

/// A trap in one line: where it happened inside the guest is for its author, in the log.
pub(crate) fn told(error: &wasmtime::Error) -> String {
    let cause = match error.downcast_ref::<wasmtime::Trap>() {
        Some(trap) => trap.to_string(),
        None => error.root_cause().to_string(),
    };
    tracing::debug!(target: "adapter", "{error:?}");
    cause
}
