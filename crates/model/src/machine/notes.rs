//! What people are told of records.

use super::{Note, Record, Settled};

/// What people are told of a record.
pub(super) fn note_of(record: &Record, settled: Option<&Settled>) -> Option<Note> {
    let here = settled.map(|settled| settled.version);
    let (kind, version, message) = match record {
        Record::Joining { step } => (
            "node.joining",
            Some(step.version),
            format!("joins at version {}", step.version),
        ),
        Record::Staged {
            step,
            returned: Some(reason),
            ..
        } => ("node.returned", Some(step.version), reason.clone()),
        Record::Staged { step, .. } => (
            "node.staged",
            Some(step.version),
            format!("staged version {}", step.place()),
        ),
        Record::Unstaged { version } => (
            "node.unstaged",
            Some(*version),
            format!("dropped version {version}"),
        ),
        Record::Stopping { to, .. } => (
            "node.stopping",
            Some(to.version),
            format!("leaves for version {to}"),
        ),
        Record::FlippingBack { reason } => {
            ("node.flipping_back", here, format!("goes back: {reason}"))
        }
        Record::Settled(settled) => (
            "node.settled",
            Some(settled.version),
            format!(
                "settled at version {}.{}",
                settled.version, settled.revision
            ),
        ),
        Record::Blocked { on, reason, .. } => ("node.blocked", Some(on.version), reason.clone()),
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
