//! Webhooks: who is sent the history, and how far that has come.

use super::App;
use super::json_request::{JsonRequest, Named};
use crate::deliveries::{is_wanted, notice_of, sender_of};
use crate::problem::{Kind, RequestRefusal, refuse};
use crate::rules::{Order, unknown_webhook};
use crate::udb::{StoredWebhook, WebhookPlace};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use model::api::{
    Event, EventKind, Problem, WAITING_MAX, WebhookRequest, WebhookState, WebhookTried,
    WebhookView, WebhooksView,
};
use serde_json::Value;
use std::sync::Arc;
use webhook::{EventFilter, SendOutcome, origin};

/// How many entries are read at once to count those that wait.
const READ_AT_ONCE: u32 = 1_000;

/// How many are looked at to count them; the rest counts as waiting, too, as far as is counted.
const LOOKED_AT_MAX: u64 = 5_000;

#[utoipa::path(get, path = "/v1/webhooks", tag = "webhooks",
    responses((status = 200, body = WebhooksView), (status = "default", body = Problem, content_type = "application/problem+json")))]
/// Every webhook without its secrets: what it does, how far it has come, what went wrong.
pub(super) async fn list(State(app): State<App>) -> Result<Json<WebhooksView>, RequestRefusal> {
    let known: Vec<(Arc<StoredWebhook>, WebhookPlace)> = {
        let state = app.state_writer.state();
        let place = |name: &String| state.webhook_places.get(name).cloned().unwrap_or_default();
        let all = state.webhooks.iter();
        all.map(|(name, webhook)| (Arc::clone(webhook), place(name)))
            .collect()
    };
    let mut webhooks = Vec::new();
    for (webhook, place) in known {
        let waiting = waiting(&app, &webhook, &place).await?;
        webhooks.push(view(&app, &webhook, place, waiting));
    }
    Ok(Json(WebhooksView { webhooks }))
}

/// How many events wait for a receiver.
async fn waiting(
    app: &App,
    webhook: &StoredWebhook,
    place: &WebhookPlace,
) -> Result<u64, RequestRefusal> {
    let Ok(filter) = EventFilter::read(&webhook.request.filter) else {
        return Ok(0);
    };
    let (mut count, mut after) = (0, place.through);
    while after < place.through.saturating_add(LOOKED_AT_MAX) && count < WAITING_MAX {
        let page = app.udb.events(after, READ_AT_ONCE).await;
        let page = page.map_err(|error| {
            refuse(
                Kind::DATABASE_UNAVAILABLE,
                format!("{error}; ask again later."),
            )
        })?;
        let Some(last) = page.last() else {
            break;
        };
        after = last.sequence;
        let wanted = page
            .iter()
            .filter(|event| is_wanted(&app.state_writer, &filter, event));
        count += wanted.count() as u64;
    }
    Ok(count.min(WAITING_MAX))
}

fn view(app: &App, webhook: &StoredWebhook, place: WebhookPlace, waiting: u64) -> WebhookView {
    let now_ms = app.config.clock.now_ms();
    let is_leased = place.lease.is_some_and(|lease| lease.until_ms > now_ms);
    let state = match (
        place.is_disabled,
        place.attempts > 0,
        is_leased || waiting > 0,
    ) {
        (true, ..) => WebhookState::Disabled,
        (_, true, _) => WebhookState::Failing,
        (_, _, true) => WebhookState::Delivering,
        _ => WebhookState::Idle,
    };
    let is_failing = state == WebhookState::Failing;
    WebhookView {
        name: webhook.name.clone(),
        format: webhook.request.format,
        to: origin(&webhook.request.to.0),
        secrets: webhook.request.secrets.len(),
        filter: webhook.request.filter.clone(),
        author: webhook.author.clone(),
        changed_at_ms: webhook.changed_at_ms,
        state,
        through: place.through,
        delivered: place.delivered,
        delivered_at_ms: place.delivered_at_ms,
        waiting,
        attempts: place.attempts,
        failing_since_ms: place.failing_since_ms,
        trouble: place.trouble,
        next_try_ms: is_failing.then_some(place.next_try_ms),
    }
}

