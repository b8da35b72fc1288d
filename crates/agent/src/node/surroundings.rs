//! What every part of an agent uses: who the node is, where its data lies, and whom it speaks to.

use super::catalog_updates::CatalogUpdate;
use super::clock::NodeClock;
use crate::birth::Birth;
use crate::config::Config;
use crate::holder_client::HolderClient;
use crate::layout::Layout;
use crate::relay::LabelIdentity;
use crate::sync::ServerLink;
use client::Client;
use model::api::{EventKind, NewEvent, Progress};
use model::ids::Version;
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::watch;

/// What an agent was started with. None of it is replaced while it runs.
pub(super) struct Surroundings {
    pub(super) config: Config,
    pub(super) layout: Layout,
    /// This program, started again for the holder, the launcher and the transform runner.
    pub(super) binary: PathBuf,
    pub(super) identity: LabelIdentity,
    /// The version at which the node joined.
    pub(super) join_version: Version,
    pub(super) clock: NodeClock,
    pub(super) client: Arc<Client>,
    pub(super) holder: HolderClient,
    pub(super) link: ServerLink,
    /// What the repository says, anew with every view; none before the first.
    pub(super) catalog_updates: watch::Receiver<Option<Arc<CatalogUpdate>>>,
    pub(super) progress: ShownProgress,
    /// Where artifacts are served to other nodes, as long as they are.
    pub(super) artifacts_at: Mutex<Option<SocketAddr>>,
    /// What is to be told where the software has other variables than the agent was given.
    pub(super) variables_kept: Option<String>,
    /// Which directory the data directory is.
    pub(super) home: Option<Birth>,
}

/// The server has said nothing yet.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("nothing has been heard from the server since the agent started")]
pub(super) struct NothingHeard;

impl Surroundings {
    /// Tells the history what happened.
    pub(super) fn tell(&self, kind: EventKind, version: Option<Version>, message: String) {
        self.link.tell(NewEvent {
            kind: kind.name().to_owned(),
            version,
            message,
            node_at_ms: self.clock.now_ms(),
        });
    }

    /// What the repository says now.
    ///
    /// # Errors
    /// It is not known yet.
    pub(super) fn catalog_update(&self) -> Result<Arc<CatalogUpdate>, NothingHeard> {
        self.catalog_updates.borrow().clone().ok_or(NothingHeard)
    }
}

/// How far a long piece of work is, as the node's report shows it.
#[derive(Debug, Default)]
pub(super) struct ShownProgress(Mutex<Option<Progress>>);

impl ShownProgress {
    /// What is shown now.
    pub(super) fn now(&self) -> Option<Progress> {
        self.0.lock().clone()
    }

    /// Shows something whose end nobody can tell.
    pub(super) fn show(&self, what: String) {
        self.set(Some(Progress {
            what,
            done: 0,
            total: None,
            unit: String::new(),
        }));
    }

    /// Shows how many bytes of something are done.
    pub(super) fn show_bytes(&self, what: String, done: u64, total: u64) {
        self.set(Some(Progress {
            what,
            done,
            total: Some(total),
            unit: "bytes".to_owned(),
        }));
    }

    /// Shows nothing any more.
    pub(super) fn clear(&self) {
        self.set(None);
    }

    fn set(&self, progress: Option<Progress>) {
        *self.0.lock() = progress;
    }
}
