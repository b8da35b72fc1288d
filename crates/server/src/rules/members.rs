//! An agent says which members' list its software's hooks go by.

use super::{Draft, labels, unknown_node};
use crate::problem::RequestRefusal;
use crate::udb::Change;
use model::api::{MembersRequest, NodeFact};
use model::ids::NodeId;
use std::sync::Arc;

/// Takes an acknowledgement; it never goes back, since no agent puts an older list in force again.
pub(super) fn acknowledge(
    draft: &mut Draft<'_>,
    node: NodeId,
    request: &MembersRequest,
) -> Result<(), RequestRefusal> {
    let known = draft.state.nodes.get(&node);
    let fact = known.ok_or_else(|| unknown_node(&node.to_string()))?;
    let in_force = if draft.state.is_of_a_lost_history(request) {
        request.in_force.min(1)
    } else {
        request.in_force
    };
    // A number from the future was given by a server whose database is gone: it says nothing about this one's.
    let possible = in_force <= draft.state.view;
    let members_seen = if possible {
        in_force.max(fact.members_seen)
    } else {
        fact.members_seen
    };
    let labels = labels::acknowledged(&fact.labels, request.labels.as_ref(), draft.now_ms());
    if members_seen != fact.members_seen || labels != fact.labels {
        draft.change(Change::NodeQuietly(Arc::new(NodeFact {
            members_seen,
            labels,
            ..fact.as_ref().clone()
        })));
    }
    Ok(())
}
