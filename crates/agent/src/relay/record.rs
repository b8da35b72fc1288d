//! Recording: what passes a service is written down while somebody asks for it. Connections that begin meanwhile pass through
//! the agent; those from before, and all of them while nobody records, know nothing of it.

use super::gate::steps_of;
use super::traffic::LiveTraffic;
use call::Chain;
use conversation::{Conversation, Recording, RecordingOrigin, Told as Recorded};
use model::ids::Version;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::mpsc;

/// How many conversations wait for whoever records; more are dropped and counted, since traffic never waits for a recorder.
const WAITING_MAX: usize = 256;

/// Whoever records which service.
#[derive(Default)]
pub(crate) struct Recorders {
    by_service: Mutex<BTreeMap<String, Arc<Recorder>>>,
}

/// Somebody who records a service.
pub(crate) struct Recorder {
    /// `class/service`, for the conversations.
    name: String,
    /// Headers whose values are secrets.
    secrets: Vec<String>,
    sender: mpsc::Sender<Conversation>,
    on: AtomicBool,
    /// Conversations that were not told whole: too long, not ended, not understood.
    pub(crate) incomplete: AtomicU64,
    /// Conversations that whoever records was too slow for.
    pub(crate) dropped: AtomicU64,
}

impl Recorders {
    fn all(&self) -> parking_lot::MutexGuard<'_, BTreeMap<String, Arc<Recorder>>> {
        self.by_service.lock()
    }

    /// Begins to record a service; `None` where somebody does already.
    pub(crate) fn begin(
        &self,
        service: &str,
        class: &str,
        secrets: Vec<String>,
    ) -> Option<(Arc<Recorder>, mpsc::Receiver<Conversation>)> {
        let mut all = self.all();
        if all.contains_key(service) {
            return None;
        }
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let recorder = Arc::new(Recorder {
            name: format!("{class}/{service}"),
            secrets,
            sender,
            on: AtomicBool::new(true),
            incomplete: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        });
        all.insert(service.to_owned(), recorder.clone());
        Some((recorder, receiver))
    }

    /// Ends the recording of a service.
    pub(crate) fn end(&self, service: &str) {
        if let Some(recorder) = self.all().remove(service) {
            recorder.on.store(false, Ordering::Relaxed);
        }
    }

    /// Who records a service.
    pub(super) fn of(&self, service: &str) -> Option<Arc<Recorder>> {
        self.all().get(service).cloned()
    }

    /// Whether a service is recorded: then its connections go to the agent.
    pub(crate) fn has(&self, service: &str) -> bool {
        self.all().contains_key(service)
    }
}

impl Recorder {
    /// Whether it still records.
    pub(super) fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// The chain of one call with what passes it written down.
    pub(super) fn record(
        self: &Arc<Self>,
        chain: &Chain,
        traffic: &LiveTraffic,
        service: &str,
        caller: Version,
    ) -> Chain {
        let Some(direction) = chain.direction() else {
            return Recording::new(Vec::new(), None).of(chain);
        };
        let upgrades = steps_of(traffic, service, caller);
        let recorder = self.clone();
        let sink = move |told: Vec<Recorded>| {
            for one in told {
                let upgrade = upgrades.get(one.step).copied().unwrap_or_default();
                recorder.take(one, caller, upgrade);
            }
        };
        let recording = Recording::new(vec![direction; chain.len()], Some(Box::new(sink)));
        recording.of(chain)
    }

    fn take(&self, told: Recorded, caller: Version, upgrade: Version) {
        if told.incomplete.is_some() {
            self.incomplete.fetch_add(1, Ordering::Relaxed);
        } else {
            self.tell(told.conversation, caller, upgrade);
        }
    }

    /// Takes one conversation.
    pub(super) fn tell(&self, mut conversation: Conversation, caller: Version, version: Version) {
        if !self.is_on() {
            return;
        }
        conversation.recorded = Some(RecordingOrigin {
            service: self.name.clone(),
            caller_version: caller.0,
            version: version.0,
        });
        conversation.redact(&self.secrets);
        if self.sender.try_send(conversation).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}
