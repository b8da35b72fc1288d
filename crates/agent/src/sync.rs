//! The conversation with the upgrade server: enrolment, reports out, the node's view in; all of it cached on disk, so
//! that a node goes on at its version, and recovers, while the server is away.

use crate::cached::{load, save};
use crate::config::Config;
use crate::contact::{Contact, ServerAnswer};
use crate::enrolment::{CONFLICT, enrol_certified, keep, request};
use crate::layout::Layout;
use crate::meters::NodeMeters;
use crate::own_credential::{FORBIDDEN, OwnCredential};
use crate::server_memory::{ServerMemory, remembered};
use crate::vital::Vital;
use client::{Client, ClientError};
use model::api::{
    Disagreement, EVENTS_PER_SYNC_MAX, EnrolRequest, Enrolled, HeldUpgrade, Moment, NewEvent,
    NodeIdentity, NodeReport, NodeView, OnceOrder, Phase, RememberedSystem, SyncNumber,
    SyncRequest,
};
use model::ids::{NodeId, Version};
use model::machine::Place;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc, watch};

/// Two syncs are at least so far apart, however much happens.
const SYNC_GAP: Duration = Duration::from_millis(50);

/// A sync that failed is tried again after this, or after the poll interval if that is shorter.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// The problem that says that a node was forgotten.
const FORGOTTEN: &str = "/problems/node-forgotten";

/// The problem that says that the server does not know the node.
const UNKNOWN: &str = "/problems/unknown-node";

/// The problem that says that the server has begun anew, and may have lost what it was told.
pub(crate) const TELL_EVERYTHING: &str = "/problems/tell-everything";

/// The problem that says that the node's certificate has expired.
const EXPIRED: &str = "/problems/certificate-expired";

/// How many events wait for a server that is away; older ones are dropped, the journal has what matters.
const EVENTS_KEPT_MAX: usize = 4_096;

/// What the rest of the agent holds of the conversation.
#[derive(Clone)]
pub(crate) struct ServerLink {
    /// Asks the server at once: an unknown label has come, or something changed.
    pub(crate) wake: Arc<Notify>,
    /// What happened, for the history.
    events: mpsc::UnboundedSender<NewEvent>,
    /// What the server last heard this node to run; none before the first answer.
    pub(crate) heard: watch::Receiver<Option<HeardByServer>>,
    /// The last view; none before the first answer.
    pub(crate) view: watch::Receiver<Option<Arc<NodeView>>>,
    /// An operator has forgotten the node.
    pub(crate) forgotten: watch::Receiver<bool>,
    /// The server has given the node another number: the agent is to begin anew.
    pub(crate) renumbered: watch::Receiver<bool>,
    /// What the server does not have as it lies at the node: its views are not followed then.
    pub(crate) disagreement: watch::Receiver<Option<Disagreement>>,
    /// What the node is to do once for the whole system, as it was told last.
    pub(crate) once: watch::Receiver<Option<OnceOrder>>,
    /// The newest moment of the server's history that was seen.
    pub(crate) moment: watch::Receiver<Option<Moment>>,
    /// Why the node takes nothing new from the server, in words; none while it does.
    pub(crate) distrust: Arc<Mutex<Option<String>>>,
    /// What is counted for those who watch.
    pub(crate) meters: Arc<NodeMeters>,
}

/// What the server was told that a node runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeardByServer {
    /// The version at which it has settled.
    pub(crate) version: Version,
    /// Whose software it runs, where it runs some.
    pub(crate) bundle: Option<Place>,
    /// That it is blocked.
    pub(crate) blocked: bool,
}

impl ServerLink {
    /// Tells the history what happened.
    pub(crate) fn tell(&self, event: NewEvent) {
        self.meters.note_event(&event.kind);
        // The receiver lives as long as the agent; at its end nobody is left to tell.
        let _ = self.events.send(event);
    }
}

