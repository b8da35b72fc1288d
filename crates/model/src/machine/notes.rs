//! What people are told of records.

use super::{Note, Record, Settled};
use crate::api::EventKind;

/// What people are told of a record.
pub(super) fn note_of(record: &Record, settled: Option<&Settled>) -> Option<Note> {
    let here = settled.map(|settled| settled.version);
    let (kind, version, message) = match record {
        Record::Joining { step } => (
            EventKind::NodeJoining,
            Some(step.version),
            format!("joins at version {}", step.version),
        ),
        Record::Staged {
            step,
            returned: Some(reason),
            ..
        } => (EventKind::NodeReturned, Some(step.version), reason.clone()),
        Record::Staged { step, .. } => (
            EventKind::NodeStaged,
            Some(step.version),
            format!("staged version {}", step.place()),
        ),
        Record::Unstaged { version } => (
            EventKind::NodeUnstaged,
            Some(*version),
            format!("dropped version {version}"),
        ),
        Record::Stopping { to, .. } => (
            EventKind::NodeStopping,
            Some(to.version),
            format!("begins the upgrade to version {to}"),
        ),
        Record::FlippingBack { reason } => (
            EventKind::NodeFlippingBack,
            here,
            format!("goes back: {reason}"),
        ),
        Record::Settled(settled) => (
            EventKind::NodeSettled,
            Some(settled.version),
            format!(
                "settled at version {}.{}",
                settled.version, settled.revision
            ),
        ),
        Record::Blocked { on, reason, .. } => {
            (EventKind::NodeBlocked, Some(on.version), reason.clone())
        }
        Record::Transforming { .. } | Record::Committed | Record::Probing | Record::Released => {
            return None;
        }
    };
    Some(Note {
        kind,
        version,
        message,
    })
}
