//! Webhooks: set up by admins, and delivered by one server at a time, which says how far it has come.
//!
//! What is delivered is the history itself, so that nothing is queued anywhere: of each webhook only a place in the history is kept. A server
//! that delivers holds a lease on that place. It ends with what it says last, or some seconds after its death.

use super::Draft;
use crate::problem::{Kind, RequestRefusal, refuse};
use crate::udb::{Change, DeliveryLease, StoredWebhook, WebhookChange, WebhookPlace};
use model::api::{EventKind, WebhookRequest, WebhookStart};
use std::sync::Arc;
use webhook::{WebhookSettings, origin};

/// The author of what a server does by itself.
pub(crate) const SERVER: &str = "server";

/// The most webhooks: each is a task of every server, and reads the history.
const WEBHOOKS_MAX: usize = 32;

/// How long a server that says nothing more is still believed to deliver. While a receiver takes its time, the lease is renewed.
pub(crate) const LEASE_MS: u64 = 6_000;

/// How often they are told of one webhook at most: what is told is itself sent to receivers.
const TOLD_PAUSE_MS: u64 = 3_600_000;

/// The longest description of a trouble that is kept, in letters.
const TROUBLE_LETTERS_MAX: usize = 400;

/// What a server has to say of a delivery.
#[derive(Clone, Debug)]
pub(crate) struct DeliveryStep {
    pub(crate) name: String,
    /// Which settings it goes by.
    pub(crate) number: u64,
    /// A random number of the server's start.
    pub(crate) holder: u64,
    /// No other server is there: a lease that is left over is of an earlier start.
    pub(crate) is_alone: bool,
    pub(crate) news: DeliveryNews,
}

/// What is new.
#[derive(Clone, Debug)]
pub(crate) enum DeliveryNews {
    /// It wants to deliver.
    Begins,
    /// Up to an entry all is done.
    Done {
        through: u64,
        /// The last that the receiver has taken.
        delivered: Option<u64>,
        /// For now it delivers nothing more.
        ends: bool,
    },
    /// The receiver has not taken the entry after this one.
    Failed {
        through: u64,
        why: String,
        pause_ms: u64,
        is_gone: bool,
    },
}

/// There is no such webhook; says how to see which there are.
pub(crate) fn unknown_webhook(name: &str) -> RequestRefusal {
    refuse(
        Kind::UNKNOWN_WEBHOOK,
        format!("There is no webhook `{name}`; `upstart webhooks list` shows them all."),
    )
}

/// Sets a webhook up, or changes it: then it goes on where it was, with the secrets that it had unless others are given.
pub(super) fn set(
    draft: &mut Draft<'_>,
    name: &str,
    request: &WebhookRequest,
) -> Result<(), RequestRefusal> {
    let known = draft.state.webhooks.get(name);
    let mut request = request.clone();
    if let Some(known) = known {
        if request.secrets.is_empty() {
            request.secrets.clone_from(&known.request.secrets);
        }
        let is_same_form = request.format == known.request.format;
        if request.password.is_none() && is_same_form {
            request.password.clone_from(&known.request.password);
        }
    }
    let settings = WebhookSettings::read(name, &request);
    settings
        .map_err(|error| refuse(Kind::INVALID, format!("The webhook is of no use: {error}.")))?;
    if known.is_none() && draft.state.webhooks.len() >= WEBHOOKS_MAX {
        let detail = format!("There are {WEBHOOKS_MAX} webhooks, and no more can be; remove one.");
        return Err(refuse(Kind::INVALID, detail));
    }
    let place = match (draft.state.webhook_places.get(name), request.from) {
        (Some(place), _) if known.is_some() => tried_at_once(place),
        (_, start) => WebhookPlace {
            name: name.to_owned(),
            epoch: draft.state.epoch(),
            through: match start {
                WebhookStart::Newest => draft.state.last_event,
                WebhookStart::Oldest => 0,
            },
            ..WebhookPlace::default()
        },
    };
    let what = if known.is_some() { "changed" } else { "added" };
    let (format, to) = (request.format, origin(&request.to.0));
    let webhook = StoredWebhook {
        name: name.to_owned(),
        number: draft.state.last_event + 1,
        request,
        author: draft.context.author.clone(),
        changed_at_ms: draft.now_ms(),
    };
    draft.change(Change::Webhook(WebhookChange::Set(Arc::new(webhook))));
    draft.change(Change::Webhook(WebhookChange::Place(place)));
    let message = format!("the webhook {name} is {what}: {format} to {to}");
    draft.event(EventKind::WebhookChanged, None, None, message);
    Ok(())
}

pub(super) fn remove(draft: &mut Draft<'_>, name: &str) -> Result<(), RequestRefusal> {
    if !draft.state.webhooks.contains_key(name) {
        return Err(unknown_webhook(name));
    }
    draft.change(Change::Webhook(WebhookChange::End(name.to_owned())));
    let message = format!("the webhook {name} is removed");
    draft.event(EventKind::WebhookChanged, None, None, message);
    Ok(())
}

