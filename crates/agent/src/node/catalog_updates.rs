//! What the repository says follows the server's views: each new view becomes a new catalog of every upgrade that it lists.

use crate::config::Config;
use crate::error_chain::chain;
use crate::node_catalog::NodeCatalog;
use crate::repository::{Published, Repository, RepositoryError};
use model::api::NodeView;
use model::ids::Version;
use model::release::HistoryError;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How soon a view is tried again whose upgrades could not be fetched.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// A view with everything that follows from it.
#[derive(Debug)]
pub(crate) struct CatalogUpdate {
    pub(crate) view: Arc<NodeView>,
    pub(crate) catalog: Arc<NodeCatalog>,
    pub(crate) upgrades: BTreeMap<Version, Published>,
}

/// Why there is no catalog of a view.
#[derive(Debug, thiserror::Error)]
pub(super) enum CatalogError {
    /// An upgrade that it lists cannot be had.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// The node has no place in it.
    #[error("{0}")]
    History(HistoryError),
}

/// Turns a view into a catalog.
///
/// # Errors
/// Something is missing or wrong.
pub(super) async fn update_of(
    repository: &mut Repository,
    view: Arc<NodeView>,
    config: &Config,
) -> Result<CatalogUpdate, CatalogError> {
    let (history, upgrades) = repository.history(&view).await?;
    let revisions = view
        .upgrades
        .iter()
        .map(|upgrade| (upgrade.version, upgrade.revision))
        .collect();
    let catalog = NodeCatalog::new(history, revisions, config).map_err(CatalogError::History)?;
    Ok(CatalogUpdate {
        view,
        catalog: Arc::new(catalog),
        upgrades,
    })
}

/// Follows the views for as long as the agent lives.
pub(super) async fn follow(
    mut repository: Repository,
    config: Config,
    mut views: watch::Receiver<Option<Arc<NodeView>>>,
    update: watch::Sender<Option<Arc<CatalogUpdate>>>,
) {
    loop {
        let view = views.borrow_and_update().clone();
        let mut failed = false;
        if let Some(view) = view {
            match update_of(&mut repository, view, &config).await {
                Ok(fresh) => {
                    update.send_replace(Some(Arc::new(fresh)));
                }
                Err(error) => {
                    tracing::warn!(problem = chain(&error), "the repository cannot be read");
                    failed = true;
                }
            }
        }
        let retry = async {
            match failed {
                true => tokio::time::sleep(RETRY_PAUSE).await,
                false => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = views.changed() => if changed.is_err() { return },
            () = retry => {}
        }
    }
}