#[utoipa::path(put, path = "/v1/webhooks/{name}", tag = "webhooks", request_body = WebhookRequest,
    params(("name" = String, Path, description = "The webhook's name")),
    responses((status = 204), (status = "default", body = Problem, content_type = "application/problem+json")))]
/// Sets a webhook up, or changes it; 422 says which setting is of no use.
pub(super) async fn set(
    State(app): State<App>,
    Named(name): Named<String>,
    asked: JsonRequest<WebhookRequest>,
) -> Result<StatusCode, RequestRefusal> {
    let order = Order::SetWebhook(name, Box::new(asked.body));
    let done = app.change(order, asked.caller).await;
    done.map(|_| StatusCode::NO_CONTENT)
}

#[utoipa::path(delete, path = "/v1/webhooks/{name}", tag = "webhooks",
    params(("name" = String, Path, description = "The webhook's name")),
    responses((status = 204), (status = "default", body = Problem, content_type = "application/problem+json")))]
/// Removes a webhook: nothing more is sent, and how far it had come is forgotten.
pub(super) async fn remove(
    State(app): State<App>,
    Named(name): Named<String>,
    asked: JsonRequest<()>,
) -> Result<StatusCode, RequestRefusal> {
    let done = app.change(Order::RemoveWebhook(name), asked.caller).await;
    done.map(|_| StatusCode::NO_CONTENT)
}

#[utoipa::path(post, path = "/v1/webhooks/{name}/retry", tag = "webhooks",
    params(("name" = String, Path, description = "The webhook's name"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a repeated request happen once")),
    responses((status = 200, body = serde_json::Value), (status = "default", body = Problem, content_type = "application/problem+json")))]
/// Has a receiver tried at once that has failed, or was gone.
pub(super) async fn retry(
    State(app): State<App>,
    Named(name): Named<String>,
    asked: JsonRequest<()>,
) -> Result<Json<Value>, RequestRefusal> {
    app.change(Order::RetryWebhook(name), asked.caller).await
}

#[utoipa::path(post, path = "/v1/webhooks/{name}/test", tag = "webhooks",
    params(("name" = String, Path, description = "The webhook's name")),
    responses((status = 200, body = WebhookTried), (status = "default", body = Problem, content_type = "application/problem+json")))]
/// Sends a test event beside what is delivered, and says what the receiver answers. The answer takes as long as the receiver does, ten seconds
/// at most.
pub(super) async fn test(
    State(app): State<App>,
    Named(name): Named<String>,
    asked: JsonRequest<()>,
) -> Result<Json<WebhookTried>, RequestRefusal> {
    let webhook = app.state_writer.state().webhooks.get(&name).cloned();
    let webhook = webhook.ok_or_else(|| unknown_webhook(&name))?;
    let event = Event {
        sequence: 0,
        at_ms: app.config.clock.now_ms(),
        author: asked.caller.author,
        proven: asked.caller.requester.principal().map(ToString::to_string),
        node: None,
        kind: EventKind::WebhookTest.to_string(),
        version: None,
        message: format!("a test of the webhook {name}"),
    };
    let notice = notice_of(&app.state_writer, event);
    let outcome = match sender_of(&webhook).await {
        Ok(sender) => sender.send(&notice).await,
        Err(why) => SendOutcome::Failed {
            why,
            retry_after_ms: None,
            is_gone: false,
        },
    };
    Ok(Json(match outcome {
        SendOutcome::Taken { answer } => WebhookTried {
            taken: true,
            answer,
        },
        SendOutcome::Failed { why, .. } => WebhookTried {
            taken: false,
            answer: why,
        },
    }))
}
