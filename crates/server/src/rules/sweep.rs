//! What time brings: nodes fall silent, permits expire, answers are forgotten.

use super::{Draft, labels, stops};
use crate::udb::Change;
use model::api::{EventKind, NodeFact};
use std::sync::Arc;

/// How long an answer is remembered for its idempotency key: longer than anybody retries.
const KEYS_KEPT_MS: u64 = 24 * 60 * 60 * 1000;

/// The most answers remembered; beyond it the oldest half goes early.
const KEYS_MAX: usize = 20_000;

/// Looks at the clock.
pub(super) fn sweep(draft: &mut Draft<'_>) {
    fallen_silent(draft);
    expired(draft);
    for node in draft.state.queue.gone(draft.now_ms()) {
        draft.change(Change::Unqueue(node));
    }
    forget_keys(draft);
    labels::advance(draft);
    stops::stop(draft);
}

fn fallen_silent(draft: &mut Draft<'_>) {
    let now_ms = draft.now_ms();
    let nodes = draft.state.nodes.values();
    let silent: Vec<NodeFact> = nodes
        .filter(|fact| fact.reachable && draft.context.silent(fact, now_ms))
        .map(|fact| fact.as_ref().clone())
        .collect();
    for mut fact in silent {
        fact.reachable = false;
        let message = format!(
            "{} was not heard for {} ms",
            fact.name,
            draft.context.patience_ms(&fact)
        );
        let node = fact.node;
        draft.change(Change::Node(Arc::new(fact)));
        draft.event(EventKind::NodeUnreachable, Some(node), None, message);
    }
}

fn expired(draft: &mut Draft<'_>) {
    let now_ms = draft.now_ms();
    let permits = draft.state.permits.values();
    let expired: Vec<_> = permits
        .filter(|held| held.expires_at_ms.is_some_and(|at| at <= now_ms))
        .map(|held| held.fact.clone())
        .collect();
    for fact in expired {
        let message = format!(
            "permit {} of {} expired unconfirmed",
            fact.permit,
            draft.name(fact.node)
        );
        draft.change(Change::EndPermit(fact.permit));
        draft.event(
            EventKind::PermitExpired,
            Some(fact.node),
            Some(fact.version),
            message,
        );
    }
}

fn forget_keys(draft: &mut Draft<'_>) {
    let keys = &draft.state.keys;
    let mut before = draft.now_ms().saturating_sub(KEYS_KEPT_MS);
    if keys.len() > KEYS_MAX {
        let mut ages: Vec<u64> = keys.values().map(|record| record.at_ms).collect();
        ages.sort_unstable();
        before = before.max(ages[ages.len() / 2]);
    }
    if keys.values().any(|record| record.at_ms < before) {
        draft.change(Change::ForgetKeysBefore(before));
    }
}
