//! Sends one message, and says what came of it: within a time, and with little memory, whatever the receiver does.

use crate::message::EventNotice;
use crate::target::MessageTarget;
use crate::{WebhookSettings, mail, sign, smtp, tls};
use model::api::WebhookFormat;
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode, Url};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::timeout;
use tokio_rustls::rustls::ClientConfig;

/// How long a receiver may take to say that it has a message, from the look-up of its name on.
pub const SEND_LIMIT: Duration = Duration::from_secs(10);

/// How long an answer's body is read: what counts stands before it.
const BODY_LIMIT: Duration = Duration::from_millis(500);

/// How much of it is read: with less the connection can be used again.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// How much of it is told.
const TOLD_BYTES_MAX: usize = 200;

/// How long a connection is kept for the next message.
const IDLE_LIMIT: Duration = Duration::from_secs(20);

/// What came of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// The receiver has it.
    Taken {
        /// What it said.
        answer: String,
    },
    /// The receiver does not have it, or nobody knows.
    Failed {
        /// What went wrong.
        why: String,
        /// How long it asks to be left alone, in milliseconds.
        retry_after_ms: Option<u64>,
        /// It says that it is gone for good.
        is_gone: bool,
    },
}

impl SendOutcome {
    fn failed(why: impl Into<String>) -> Self {
        Self::Failed {
            why: why.into(),
            retry_after_ms: None,
            is_gone: false,
        }
    }
}

/// What sends messages to one receiver.
#[derive(Debug)]
pub struct Sender {
    settings: WebhookSettings,
    way: SendingWay,
    limit: Duration,
}

#[derive(Debug)]
enum SendingWay {
    Web(reqwest::Client),
    Mail(Arc<ClientConfig>),
}

impl Sender {
    /// One for these settings.
    ///
    /// # Errors
    /// The host knows no authority whose certificates to believe.
    pub fn new(settings: WebhookSettings) -> Result<Self, String> {
        let is_used = match &settings.target {
            MessageTarget::Web(url) => url.scheme() == "https",
            MessageTarget::Mail(_) => true,
        };
        let tls = tls::config(settings.roots.as_deref(), is_used)?;
        let way = match &settings.target {
            MessageTarget::Mail(_) => SendingWay::Mail(Arc::new(tls)),
            MessageTarget::Web(_) => {
                let client = reqwest::Client::builder()
                    .tls_backend_preconfigured(tls)
                    // What is signed is for this receiver alone, whatever it or the surroundings say.
                    .redirect(reqwest::redirect::Policy::none())
                    .no_proxy()
                    .connect_timeout(SEND_LIMIT)
                    .pool_max_idle_per_host(1)
                    .pool_idle_timeout(IDLE_LIMIT)
                    .user_agent(concat!("upstart/", env!("CARGO_PKG_VERSION")))
                    .build();
                SendingWay::Web(client.map_err(|error| error.without_url().to_string())?)
            }
        };
        Ok(Self {
            settings,
            way,
            limit: SEND_LIMIT,
        })
    }

    /// The same, with another time for a receiver.
    #[must_use]
    pub fn with_limit(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// Which events are sent.
    #[must_use]
    pub fn filter(&self) -> &crate::EventFilter {
        &self.settings.filter
    }

    /// Sends a message, and waits for the receiver's answer, [`SEND_LIMIT`] at most unless told otherwise.
    pub async fn send(&self, notice: &EventNotice) -> SendOutcome {
        let sending = async {
            match (&self.way, &self.settings.target) {
                (SendingWay::Web(client), MessageTarget::Web(url)) => {
                    self.post(client, url, notice).await
                }
                (SendingWay::Mail(tls), MessageTarget::Mail(target)) => {
                    let written = mail::written(notice, self.settings.template.as_ref(), target);
                    match smtp::send(target, Arc::clone(tls), &written).await {
                        Ok(answer) => SendOutcome::Taken { answer },
                        Err(why) => SendOutcome::failed(why),
                    }
                }
                _ => SendOutcome::failed("the settings do not fit together"),
            }
        };
        let late = |_| {
            let limit_s = self.limit.as_secs_f64();
            SendOutcome::failed(format!("no answer within {limit_s} seconds"))
        };
        timeout(self.limit, sending).await.unwrap_or_else(late)
    }

    async fn post(&self, client: &reqwest::Client, url: &Url, notice: &EventNotice) -> SendOutcome {
        let (body, kind) = match self.settings.format {
            WebhookFormat::Slack => (
                notice.slack(self.settings.template.as_ref()),
                "application/json",
            ),
            _ => (notice.cloudevent(), "application/cloudevents+json"),
        };
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let at_s = since.map_or(0, |since| since.as_secs());
        let mut request = client.post(url.clone()).header(CONTENT_TYPE, kind);
        if !self.settings.secrets.is_empty() {
            let signature = sign(&self.settings.secrets, &notice.id, at_s, &body);
            request = request
                .header("webhook-id", &notice.id)
                .header("webhook-timestamp", at_s)
                .header("webhook-signature", signature);
        }
        match request.body(body).send().await {
            Ok(response) => judged(response).await,
            // The address may be a secret.
            Err(error) => SendOutcome::failed(in_words(&error.without_url())),
        }
    }
}

/// The whole chain of causes: the last one says what to mend.
fn in_words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let more = next.to_string();
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        cause = next.source();
    }
    printable(&words)
}

/// What a status means. It is the receiver's word; what follows it is only told.
async fn judged(response: Response) -> SendOutcome {
    let status = response.status();
    let retry_after_ms = retry_after(response.headers());
    let said = beginning(response).await;
    let words = if said.is_empty() {
        status.to_string()
    } else {
        format!("{status}: {said}")
    };
    if status.is_success() {
        return SendOutcome::Taken { answer: words };
    }
    let why = if status.is_redirection() {
        format!(
            "{words}; it sends elsewhere, which is not followed: give the address where it ends"
        )
    } else {
        words
    };
    SendOutcome::Failed {
        why,
        retry_after_ms,
        is_gone: status == StatusCode::GONE,
    }
}

/// The beginning of an answer's body.
async fn beginning(mut response: Response) -> String {
    let mut read = Vec::new();
    let reading = async {
        while read.len() < BODY_BYTES_MAX {
            match response.chunk().await {
                Ok(Some(more)) => read.extend_from_slice(&more[..more.len().min(BODY_BYTES_MAX)]),
                _ => break,
            }
        }
    };
    let _ = timeout(BODY_LIMIT, reading).await;
    read.truncate(TOLD_BYTES_MAX);
    printable(String::from_utf8_lossy(&read).trim())
}

/// What is left of a receiver's words in one line of a log.
fn printable(text: &str) -> String {
    let letter = |letter: char| if letter.is_control() { ' ' } else { letter };
    text.chars().map(letter).collect()
}

/// `Retry-After`: seconds, or a date.
fn retry_after(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(seconds.saturating_mul(1_000));
    }
    let at = httpdate::parse_http_date(text).ok()?;
    let left = at.duration_since(SystemTime::now()).ok()?;
    u64::try_from(left.as_millis()).ok()
}