/// Starts the conversation. It ends with the runtime.
pub(crate) fn start(
    (client, credential): (Arc<Client>, Option<Arc<OwnCredential>>),
    config: &Config,
    enrolled: &Enrolled,
    layout: &Layout,
    holds: Vec<HeldUpgrade>,
    report: watch::Receiver<Option<NodeReport>>,
    vital: &Vital,
) -> ServerLink {
    let cache = layout.view();
    // One that is older than what lies here would have the node drop it.
    let known = load::<NodeView>(&cache).filter(|view| view.disagrees_with(&holds).is_none());
    let (view_sender, view) = watch::channel(known.map(Arc::new));
    let (heard_sender, heard) = watch::channel(None);
    let (events, event_receiver) = mpsc::unbounded_channel();
    let wake = Arc::new(Notify::new());
    let (forgotten, is_forgotten) = watch::channel(false);
    let (renumbered, is_renumbered) = watch::channel(false);
    let (disagreement, found) = watch::channel(None);
    let (once_sender, once) = watch::channel(None);
    let memory = ServerMemory::load(layout);
    let meters: Arc<NodeMeters> = Arc::default();
    let moment = memory.subscribe();
    let conversation = ServerConversation {
        client,
        credential,
        node: enrolled.node,
        identity: NodeIdentity {
            system_id: enrolled.system_id,
            name: config.name.clone(),
        },
        enrolling: request(config, layout, Some(enrolled), &holds),
        system: enrolled.system.clone(),
        holds,
        memory,
        wants_everything: false,
        disagreement,
        once: once_sender,
        layout: layout.clone(),
        poll: Duration::from_millis(config.poll_ms),
        cache: cache.into_boxed_path(),
        wake: wake.clone(),
        report,
        events: event_receiver,
        waiting: VecDeque::new(),
        view: view_sender,
        heard: heard_sender,
        reached: false,
        sent: first_number(),
        forgotten,
        renumbered,
        contact: Contact::default(),
        meters: Arc::clone(&meters),
    };
    vital.spawn("conversation with the server", conversation.run());
    ServerLink {
        wake,
        events,
        heard,
        view,
        forgotten: is_forgotten,
        renumbered: is_renumbered,
        disagreement: found,
        once,
        moment,
        distrust: Arc::default(),
        meters,
    }
}

struct ServerConversation {
    client: Arc<Client>,
    /// The node's key and certificate, where the server is asked over TLS.
    credential: Option<Arc<OwnCredential>>,
    node: NodeId,
    identity: NodeIdentity,
    /// How the node enrols again.
    enrolling: EnrolRequest,
    system: String,
    /// What lay at the node when the agent started; its reports say what does since.
    holds: Vec<HeldUpgrade>,
    memory: ServerMemory,
    /// The server has begun anew, or has enrolled the node anew: it is told everything.
    wants_everything: bool,
    layout: Layout,
    poll: Duration,
    cache: Box<Path>,
    wake: Arc<Notify>,
    report: watch::Receiver<Option<NodeReport>>,
    events: mpsc::UnboundedReceiver<NewEvent>,
    waiting: VecDeque<NewEvent>,
    view: watch::Sender<Option<Arc<NodeView>>>,
    heard: watch::Sender<Option<HeardByServer>>,
    /// The server has answered since this agent started: only then is the cached view's number worth telling.
    reached: bool,
    /// The last message of this agent.
    sent: SyncNumber,
    /// The server has said that the node was forgotten.
    forgotten: watch::Sender<bool>,
    renumbered: watch::Sender<bool>,
    disagreement: watch::Sender<Option<Disagreement>>,
    once: watch::Sender<Option<OnceOrder>>,
    /// What was said of the server.
    contact: Contact,
    /// What is counted for those who watch.
    meters: Arc<NodeMeters>,
}

impl ServerConversation {
    async fn run(mut self) {
        let mut sent: Option<NodeReport> = None;
        loop {
            self.collect_events();
            let report = self.report.borrow_and_update().clone();
            let everything = self.wants_everything;
            let is_news = everything || report != sent;
            let synced = self.sync(report.clone().filter(|_| is_news)).await;
            if self.wants_everything && !everything {
                tokio::time::sleep(SYNC_GAP).await;
                continue;
            }
            self.note(&synced);
            let pause = match synced {
                Ok(()) => {
                    self.note_known();
                    let heard = report.as_ref().map(|report| HeardByServer {
                        version: report.status.version,
                        bundle: report.status.bundle,
                        blocked: report.status.phase == Phase::Blocked,
                    });
                    self.heard.send_replace(heard);
                    sent = report;
                    jittered(self.poll)
                }
                Err(error) => {
                    self.note_forgotten(&error);
                    if error.kind() == Some(EXPIRED)
                        && let Some(credential) = &self.credential
                    {
                        credential.has_expired();
                    }
                    // With a one-time token the node has yet to become known, which its server could not do before.
                    let is_unknown = error.kind() == Some(FORBIDDEN)
                        && self.credential.is_some()
                        && !self.client.shows_credential();
                    if is_unknown || matches!(error.kind(), Some(CONFLICT | UNKNOWN)) {
                        self.enrol_again().await;
                    }
                    jittered(self.poll.min(RETRY_PAUSE))
                }
            };
            tokio::time::sleep(SYNC_GAP).await;
            if !self.waiting.is_empty() && self.reached {
                continue;
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.wake.notified() => {}
                changed = self.report.changed() => if changed.is_err() { return },
                event = self.events.recv() => match event {
                    Some(event) => self.waiting.push_back(event),
                    None => return,
                },
            }
        }
    }

    /// Says how the server answers, where that is news.
    fn note(&mut self, synced: &Result<(), ClientError>) {
        let answer = match synced {
            Ok(()) => ServerAnswer::Good,
            Err(error) => ServerAnswer::of(error),
        };
        let is_good = answer == ServerAnswer::Good;
        self.meters.note_contact(is_good);
        match self.contact.note(Instant::now(), answer) {
            Some(said) if is_good => tracing::info!("{said}"),
            // What that means says the next message.
            Some(said) if synced.as_ref().is_err_and(is_forgotten) => tracing::warn!("{said}"),
            Some(said) => tracing::warn!("{said}; the node serves on, and upgrades wait"),
            None => {}
        }
    }

