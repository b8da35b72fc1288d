//! What is stored of webhooks.

use model::api::WebhookRequest;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A webhook as it is set up. It has secrets in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredWebhook {
    /// Its name.
    pub name: String,
    /// Tells these settings from those before: the number of the event by which they were made.
    pub number: u64,
    /// What was asked for.
    pub request: WebhookRequest,
    /// Who changed it last.
    pub author: String,
    /// When.
    pub changed_at_ms: u64,
}

/// What changes of a webhook.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum WebhookChange {
    /// It is set up, or changed.
    Set(#[serde(with = "super::shared")] Arc<StoredWebhook>),
    /// That of this name is removed.
    End(String),
    /// How far it has come.
    Place(WebhookPlace),
}

/// How far a webhook has come in the history, and how its receiver behaves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookPlace {
    /// Whose.
    pub name: String,
    /// Which history the number is of.
    pub epoch: u64,
    /// Up to this entry everything is done: it was delivered, or is not for the receiver.
    pub through: u64,
    /// The last entry that the receiver has taken.
    pub delivered: Option<u64>,
    /// When.
    pub delivered_at_ms: Option<u64>,
    /// How often the receiver has not taken the next one.
    pub attempts: u32,
    /// Since when.
    pub failing_since_ms: Option<u64>,
    /// What went wrong the last time.
    pub trouble: Option<String>,
    /// It is not tried again before.
    pub next_try_ms: u64,
    /// The receiver has said that it is gone.
    pub is_disabled: bool,
    /// When people were told that it fails.
    pub told_at_ms: Option<u64>,
    /// That it fails was told, and not yet that it is over.
    pub is_told: bool,
    /// Which server delivers.
    pub lease: Option<DeliveryLease>,
}

/// After how many tries in vain people are told.
pub(crate) const TOLD_AFTER: u32 = 4;

impl WebhookPlace {
    /// Whether people should look at it.
    pub(crate) fn is_failing(&self) -> bool {
        self.is_disabled || self.attempts >= TOLD_AFTER
    }
}

/// That one server delivers, and no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryLease {
    /// A random number of the server's start.
    pub holder: u64,
    /// Until when, unless it says so again.
    pub until_ms: u64,
}
