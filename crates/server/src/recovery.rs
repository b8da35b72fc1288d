//! The state as the database and the repository have it together: what was published is proved again from its artifacts.

use crate::error::ServerError;
use crate::repository::{self, RepositoryFolder};
use crate::state::SystemState;
use crate::udb::Stored;
use model::api::UpgradeSummary;
use model::bundle::Upgrade;
use model::ids::{Revision, Version};
use model::manifest::Digest;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Upgrades that were proved, by version and revision.
pub(crate) type ProvedUpgrades = BTreeMap<(Version, Revision), Arc<Upgrade>>;

/// Proves every published revision that is not known from the repository, and puts static manifests where they belong.
///
/// # Errors
/// The repository does not hold what the database names.
pub(crate) async fn recover(
    stored: Stored,
    repository: &RepositoryFolder,
    mut proved: ProvedUpgrades,
    now_ms: u64,
) -> Result<SystemState, ServerError> {
    for (number, summary) in &stored.upgrades {
        if !proved.contains_key(number) {
            proved.insert(*number, prove(summary, repository).await?);
        }
    }
    let find = |summary: &UpgradeSummary| {
        let number = (summary.version, summary.revision);
        proved.get(&number).cloned()
    };
    SystemState::restore(stored, find, now_ms).map_err(|version| ServerError::Repository {
        version: version.0,
        reason: "it does not follow on the versions before it".to_owned(),
    })
}

async fn prove(
    summary: &UpgradeSummary,
    repository: &RepositoryFolder,
) -> Result<Arc<Upgrade>, ServerError> {
    let broken = |reason: String| ServerError::Repository {
        version: summary.version.0,
        reason,
    };
    let digest: Digest = summary
        .manifest_sha256
        .parse()
        .map_err(|error| broken(format!("{error}")))?;
    let manifest = repository
        .text(digest)
        .await
        .map_err(|refusal| broken(refusal.detail))?;
    let upgrade = repository::prove_again(repository, &manifest)
        .await
        .map_err(|refusal| broken(refusal.detail))?;
    repository
        .place_manifest(summary.version, summary.revision, digest)
        .await
        .map_err(|refusal| broken(refusal.detail))?;
    Ok(upgrade)
}
