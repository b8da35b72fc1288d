//! Delivers the history to the receivers of webhooks: a task for each, for which nothing of the server ever waits.
//!
//! The history is the outbox. Every server has these tasks, and one at a time delivers for each webhook, under a lease ([`crate::rules`]). It
//! sends one event after the other, and says now and then how far it has come. What it did not come to say is sent again by whoever goes on:
//! each event is delivered at least once, and in order.

use crate::clock::ServerClock;
use crate::rules::{DeliveryNews, DeliveryStep, LEASE_MS, Order, SERVER};
use crate::state_writer::StateWriter;
use crate::udb::{DeliveryLease, StoredWebhook, Udb, WebhookPlace};
use model::api::{Event, EventKind};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use webhook::{
    EventFilter, EventNotice, EventPlace, RetryPause, SendOutcome, Sender, WebhookSettings,
    event_id,
};

/// How many entries of the history are read at once.
const READ_AT_ONCE: u32 = 200;

/// How often it is looked whether there is something to do that nobody tells of: another setting, a lease that has ended, a pause that is over.
const LOOK_PAUSE: Duration = Duration::from_millis(250);

/// How long what happens in quick succession is collected, so that it is read together.
const GATHER_PAUSE: Duration = Duration::from_millis(20);

/// How often a server that delivers says how far it has come.
const NOTE_PAUSE: Duration = Duration::from_secs(1);

/// How often a lease is renewed while a receiver keeps a server waiting.
const RENEW_PAUSE: Duration = Duration::from_millis(LEASE_MS / 3);

/// A place is written, too, when it is so many entries behind that are not for the receiver, or so old: what is not written is read again
/// after a restart.
const BEHIND_MAX: u64 = 1_000;
const BEHIND_LIMIT: Duration = Duration::from_secs(60);

/// What deliveries work with.
pub(crate) struct Deliverer {
    pub(crate) state_writer: StateWriter,
    pub(crate) udb: Arc<dyn Udb>,
    pub(crate) clock: ServerClock,
    pub(crate) pause: RetryPause,
    /// A random number of this start.
    pub(crate) holder: u64,
}

/// The task of a webhook, as it is set up; it ends with this.
struct RunningDelivery {
    webhook: Arc<StoredWebhook>,
    task: JoinHandle<()>,
}

