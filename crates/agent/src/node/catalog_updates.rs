//! What the repository says follows the server's views: each new view becomes a new catalog of every upgrade that it lists.

use super::clock::NodeClock;
use crate::cached;
use crate::config::Config;
use crate::error_chain::chain;
use crate::layout::Layout;
use crate::node_catalog::NodeCatalog;
use crate::repository::{Published, REFRESH_EVERY, Repository, RepositoryError};
use crate::sync::ServerLink;
use model::api::{EventKind, NewEvent, NodeView};
use model::ids::Version;
use model::release::HistoryError;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How soon a view is tried again whose upgrades could not be fetched.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// The same where something is not signed yet: the server lists what is published a moment before it has sealed it.
const SEAL_PAUSE: Duration = Duration::from_millis(100);

/// How often that is tried before it is a problem.
const SEAL_TRIES: u32 = 20;

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

/// Turns a view into a catalog, if its publishers have signed what it lists.
///
/// # Errors
/// Something is missing or wrong, or not signed.
pub(super) async fn update_of(
    repository: &mut Repository,
    view: Arc<NodeView>,
    config: &Config,
) -> Result<CatalogUpdate, CatalogError> {
    repository.check(&view).await?;
    update_of_checked(repository, view, config).await
}

/// Turns a view that was checked before into a catalog: that takes no signature, so that nothing keeps a node from starting again.
///
/// # Errors
/// Something is missing or wrong.
pub(super) async fn update_of_checked(
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

/// Why the node takes nothing new from its server, as people are told it; none while it does.
pub(super) type ShownDistrust = Arc<Mutex<Option<String>>>;

/// Follows the views for as long as the agent lives.
pub(super) async fn follow(
    mut repository: Repository,
    config: Config,
    layout: Layout,
    link: ServerLink,
    update: watch::Sender<Option<Arc<CatalogUpdate>>>,
    distrust: ShownDistrust,
) {
    let mut views = link.view.clone();
    let mut failures = Failures { count: 0, distrust };
    loop {
        let view = views.borrow_and_update().clone();
        // A root that was rotated is looked for though nothing new is published.
        let mut pause = REFRESH_EVERY;
        if let Some(view) = view {
            match update_of(&mut repository, view, &config).await {
                Ok(fresh) => {
                    failures.are_over();
                    cached::save(&layout.used_view(), fresh.view.as_ref());
                    update.send_replace(Some(Arc::new(fresh)));
                }
                Err(error) => pause = failures.note(&error, &link),
            }
        }
        tokio::select! {
            changed = views.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// How often a view could not be used, and what was said of it.
struct Failures {
    count: u32,
    distrust: ShownDistrust,
}

impl Failures {
    fn are_over(&mut self) {
        self.count = 0;
        *self.distrust.lock() = None;
    }

    /// Says what is in the way where that is news; gives the pause before the next try.
    fn note(&mut self, error: &CatalogError, link: &ServerLink) -> Duration {
        self.count += 1;
        let repository = match error {
            CatalogError::Repository(error) => Some(error),
            CatalogError::History(_) => None,
        };
        let is_unsigned = matches!(repository, Some(RepositoryError::Unsigned { .. }));
        if is_unsigned && self.count <= SEAL_TRIES {
            return SEAL_PAUSE;
        }
        let problem = chain(error);
        tracing::warn!(problem, "the repository cannot be read");
        let is_distrust = repository.is_some_and(RepositoryError::is_distrust);
        if is_distrust {
            let message = format!("takes nothing new, and serves on with what it has: {problem}");
            let before = self.distrust.lock().replace(message.clone());
            if before.as_ref() != Some(&message) {
                link.tell(NewEvent {
                    kind: EventKind::NodeDistrusts.name().to_owned(),
                    version: None,
                    message,
                    node_at_ms: NodeClock::new().now_ms(),
                });
            }
        }
        RETRY_PAUSE
    }
}
