//! What the agent remembers of its server: the newest moment of its history that was seen. A server that does not have it was set
//! back, and finds out by being told.

use crate::cached::{load, save, save_durably};
use crate::layout::Layout;
use model::api::{Moment, NodeView, RememberedSystem};
use std::path::PathBuf;
use tokio::sync::watch;

/// The newest moment that was seen, on disk too.
pub(crate) struct ServerMemory {
    file: PathBuf,
    moment: watch::Sender<Option<Moment>>,
}

impl ServerMemory {
    /// What an earlier agent has seen.
    pub(crate) fn load(layout: &Layout) -> Self {
        let file = layout.heard().join("moment.json");
        let moment = watch::Sender::new(load(&file));
        Self { file, moment }
    }

    pub(crate) fn moment(&self) -> Option<Moment> {
        *self.moment.borrow()
    }

    /// Whoever asks the server beside the conversation tells it the same.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Option<Moment>> {
        self.moment.subscribe()
    }

    /// Takes in what a server has answered; one from before tells nothing.
    pub(crate) fn saw(&self, answered: Option<Moment>) {
        let (Some(now), before) = (answered, self.moment()) else {
            return;
        };
        if before == Some(now) {
            return;
        }
        match before {
            Some(before) if before.is_of_the_life_of(&now) => save(&self.file, &now),
            _ => self.begin(before, &now),
        }
        self.moment.send_replace(Some(now));
    }

    /// Another life is kept beyond a power cut.
    fn begin(&self, before: Option<Moment>, now: &Moment) {
        if before.is_some_and(|before| before.epoch != now.epoch) {
            tracing::warn!(
                epoch = now.epoch,
                "the upgrade server's database was set back, or replaced: it is told everything anew, and the node serves on"
            );
        }
        if let Err(error) = save_durably(&self.file, now) {
            tracing::warn!(path = %self.file.display(), %error, "cannot cache");
        }
    }
}

/// What is known of the system, for a server that may have lost it.
pub(crate) fn remembered(system: &str, view: Option<&NodeView>) -> RememberedSystem {
    let mut told = view.map(NodeView::remembered).unwrap_or_default();
    // Before version 1 is published, a view does not name it.
    if told.system.is_empty() {
        system.clone_into(&mut told.system);
    }
    told
}
