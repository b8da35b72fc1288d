//! What time brings: nodes fall silent, permits expire, answers are forgotten.

use super::{Draft, labels, once, stops};
use crate::udb::Change;
use model::api::{EventKind, NodeFact};
use std::sync::Arc;

/// How long an answer is remembered for its idempotency key: longer than anybody retries.
const KEYS_KEPT_MS: u64 = 24 * 60 * 60 * 1000;

/// The most answers remembered; beyond it the oldest half goes early.
const KEYS_MAX: usize = 20_000;

/// Looks at the clock.
pub(super) fn sweep(draft: &mut Draft<'_>) {
    clock_set_back(draft);
    fallen_silent(draft);
    expired(draft);
    for node in draft.state.queue.gone(draft.now_ms()) {
        draft.change(Change::Unqueue(node));
    }
    forget_keys(draft);
    labels::advance(draft);
    stops::stop(draft);
    once::advance(draft);
}

/// Times further ahead than this are of a clock that was wrong, not of another server's that is a little fast.
const AHEAD_MS: u64 = 2_000;

/// A clock that was ahead for a while has left times that have not come yet: until they do a soak would not end, and a node that has died would
/// count as reachable. They are taken for now.
fn clock_set_back(draft: &mut Draft<'_>) {
    let now_ms = draft.now_ms();
    let is_ahead = |at_ms: u64| at_ms > now_ms.saturating_add(AHEAD_MS);
    let ahead = draft.state.nodes.values().filter(|fact| {
        let times = [fact.seen_at_ms, fact.settled_at_ms, fact.steady_since_ms];
        times.into_iter().any(is_ahead)
    });
    let ahead: Vec<NodeFact> = ahead.map(|fact| fact.as_ref().clone()).collect();
    for mut fact in ahead {
        for at_ms in [
            &mut fact.seen_at_ms,
            &mut fact.settled_at_ms,
            &mut fact.steady_since_ms,
        ] {
            *at_ms = now_ms.min(*at_ms);
        }
        draft.change(Change::Node(Arc::new(fact)));
    }
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
        .filter(|held| {
            let expires = held.expires_at_ms;
            let longest_ms = draft.context.permit_ttl_ms + AHEAD_MS;
            expires.is_some_and(|at| at <= now_ms || at > now_ms.saturating_add(longest_ms))
        })
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
