//! Staging: everything that a version needs is fetched, verified and unpacked before anything is served by it.

use super::Node;
use super::actions::chain;
use model::api::Progress;
use model::bundle::{SoftwareKind, Upgrade};
use model::ids::Version;
use model::machine::{Place, StageOutcome, StageRequest, Step};
use std::sync::Arc;

/// Stages one version, and whatever of older versions it stands on.
pub(super) async fn stage(node: &Arc<Node>, request: StageRequest) -> StageOutcome {
    let result = run(node, request).await;
    node.set_progress(None);
    match result {
        Ok(step) => StageOutcome::Staged(step),
        Err(reason) => StageOutcome::Failed { reason },
    }
}