/// Has a webhook tried at once, that of a receiver which was gone, too.
pub(super) fn retry(draft: &mut Draft<'_>, name: &str) -> Result<(), RequestRefusal> {
    let place = draft.state.webhook_places.get(name);
    let place = place.ok_or_else(|| unknown_webhook(name))?;
    if place.is_disabled {
        let message = format!("the webhook {name} is sent to again");
        draft.event(EventKind::WebhookChanged, None, None, message);
    }
    draft.change(Change::Webhook(WebhookChange::Place(tried_at_once(place))));
    Ok(())
}

fn tried_at_once(place: &WebhookPlace) -> WebhookPlace {
    WebhookPlace {
        is_disabled: false,
        attempts: 0,
        next_try_ms: 0,
        lease: None,
        ..place.clone()
    }
}

/// Takes what a server says of a delivery; answers the webhook's place then, or nothing where it is not this server's to deliver.
pub(super) fn deliver(draft: &mut Draft<'_>, step: &DeliveryStep) -> Option<WebhookPlace> {
    let webhook = draft.state.webhooks.get(&step.name)?;
    if webhook.number != step.number {
        // Whoever goes by other settings may have sent elsewhere.
        return None;
    }
    let known = draft.state.webhook_places.get(&step.name)?;
    let now_ms = draft.now_ms();
    let is_others = |lease: &DeliveryLease| {
        lease.holder != step.holder && !step.is_alone && lease.until_ms > now_ms
    };
    if known.lease.as_ref().is_some_and(is_others) || known.is_disabled {
        return None;
    }
    let is_ours = known.lease.is_some_and(|lease| lease.holder == step.holder);
    let lease = DeliveryLease {
        holder: step.holder,
        until_ms: now_ms + LEASE_MS,
    };
    let mut place = WebhookPlace {
        epoch: draft.state.epoch(),
        ..known.clone()
    };
    match &step.news {
        DeliveryNews::Begins => {
            if known.next_try_ms > now_ms {
                return None;
            }
            place.lease = Some(lease);
        }
        // Without a lease nobody goes back.
        DeliveryNews::Done { through, .. } | DeliveryNews::Failed { through, .. }
            if !is_ours && *through < known.through =>
        {
            return None;
        }
        DeliveryNews::Done {
            through,
            delivered,
            ends,
        } => {
            place.through = *through;
            place.lease = (!ends).then_some(lease);
            if delivered.is_some() {
                taken(draft, &mut place, *delivered);
            }
        }
        DeliveryNews::Failed {
            through,
            why,
            pause_ms,
            is_gone,
        } => {
            place.through = *through;
            place.lease = None;
            place.trouble = Some(why.chars().take(TROUBLE_LETTERS_MAX).collect());
            place.next_try_ms = now_ms.saturating_add(*pause_ms);
            place.is_disabled = *is_gone;
            failed(draft, &mut place);
        }
    }
    draft.change(Change::Webhook(WebhookChange::Place(place.clone())));
    Some(place)
}

/// The receiver has taken an event: whatever was wrong is over.
fn taken(draft: &mut Draft<'_>, place: &mut WebhookPlace, delivered: Option<u64>) {
    place.delivered = delivered;
    place.delivered_at_ms = Some(draft.now_ms());
    place.attempts = 0;
    place.trouble = None;
    place.next_try_ms = 0;
    let since_ms = place.failing_since_ms.take();
    if std::mem::take(&mut place.is_told) {
        let lasted_s = draft.now_ms().saturating_sub(since_ms.unwrap_or_default()) / 1_000;
        let message = format!(
            "the receiver of the webhook {} takes what it is sent again, after {lasted_s} s; nothing was lost",
            place.name
        );
        own_event(draft, EventKind::WebhookRecovered, message);
    }
}

/// The receiver has not taken an event.
fn failed(draft: &mut Draft<'_>, place: &mut WebhookPlace) {
    let now_ms = draft.now_ms();
    place.attempts = place.attempts.saturating_add(1);
    place.failing_since_ms.get_or_insert(now_ms);
    let (name, why) = (&place.name, place.trouble.clone().unwrap_or_default());
    if place.is_disabled {
        let message = format!(
            "the receiver of the webhook {name} says that it is gone ({why}): nothing is sent to it until `upstart webhooks retry {name}`"
        );
        own_event(draft, EventKind::WebhookDisabled, message);
        return;
    }
    let is_long_ago = |told_ms: u64| now_ms >= told_ms.saturating_add(TOLD_PAUSE_MS);
    if place.is_failing() && !place.is_told && place.told_at_ms.is_none_or(is_long_ago) {
        let message = format!(
            "the receiver of the webhook {name} has not taken an event in {} tries ({why}): what follows waits for it; see `upstart webhooks list`",
            place.attempts
        );
        place.is_told = true;
        place.told_at_ms = Some(now_ms);
        own_event(draft, EventKind::WebhookFailing, message);
    }
}

fn own_event(draft: &mut Draft<'_>, kind: EventKind, message: String) {
    draft.event_by(SERVER.to_owned(), kind, None, None, message);
}