impl Drop for RunningDelivery {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Keeps a task for each webhook, as they are set up.
pub(crate) async fn run(deliverer: Deliverer) {
    let deliverer = Arc::new(deliverer);
    let mut running: BTreeMap<String, RunningDelivery> = BTreeMap::new();
    loop {
        let wanted = deliverer.state_writer.state().webhooks.clone();
        running.retain(|name, running| {
            let is_same = wanted
                .get(name)
                .is_some_and(|wanted| *wanted == running.webhook);
            is_same && !running.task.is_finished()
        });
        for (name, webhook) in wanted {
            running.entry(name).or_insert_with(|| {
                let delivery = Delivery::run(Arc::clone(&deliverer), Arc::clone(&webhook));
                let task = tokio::spawn(delivery);
                RunningDelivery { webhook, task }
            });
        }
        sleep(LOOK_PAUSE).await;
    }
}

/// The node that an event is about, as the state knows it.
pub(crate) fn place_of(state_writer: &StateWriter, event: &Event) -> EventPlace {
    let state = state_writer.state();
    let node = event.node.as_ref().and_then(|name| state.names.get(name));
    let fact = node.and_then(|node| state.nodes.get(node));
    fact.map_or_else(EventPlace::default, |fact| EventPlace {
        class: Some(fact.class.clone()),
        attributes: fact.attributes.clone(),
    })
}

/// An event with what the state knows besides.
pub(crate) fn notice_of(state_writer: &StateWriter, event: Event) -> EventNotice {
    let class = place_of(state_writer, &event).class;
    let state = state_writer.state();
    let system = state.system.as_ref().map(|(name, _)| name.clone());
    EventNotice::new(event, system.unwrap_or_default(), state.epoch(), class)
}

/// What sends to a webhook's receiver.
pub(crate) async fn sender_of(webhook: &StoredWebhook) -> Result<Sender, String> {
    let settings = WebhookSettings::read(&webhook.name, &webhook.request);
    let settings = settings.map_err(|error| error.to_string())?;
    // It may read the host's certificates.
    let made = tokio::task::spawn_blocking(|| Sender::new(settings)).await;
    made.map_err(|error| error.to_string())?
}

/// The entry of the history that was looked at last.
#[derive(Clone, Debug)]
struct SeenEntry {
    number: u64,
    id: String,
}

/// What one webhook's task knows.
struct Delivery {
    parts: Arc<Deliverer>,
    webhook: Arc<StoredWebhook>,
    sender: Sender,
    seen: Option<SeenEntry>,
    /// What was delivered and not said yet.
    delivered: Option<u64>,
    /// When it was said last how far this has come.
    noted: Instant,
    /// Until when this server is the one that delivers.
    lease: Option<DeliveryLease>,
    /// How often the receiver has not taken the next event.
    attempts: u32,
    /// Another server has delivered meanwhile: what is known here of how far it has come is out of date.
    is_stale: bool,
}

impl Delivery {
    async fn run(parts: Arc<Deliverer>, webhook: Arc<StoredWebhook>) {
        let sender = loop {
            match sender_of(&webhook).await {
                Ok(sender) => break sender,
                Err(why) => {
                    tracing::warn!(webhook = webhook.name, why, "nothing can be sent");
                    sleep(BEHIND_LIMIT).await;
                }
            }
        };
        let mut news = parts.state_writer.last_event();
        let mut delivery = Self {
            parts,
            webhook,
            sender,
            seen: None,
            delivered: None,
            noted: Instant::now(),
            lease: None,
            attempts: 0,
            is_stale: false,
        };
        loop {
            news.borrow_and_update();
            if !delivery.turn().await {
                let news = timeout(delivery.rest_pause(), news.changed()).await;
                if news.is_ok() {
                    sleep(GATHER_PAUSE).await;
                }
            }
        }
    }

    /// Reads on in the history, and delivers; says whether there may be more at once.
    async fn turn(&mut self) -> bool {
        let (place, newest) = {
            let state = self.parts.state_writer.state();
            let Some(place) = state.webhook_places.get(&self.webhook.name) else {
                return false;
            };
            (place.clone(), state.last_event)
        };
        if !self.may_begin(&place) {
            return false;
        }
        self.attempts = place.attempts;
        let position = self.position(&place);
        if position == newest {
            return self.rest(position, &place).await;
        }
        let before = position.saturating_sub(u64::from(self.seen.is_some()));
        let Ok(mut page) = self.parts.udb.events(before, READ_AT_ONCE).await else {
            return false;
        };
        if !self.goes_on(&page, newest) {
            // Another history is there; see `is_still_there`.
            (self.seen, self.delivered) = (None, None);
            return true;
        }
        let last = page.last().map_or(0, |event| event.sequence);
        let may_be_more = page.len() == READ_AT_ONCE as usize && last < newest;
        // What the state does not show yet comes with it: filters look at nodes there.
        page.retain(|event| event.sequence > position && event.sequence <= newest);
        if let Some(gap) = self.gap_before(position, &page) {
            page.insert(0, gap);
        }
        for event in page {
            if !self.take(event, &place).await {
                return std::mem::take(&mut self.is_stale);
            }
        }
        let position = self.position(&place);
        may_be_more || self.rest(position, &place).await
    }

    /// How long there is nothing to do unless something happens.
    fn rest_pause(&self) -> Duration {
        let state = self.parts.state_writer.state();
        let next_ms = state
            .webhook_places
            .get(&self.webhook.name)
            .map_or(0, |place| place.next_try_ms);
        let left_ms = next_ms.saturating_sub(self.parts.clock.now_ms());
        match left_ms {
            0 => LOOK_PAUSE,
            left_ms => Duration::from_millis(left_ms).min(LOOK_PAUSE),
        }
    }

