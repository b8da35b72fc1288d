//! Webhooks: who is sent the history as it happens, in which form, and how far each has come.

use super::EventSeverity;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What only the server and whoever sets it up know: shown nowhere.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct WebhookSecret(pub String);

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("WebhookSecret")
    }
}

/// In which form a receiver gets an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum WebhookFormat {
    /// `CloudEvents` 1.0 in JSON, by HTTP.
    #[default]
    Cloudevents,
    /// A message to an incoming webhook of Slack, or of what takes the same.
    Slack,
    /// A mail, by SMTP.
    Email,
}

impl fmt::Display for WebhookFormat {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Cloudevents => "cloudevents",
            Self::Slack => "slack",
            Self::Email => "email",
        })
    }
}

/// Where a webhook that is new begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum WebhookStart {
    /// With what happens from now on.
    #[default]
    Newest,
    /// With the oldest entry of the history that is kept.
    Oldest,
}

/// Which events a receiver is sent: those for which all of it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct WebhookFilter {
    /// Kinds, or what kinds begin with (`node.`); all when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<String>,
    /// The least severity; every severity when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<EventSeverity>,
    /// Classes of the nodes that events are about; also events about no node when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// Names of these nodes, in which `*` stands for any text and `?` for one character; also events about no node when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<String>,
    /// A CEL expression over `event`, `node` and `attributes`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
}

/// From whom a mail comes and to whom it goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct MailAddresses {
    /// The sender's address.
    pub from: String,
    /// The receivers' addresses.
    pub to: Vec<String>,
}

/// `PUT /v1/webhooks/{name}`: adds a webhook, or changes the one of this name, which goes on where it was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct WebhookRequest {
    /// In which form.
    pub format: WebhookFormat,
    /// Where: `https://…` or `http://…`; for mail `smtps://USER@HOST`, `smtp://USER@HOST` (STARTTLS) or `smtp+plain://HOST`.
    pub to: WebhookSecret,
    /// Secrets by which messages are signed (`whsec_` and base64), the newest first; those of before when empty.
    #[serde(default)]
    pub secrets: Vec<WebhookSecret>,
    /// The password for mail; that of before when absent.
    #[serde(default)]
    pub password: Option<WebhookSecret>,
    /// The addresses for mail.
    #[serde(default)]
    pub mail: Option<MailAddresses>,
    /// Whose certificates are believed, in PEM; the host's authorities when absent.
    #[serde(default)]
    pub ca: Option<String>,
    /// What a message says, with `{{placeholders}}`; Upstart's own words when absent.
    #[serde(default)]
    pub template: Option<String>,
    /// Which events.
    #[serde(default)]
    pub filter: WebhookFilter,
    /// Where a new one begins.
    #[serde(default)]
    pub from: WebhookStart,
}

/// What a webhook does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum WebhookState {
    /// Everything has been delivered.
    #[default]
    Idle,
    /// Something is being delivered.
    Delivering,
    /// The receiver does not take what it is sent; it is tried again.
    Failing,
    /// The receiver has said that it is gone (410): nothing is sent until `retry`.
    Disabled,
}

impl fmt::Display for WebhookState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Idle => "idle",
            Self::Delivering => "delivering",
            Self::Failing => "failing",
            Self::Disabled => "disabled",
        })
    }
}

/// A webhook as it is shown: without its secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WebhookView {
    /// Its name.
    pub name: String,
    /// In which form.
    pub format: WebhookFormat,
    /// Where, without what may be secret: scheme, host and port.
    pub to: String,
    /// How many secrets sign.
    pub secrets: usize,
    /// Which events.
    pub filter: WebhookFilter,
    /// Who changed it last.
    pub author: String,
    /// When.
    pub changed_at_ms: u64,
    /// What it does.
    pub state: WebhookState,
    /// The entry of the history up to which everything is done.
    pub through: u64,
    /// The number of the last event that the receiver has taken.
    pub delivered: Option<u64>,
    /// When.
    pub delivered_at_ms: Option<u64>,
    /// How many events wait; at most [`WAITING_MAX`] are counted.
    pub waiting: u64,
    /// How often the receiver has not taken the next one.
    pub attempts: u32,
    /// Since when.
    pub failing_since_ms: Option<u64>,
    /// What went wrong the last time.
    pub trouble: Option<String>,
    /// When it is tried again.
    pub next_try_ms: Option<u64>,
}

/// The most waiting events that are counted.
pub const WAITING_MAX: u64 = 1_000;

/// `GET /v1/webhooks`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WebhooksView {
    /// By name.
    pub webhooks: Vec<WebhookView>,
}

/// `POST /v1/webhooks/{name}/test`: what a receiver has made of a test event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WebhookTried {
    /// Whether it has taken it.
    pub taken: bool,
    /// What it has answered, or why there is no answer.
    pub answer: String,
}