    /// Says once that the node was forgotten: the others do not know it any more, so that nobody can tell in whose words they call it.
    fn note_forgotten(&mut self, error: &ClientError) {
        if is_forgotten(error) && !*self.forgotten.borrow() {
            tracing::warn!(
                "this node was forgotten by an operator: its software runs on, but whoever calls it is reset, and it takes part in nothing, as the server says above; `upstart stop` ends the software"
            );
            self.forgotten.send_replace(true);
        }
    }

    /// A server whose database was set back knows a node again that was forgotten since.
    fn note_known(&self) {
        if *self.forgotten.borrow() {
            tracing::warn!(
                "the server knows this node again, which was forgotten: it takes part as before; forget it again if it should not"
            );
            self.forgotten.send_replace(false);
        }
    }

    /// Asks for a number where the server knows this one as another node's, or not at all. A server of another system gives none.
    async fn enrol_again(&mut self) {
        let moment = self.memory.moment();
        let request = EnrolRequest {
            remembered: moment.map(|_| Box::new(self.remembered())),
            moment,
            holds: self.held(),
            ..self.enrolling.clone()
        };
        let enrolled = enrol_certified(&self.client, self.credential.as_deref(), request).await;
        let enrolled = match enrolled {
            Ok(enrolled) => enrolled,
            Err(error) => {
                tracing::debug!(%error, "not enrolled anew");
                return;
            }
        };
        self.wants_everything = true;
        if enrolled.node != self.node && !*self.renumbered.borrow() {
            tracing::warn!(
                number = %enrolled.node,
                "the server has given this node another number: the agent begins anew with it"
            );
            keep(&self.layout, &self.identity.name, &enrolled);
            self.renumbered.send_replace(true);
        }
    }

    fn remembered(&self) -> RememberedSystem {
        remembered(&self.system, self.view.borrow().as_deref())
    }

    /// What lies at the node.
    fn held(&self) -> Vec<HeldUpgrade> {
        let report = self.report.borrow();
        report
            .as_ref()
            .map_or_else(|| self.holds.clone(), |report| report.holds.clone())
    }

    /// Follows a view of a server that has what lies here. The view of one that lags, or has something else, is none: nothing is
    /// dropped, promised or begun by it.
    fn take(&self, view: NodeView) {
        let held = self.held();
        let found = view.disagrees_with(&held);
        let agrees = found.is_none();
        self.disagreement.send_if_modified(|before| {
            let differs = *before != found;
            *before = found;
            differs
        });
        if agrees {
            let (mut view, is_part) = view.without_replaced(&held);
            if is_part {
                // No number of a view: the whole one is asked for until it can be followed.
                view.view = 0;
            }
            save(&self.cache, &view);
            self.view.send_replace(Some(Arc::new(view)));
        }
    }

    fn collect_events(&mut self) {
        while let Ok(event) = self.events.try_recv() {
            self.waiting.push_back(event);
        }
        while self.waiting.len() > EVENTS_KEPT_MAX {
            self.waiting.pop_front();
        }
    }

    async fn sync(&mut self, report: Option<NodeReport>) -> Result<(), ClientError> {
        let count = self.waiting.len().min(EVENTS_PER_SYNC_MAX);
        self.sent.number += 1;
        let seen_view = self.view.borrow().as_ref().map(|view| view.view);
        let request = SyncRequest {
            seen_view: seen_view.filter(|_| self.reached && !self.wants_everything),
            report,
            identity: Some(self.identity.clone()),
            number: Some(self.sent),
            moment: self.memory.moment(),
            remembered: self.wants_everything.then(|| Box::new(self.remembered())),
            events: self.waiting.iter().take(count).cloned().collect(),
        };
        let answer = self.client.sync(self.node, &request, None).await;
        self.reached = answer.is_ok();
        self.wants_everything = match &answer {
            Ok(_) => false,
            Err(error) => self.wants_everything || error.kind() == Some(TELL_EVERYTHING),
        };
        let answer = answer?;
        self.waiting.drain(..count);
        self.memory.saw(answer.moment);
        let order = answer.once;
        self.once.send_if_modified(|known| {
            let is_news = order.is_some() && *known != order;
            if is_news {
                known.clone_from(&order);
            }
            is_news
        });
        if let Some(view) = answer.view {
            self.take(view);
        }
        Ok(())
    }
}

/// The number before the first message of an agent.
fn first_number() -> SyncNumber {
    SyncNumber {
        life: rand::random(),
        number: 0,
    }
}

/// Whether a node is told that it was forgotten.
fn is_forgotten(error: &ClientError) -> bool {
    error.kind() == Some(FORGOTTEN)
}

/// Between 80 % and 120 % of `interval`, so that nodes that started together do not ask together.
fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(rand::random_range(0.8..1.2))
}
