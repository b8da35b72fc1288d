//! How calls are treated over time: the picture that they go by, who watches it, and how many run.

use super::picture::Picture;
use crate::node_catalog::NodeCatalog;
use model::bundle::Settings;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// The picture, who watches it, and how many calls run by it.
pub(crate) struct LiveTraffic {
    picture: watch::Sender<Arc<Picture>>,
    running: AtomicUsize,
    idle: Notify,
    /// Rung when a caller's version is not known here: the server is asked.
    pub(crate) wake: Arc<Notify>,
}

impl LiveTraffic {
    /// Begins with this picture.
    pub(crate) fn new(picture: Picture, wake: Arc<Notify>) -> Arc<Self> {
        Arc::new(Self {
            picture: watch::Sender::new(Arc::new(picture)),
            running: AtomicUsize::new(0),
            idle: Notify::new(),
            wake,
        })
    }

    /// The picture now.
    pub(crate) fn picture(&self) -> Arc<Picture> {
        self.picture.borrow().clone()
    }

    /// What the repository says, as it concerns this node.
    pub(crate) fn catalog(&self) -> Arc<NodeCatalog> {
        self.picture.borrow().catalog.clone()
    }

    /// What holds for the upgrade under way, or for the last one.
    pub(crate) fn settings(&self) -> Settings {
        let picture = self.picture();
        let newest = picture.standing.staged.max(picture.standing.version);
        picture.catalog.settings(newest)
    }

    /// Whether this is the picture now.
    pub(crate) fn is_current(&self, picture: &Arc<Picture>) -> bool {
        Arc::ptr_eq(&self.picture.borrow(), picture)
    }

    /// Follows the picture.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<Picture>> {
        self.picture.subscribe()
    }

    /// Changes the picture; whoever waits looks again.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Picture)) {
        self.picture
            .send_modify(|picture| change(Arc::make_mut(picture)));
    }

    /// Counts a call as running until the guard is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> RunningCall {
        self.running.fetch_add(1, Ordering::SeqCst);
        RunningCall(self.clone())
    }

    /// How many calls run.
    pub(crate) fn running(&self) -> usize {
        self.running.load(Ordering::SeqCst)
    }

    /// Waits until no call runs, at most `limit`; says whether that was reached.
    pub(crate) async fn quiet(&self, limit: Duration) -> bool {
        let quiet = async {
            loop {
                let idle = self.idle.notified();
                if self.running() == 0 {
                    return;
                }
                idle.await;
            }
        };
        tokio::time::timeout(limit, quiet).await.is_ok()
    }
}

/// A running call.
pub(crate) struct RunningCall(Arc<LiveTraffic>);

impl Drop for RunningCall {
    fn drop(&mut self) {
        if self.0.running.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}
