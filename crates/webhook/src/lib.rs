//! Webhooks: events of the history as messages to receivers.
//!
//! What is decided here is pure: which events a receiver is sent ([`EventFilter`]), what a message says ([`EventNotice`], [`MessageTemplate`]), how it
//! is signed ([`sign`]), how long a receiver that fails is left alone ([`RetryPause`]). [`Sender`] sends one message and says what came of it,
//! within a time and with little memory whatever the receiver does. Who sends what when, and where that is kept, is the server's.

mod error;
mod filter;
mod mail;
mod message;
mod pause;
mod sender;
mod settings;
mod signature;
mod smtp;
mod target;
mod template;
mod tls;

pub use error::SettingsError;
pub use filter::{EventFilter, EventPlace};
pub use message::{EventNotice, event_id};
pub use pause::RetryPause;
pub use sender::{SEND_LIMIT, SendOutcome, Sender};
pub use settings::{WebhookSettings, origin};
pub use signature::{SigningSecret, sign};
pub use template::MessageTemplate;
