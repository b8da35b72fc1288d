//! The issuer whose web tokens let operators in: its keys are kept, and asked for anew when they are old, or when a token names another.

use crate::problem::{Kind, RequestRefusal, refuse};
use identity::{ClaimError, ClaimedOperator, Issuer, IssuerKeySet, issuer_tls};
use parking_lot::Mutex;
use serde::Deserialize;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long keys are used before they are asked for again.
const OLD: Duration = Duration::from_secs(3600);

/// How often they are asked for at most, whatever tokens name.
const ASKED_PAUSE: Duration = Duration::from_secs(10);

/// How long the issuer may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// The largest answer.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Where an issuer says what it has (OpenID Connect Discovery 1.0, section 4).
const DISCOVERY: &str = "/.well-known/openid-configuration";

/// An issuer, and its keys.
pub(crate) struct TokenIssuer {
    issuer: Issuer,
    client: reqwest::Client,
    known: Mutex<KnownKeys>,
    /// One asks at a time.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct KnownKeys {
    keys: Option<Arc<IssuerKeySet>>,
    /// When they came, or were last asked for in vain.
    asked_at: Option<Instant>,
}

/// What an issuer says of itself; there is more.
#[derive(Deserialize)]
struct Discovered {
    issuer: String,
    jwks_uri: String,
}

impl TokenIssuer {
    /// Asks nothing yet.
    pub(crate) fn new(issuer: Issuer) -> Result<Self, String> {
        let tls = issuer_tls(&issuer).map_err(|error| error.to_string())?;
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(ANSWER_LIMIT)
            .user_agent(concat!("upstart/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self {
            issuer,
            client,
            known: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        })
    }

    /// Who shows this token.
    pub(crate) async fn check(&self, token: &str) -> Result<ClaimedOperator, RequestRefusal> {
        let keys = self.keys(OLD).await?;
        let checked = match self.issuer.check(token, &keys) {
            // It may have new ones.
            Err(ClaimError::UnknownKey) => {
                let keys = self.keys(ASKED_PAUSE).await?;
                self.issuer.check(token, &keys)
            }
            checked => checked,
        };
        checked.map_err(|error| {
            let detail = format!("The token of {} lets nobody in: {error}.", self.issuer.url);
            refuse(Kind::UNAUTHORIZED, detail)
        })
    }

    /// Keys that are not older than this; older ones where the issuer tells none.
    async fn keys(&self, age_max: Duration) -> Result<Arc<IssuerKeySet>, RequestRefusal> {
        let _turn = self.asking.lock().await;
        let (known, asked_at) = {
            let known = self.known.lock();
            (known.keys.clone(), known.asked_at)
        };
        let is_recent = asked_at.is_some_and(|asked| asked.elapsed() < age_max);
        match known {
            Some(keys) if is_recent => return Ok(keys),
            None if asked_at.is_some_and(|asked| asked.elapsed() < ANSWER_LIMIT) => {
                return Err(unavailable(&self.issuer.url, "it was asked a moment ago"));
            }
            _ => {}
        }
        let asked = self.ask().await;
        let mut kept = self.known.lock();
        kept.asked_at = Some(Instant::now());
        match (asked, known) {
            (Ok(keys), _) => {
                let keys = Arc::new(keys);
                kept.keys = Some(Arc::clone(&keys));
                Ok(keys)
            }
            (Err(why), Some(old)) => {
                tracing::warn!(
                    "the keys of {} are those from before: {why}",
                    self.issuer.url
                );
                Ok(old)
            }
            (Err(why), None) => {
                tracing::warn!("the keys of {} cannot be had: {why}", self.issuer.url);
                Err(unavailable(&self.issuer.url, &why))
            }
        }
    }

    async fn ask(&self) -> Result<IssuerKeySet, String> {
        if let Some(file) = &self.issuer.keys {
            let shown = file.display();
            let text = tokio::fs::read(file).await;
            let text = text.map_err(|error| format!("{shown}: {error}"))?;
            return IssuerKeySet::read(&text).map_err(|why| format!("{shown}: {why}"));
        }
        let url = self.issuer.url.trim_end_matches('/');
        let said = self.get(&format!("{url}{DISCOVERY}")).await?;
        let said: Discovered = serde_json::from_slice(&said)
            .map_err(|error| format!("{url}{DISCOVERY} is not what it must be: {error}"))?;
        if said.issuer != self.issuer.url {
            return Err(format!(
                "what answers there is the issuer `{}`",
                said.issuer
            ));
        }
        if url.starts_with("https://") && !said.jwks_uri.starts_with("https://") {
            return Err(format!("its keys are not told over TLS: {}", said.jwks_uri));
        }
        let keys = self.get(&said.jwks_uri).await?;
        IssuerKeySet::read(&keys).map_err(|why| format!("{}: {why}", said.jwks_uri))
    }

    async fn get(&self, url: &str) -> Result<Vec<u8>, String> {
        let failed = |error: reqwest::Error| format!("{url}: {}", chain(&error));
        let answer = self.client.get(url).send().await.map_err(failed)?;
        let mut answer = answer.error_for_status().map_err(failed)?;
        let mut body = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(failed)? {
            body.extend_from_slice(&part);
            if body.len() > ANSWER_BYTES_MAX {
                return Err(format!("{url} answers more than {ANSWER_BYTES_MAX} bytes"));
            }
        }
        Ok(body)
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.join(": ")
}

fn unavailable(url: &str, why: &str) -> RequestRefusal {
    refuse(
        Kind::ISSUER_UNAVAILABLE,
        format!("The keys of {url} cannot be had ({why}); ask again in a moment."),
    )
}
