//! Two agents that report as one node: a machine was cloned, with the node's name and data. The one that was started last counts; that
//! the other lives too is told.

use super::Draft;
use crate::udb::Change;
use model::api::{EventKind, NodeFact, SyncNumber};
use model::ids::NodeId;
use std::sync::Arc;

/// So many messages after a later agent was heard no agent can have had under way when it ended: it has one at a time, and what a
/// network has kept of it comes late once or twice.
const MESSAGES_UNDER_WAY: u64 = 3;

/// Notes that an older agent goes on reporting; once for each.
pub(super) fn note(draft: &mut Draft<'_>, node: NodeId, now: SyncNumber) {
    let Some(fact) = draft.state.nodes.get(&node) else {
        return;
    };
    let known = fact.taken.iter().position(|taken| taken.life == now.life);
    let Some(at) = known.filter(|at| at + 1 < fact.taken.len()) else {
        return;
    };
    let goes_on = now.number.checked_sub(fact.taken[at].number);
    if goes_on.is_none_or(|messages| messages < MESSAGES_UNDER_WAY) {
        return;
    }
    let mut noted = NodeFact::clone(fact);
    // Nothing that it says later is news.
    noted.taken[at].number = u64::MAX;
    let message = format!(
        "two agents report as {}, as after a machine was cloned. The server listens only to the one that was started last. End the one that should not run, with its software (`upstart stop`), and give it another name and an empty data directory; then start the other agent again",
        fact.name
    );
    let name = fact.name.clone();
    draft.change(Change::NodeQuietly(Arc::new(noted)));
    draft.event_by(name, EventKind::NodeDoubled, Some(node), None, message);
}