    /// Whether it is this server's turn, now.
    fn may_begin(&self, place: &WebhookPlace) -> bool {
        let now_ms = self.parts.clock.now_ms();
        let is_others = |lease: DeliveryLease| {
            let is_live = lease.until_ms > now_ms && self.parts.udb.is_shared();
            is_live && lease.holder != self.parts.holder
        };
        !place.is_disabled && place.next_try_ms <= now_ms && !place.lease.is_some_and(is_others)
    }

    /// The entry up to which all is done.
    fn position(&self, place: &WebhookPlace) -> u64 {
        let seen = self.seen.as_ref().map_or(0, |seen| seen.number);
        seen.max(place.through)
    }

    /// Whether what was read follows on what was seen: the same entry is still there, or is kept no longer, or something comes after it.
    fn goes_on(&self, page: &[Event], newest: u64) -> bool {
        let Some(seen) = &self.seen else {
            return true;
        };
        match page.first() {
            Some(first) if first.sequence == seen.number => event_id(first) == seen.id,
            Some(_) => true,
            None => seen.number <= newest,
        }
    }

    /// What a receiver is told where entries are missing before the next one.
    fn gap_before(&self, position: u64, page: &[Event]) -> Option<Event> {
        let next = page.first()?;
        let (first, last) = (position + 1, next.sequence - 1);
        (first <= last).then(|| Event {
            sequence: last,
            // The same however often it is sent.
            at_ms: next.at_ms,
            author: SERVER.to_owned(),
            proven: Some(SERVER.to_owned()),
            node: None,
            kind: EventKind::WebhookGap.to_string(),
            version: None,
            message: format!(
                "the history has no entries {first} to {last} any more: they were older than is kept, or were lost when the database was set back"
            ),
        })
    }

    /// Takes one entry: delivers it, if it is for the receiver. Says whether to go on.
    async fn take(&mut self, event: Event, place: &WebhookPlace) -> bool {
        let seen = SeenEntry {
            number: event.sequence,
            id: event_id(&event),
        };
        let is_gap = event.kind == EventKind::WebhookGap.name();
        let is_wanted = is_gap || is_wanted(&self.parts.state_writer, self.sender.filter(), &event);
        if is_wanted && !self.deliver(event, place).await {
            return false;
        }
        if !is_gap {
            self.seen = Some(seen);
        }
        let is_due = self.lease.is_some() && self.noted.elapsed() >= NOTE_PAUSE;
        !is_due || self.note(place, false).await
    }

    /// Sends one event, until the receiver has said something or the lease is lost. Says whether it was taken.
    async fn deliver(&mut self, event: Event, place: &WebhookPlace) -> bool {
        if self.lease.is_none() && !self.begin(place).await {
            return false;
        }
        let number = event.sequence;
        let notice = notice_of(&self.parts.state_writer, event);
        match self.send(&notice, place).await {
            Some(SendOutcome::Taken { .. }) => {
                self.delivered = Some(number);
                true
            }
            Some(SendOutcome::Failed {
                why,
                retry_after_ms,
                is_gone,
            }) => {
                // What went well before is said first: the receiver fails anew.
                if self.delivered.is_some() && !self.note(place, false).await {
                    return false;
                }
                let tries = self.attempts.saturating_add(1);
                let pause_ms = self
                    .parts
                    .pause
                    .after(tries, rand::random(), retry_after_ms);
                let through = self.position(place);
                tracing::debug!(
                    webhook = self.webhook.name,
                    why,
                    pause_ms,
                    "an event was not taken"
                );
                self.say(DeliveryNews::Failed {
                    through,
                    why,
                    pause_ms,
                    is_gone,
                })
                .await;
                false
            }
            None => false,
        }
    }

    /// Takes the lease, if what is known here is what holds now.
    async fn begin(&mut self, known: &WebhookPlace) -> bool {
        if !self.say(DeliveryNews::Begins).await {
            return false;
        }
        let state = self.parts.state_writer.state();
        let now = state.webhook_places.get(&self.webhook.name);
        self.is_stale = now.is_none_or(|now| now.through != known.through);
        !self.is_stale
    }

