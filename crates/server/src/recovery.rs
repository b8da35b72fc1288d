//! The state as the database and the repository have it together: what was published is proved again from its texts.

use crate::error::ServerError;
use crate::repository::{self, ProvedBundle, RepositoryTexts};
use crate::state::SystemState;
use crate::udb::{Change, ChangeSet, KeptText, Stored, UdbError};
use model::api::UpgradeSummary;
use model::bundle::Upgrade;
use model::ids::{Place, Revision, Version};
use model::manifest::Digest;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Upgrades that were proved, by version and revision.
pub(crate) type ProvedUpgrades = BTreeMap<(Version, Revision), Arc<Upgrade>>;

/// Proves every published revision that is not known from its texts, keeps in the database those that it does not have, and puts static
/// manifests where they belong.
///
/// # Errors
/// Neither the repository nor the database has a text that it needs.
pub(crate) async fn recover(
    mut stored: Stored,
    texts: &RepositoryTexts<'_>,
    mut proved: ProvedUpgrades,
    now_ms: u64,
) -> Result<SystemState, ServerError> {
    let mut unkept = Vec::new();
    for (number, summary) in &stored.upgrades {
        if !proved.contains_key(number) {
            let bundle = prove(summary, texts).await?;
            proved.insert(*number, bundle.upgrade);
            let texts = bundle.texts.into_iter();
            unkept.extend(texts.filter(|text| !stored.texts.contains(&text.sha256)));
        }
    }
    keep(&mut stored, texts, unkept).await;
    let find = |summary: &UpgradeSummary| {
        let number = (summary.version, summary.revision);
        proved.get(&number).cloned()
    };
    SystemState::restore(stored, find, now_ms).map_err(|version| ServerError::Repository {
        version: version.0,
        reason: "it does not follow on the versions before it".to_owned(),
    })
}

/// Keeps texts of earlier builds' publications; what the database does not take now is kept at another start.
async fn keep(stored: &mut Stored, texts: &RepositoryTexts<'_>, unkept: Vec<KeptText>) {
    if unkept.is_empty() {
        return;
    }
    let keeping = ChangeSet {
        expected: stored.generation,
        generation: stored.generation + 1,
        view: stored.view,
        changes: unkept.into_iter().map(Change::Text).collect(),
    };
    match texts.udb.commit(keeping).await {
        Ok(()) => stored.generation += 1,
        // Another server was quicker.
        Err(UdbError::Conflict) => {}
        Err(error) => {
            tracing::warn!(%error, "the texts of what is published are not kept in the database yet");
        }
    }
}

async fn prove(
    summary: &UpgradeSummary,
    texts: &RepositoryTexts<'_>,
) -> Result<ProvedBundle, ServerError> {
    let broken = |reason: String| ServerError::Repository {
        version: summary.version.0,
        reason,
    };
    let digest: Digest = summary
        .manifest_sha256
        .parse()
        .map_err(|error| broken(format!("{error}")))?;
    let bundle = repository::prove_again(digest, texts)
        .await
        .map_err(|refusal| broken(refusal.detail))?;
    let place = Place {
        version: summary.version,
        revision: summary.revision,
    };
    let manifest = &bundle.texts[0].text;
    if let Err(refusal) = texts.repository.place_manifest(place, manifest).await {
        // It is served from its artifact; only mirrors look for it there.
        tracing::error!(%place, detail = refusal.detail, "the signed manifest is not where mirrors look for it");
    }
    Ok(bundle)
}