    /// Sends, and renews the lease meanwhile; nothing where that is lost.
    async fn send(&mut self, notice: &EventNotice, place: &WebhookPlace) -> Option<SendOutcome> {
        let parts = Arc::clone(&self.parts);
        let (webhook, through) = (Arc::clone(&self.webhook), self.position(place));
        let mut until_ms = self.lease?.until_ms;
        let renewing = async {
            loop {
                sleep(RENEW_PAUSE).await;
                let news = DeliveryNews::Done {
                    through,
                    delivered: None,
                    ends: false,
                };
                match parts.say(&webhook, news).await {
                    Ok(Some(place)) => until_ms = place.lease.map_or(0, |lease| lease.until_ms),
                    Ok(None) => return,
                    // The database is away: as long as the lease lasts nobody else delivers.
                    Err(()) if parts.clock.now_ms() >= until_ms => return,
                    Err(()) => {}
                }
            }
        };
        let outcome = tokio::select! {
            outcome = self.sender.send(notice) => Some(outcome),
            () = renewing => None,
        };
        if outcome.is_none() {
            self.lease = None;
        }
        outcome
    }

    /// Says how far it has come.
    async fn note(&mut self, place: &WebhookPlace, ends: bool) -> bool {
        if !self.is_still_there().await {
            return false;
        }
        let through = self.position(place);
        let delivered = self.delivered;
        let noted = self.say(DeliveryNews::Done {
            through,
            delivered,
            ends,
        });
        let is_noted = noted.await;
        if is_noted {
            self.delivered = None;
            self.noted = Instant::now();
        }
        is_noted
    }

    /// Whether the entry that was seen last is still the same one. If not, another history is there (a standby that lacked commits was promoted):
    /// what is written down in it says where to begin.
    async fn is_still_there(&mut self) -> bool {
        let Some(seen) = &self.seen else {
            return true;
        };
        let found = self
            .parts
            .udb
            .events(seen.number.saturating_sub(1), 1)
            .await;
        let Ok(found) = found else {
            return false;
        };
        let is_there = self.goes_on(&found, seen.number);
        if !is_there {
            (self.seen, self.delivered) = (None, None);
        }
        is_there
    }

    /// There is nothing more: gives the lease back, and now and then says how far it has come all the same.
    async fn rest(&mut self, position: u64, place: &WebhookPlace) -> bool {
        let behind = position.saturating_sub(place.through);
        let is_due = behind >= BEHIND_MAX || behind > 0 && self.noted.elapsed() >= BEHIND_LIMIT;
        if self.lease.is_some() || self.delivered.is_some() || is_due {
            self.note(place, true).await;
        }
        false
    }

    /// Tells the state writer; says whether this server may go on.
    async fn say(&mut self, news: DeliveryNews) -> bool {
        let Ok(place) = self.parts.say(&self.webhook, news).await else {
            // Whoever cannot say what came of it sends nothing more.
            self.lease = None;
            return false;
        };
        self.lease = place.as_ref().and_then(|place| place.lease);
        self.attempts = place.as_ref().map_or(0, |place| place.attempts);
        place.is_some()
    }
}

impl Deliverer {
    /// Tells the state writer what is new of a webhook: its place then, or nothing where it is not this server's to deliver. What the database
    /// refuses is said by the state writer.
    async fn say(
        &self,
        webhook: &StoredWebhook,
        news: DeliveryNews,
    ) -> Result<Option<WebhookPlace>, ()> {
        let step = DeliveryStep {
            name: webhook.name.clone(),
            number: webhook.number,
            holder: self.holder,
            is_alone: !self.udb.is_shared(),
            news,
        };
        let order = Order::Deliver(Box::new(step));
        let answer = self.state_writer.ask(order, SERVER.to_owned(), None).await;
        let place = answer.map_err(drop)?;
        serde_json::from_value(place).map_err(drop)
    }
}

/// Whether an event is for a receiver.
pub(crate) fn is_wanted(state_writer: &StateWriter, filter: &EventFilter, event: &Event) -> bool {
    filter.takes(event, &place_of(state_writer, event))
}
