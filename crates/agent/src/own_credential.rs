//! The node's key and its certificate: asked for at the enrolment, renewed when half of its life is over.

use crate::contact::{Contact, ServerAnswer};
use crate::error_chain::chain;
use crate::layout::Layout;
use client::Client;
use identity::{CredentialFolder, PeerCertificate};
use model::api::{Certified, CertifyRequest};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::Notify;

/// How long until a renewal that failed is tried again.
const AGAIN_PAUSE: Duration = Duration::from_secs(30);

/// The shortest time between two renewals, whatever clocks say.
const RENEWAL_PAUSE_MIN: Duration = Duration::from_millis(500);

/// The problem that says that a token is of no use.
pub(crate) const REFUSED_TOKEN: &str = "/problems/unauthorized";

/// The problem that says that a token is for somebody else.
pub(crate) const FORBIDDEN: &str = "/problems/forbidden";

/// How many ways in are tried: with a token, with the certificate, with another key.
pub(crate) const WAYS: usize = 3;

/// The problems that say that the certificate counts no longer: with a token the node is known again.
const ENDED: [&str; 3] = [
    "/problems/identity-ended",
    "/problems/identity-cloned",
    "/problems/node-forgotten",
];

/// The node's key and its certificate.
pub(crate) struct OwnCredential {
    folder: Mutex<CredentialFolder>,
    client: Arc<Client>,
    /// The token that was given, where it has not been used yet.
    unused_token: Mutex<Option<String>>,
    /// What the certificate says that is shown.
    says: Mutex<Option<PeerCertificate>>,
    /// Rung when the server says that the certificate has expired.
    expired: Notify,
    /// What the log has said of renewals.
    renewals: Mutex<Contact>,
}

impl OwnCredential {
    /// What lies in the data directory; `None` for a server that is not asked over TLS, which knows nodes by the token.
    /// Where the key cannot be read or made the node goes on without, as with a server that does not answer.
    pub(crate) async fn open(
        layout: &Layout,
        client: &Arc<Client>,
        token: Option<&str>,
    ) -> Option<Self> {
        if !client.is_encrypted() {
            return None;
        }
        let opened = CredentialFolder::open(&layout.identity());
        let opened = opened.inspect_err(|error| {
            tracing::error!(
                "the node's own key is of no use, so that the server does not know the node; it serves on: {}; {}",
                chain(error),
                error.advice()
            );
        });
        let folder = opened.ok()?;
        let unused = token.filter(|token| !folder.has_used(token));
        let own = Self {
            unused_token: Mutex::new(unused.map(str::to_owned)),
            folder: Mutex::new(folder),
            client: Arc::clone(client),
            says: Mutex::default(),
            expired: Notify::new(),
            renewals: Mutex::default(),
        };
        let credential = own.folder.lock().credential();
        match credential {
            // A token that is new says more than the certificate: of other addresses, or for another key.
            Ok(Some(_)) if own.unused_token.lock().is_some() => {}
            Ok(Some(credential)) => {
                let told = client.told_pin().await;
                if told.is_none_or(|pin| pin == credential.pin()) {
                    *own.says.lock() = Some(credential.says().clone());
                    client.show(Some(credential));
                } else {
                    tracing::warn!(
                        "the token is for servers of another authority than those that have certified this node's key: it is shown to them, and the node enrols there anew"
                    );
                }
            }
            Ok(None) => {}
            // The key is there: with a token it is certified anew.
            Err(error) => {
                tracing::warn!(error = %chain(&error), "the node's certificate is of no use");
            }
        }
        Some(own)
    }

    /// A request for a certificate, where there is none or half of its life is over.
    pub(crate) fn request_if_due(&self) -> Option<String> {
        let says = self.says.lock().clone();
        let is_due = says.is_none_or(|says| says.renew_at_ms() <= now_ms());
        is_due.then(|| self.request()).flatten()
    }

    fn request(&self) -> Option<String> {
        let request = self.folder.lock().request();
        request
            .inspect_err(
                |error| tracing::warn!(error = %chain(error), "no certificate is asked for"),
            )
            .ok()
    }

    /// Keeps a certificate, and shows it from then on.
    pub(crate) fn keep(&self, certified: &Certified) -> bool {
        let folder = self.folder.lock();
        match folder.keep(&certified.certificate) {
            Ok(credential) => {
                if let Some(token) = self.unused_token.lock().take()
                    && let Err(error) = folder.note_used(&token)
                {
                    tracing::warn!(error = %chain(&error), "that the token is used up cannot be noted");
                }
                *self.says.lock() = Some(credential.says().clone());
                self.client.show(Some(credential));
                true
            }
            // It is asked for again; the server has certified this key, and does so again.
            Err(error) => {
                tracing::warn!(error = %chain(&error), "the node's certificate cannot be kept");
                false
            }
        }
    }

    /// What may help where the server does not take the node as it came: another way in, if there is one that was not tried.
    pub(crate) fn another_way(&self, problem: Option<&str>) -> bool {
        let problem = problem.unwrap_or_default();
        if [REFUSED_TOKEN, FORBIDDEN].contains(&problem)
            && self.unused_token.lock().take().is_some()
        {
            // A token that is used up: the certificate that it gave is there.
            return self.show_kept();
        }
        if !ENDED.contains(&problem) {
            return false;
        }
        // A key that counts no longer is never certified again: a token is asked to certify another.
        let fresh = self.folder.lock().with_new_key();
        match fresh {
            Ok(fresh) => *self.folder.lock() = fresh,
            Err(error) => {
                tracing::warn!(error = %chain(&error), "no other key can be made");
                return false;
            }
        }
        self.client.show(None);
        *self.says.lock() = None;
        true
    }

    /// Shows the certificate that is kept; false where there is none.
    pub(crate) fn show_kept(&self) -> bool {
        let mut folder = self.folder.lock();
        if let Ok(kept) = folder.with_kept_key() {
            *folder = kept;
        }
        let Ok(Some(credential)) = folder.credential() else {
            return false;
        };
        *self.says.lock() = Some(credential.says().clone());
        self.client.show(Some(credential));
        true
    }

    /// The server says that the certificate has expired.
    pub(crate) fn has_expired(&self) {
        self.expired.notify_one();
    }

    /// Renews the certificate for ever.
    pub(crate) async fn look_after(self: Arc<Self>) {
        let says = self.says.lock().clone();
        let mut due = says.map_or(AGAIN_PAUSE, |says| {
            Duration::from_millis(says.renew_at_ms().saturating_sub(now_ms()))
        });
        loop {
            tokio::select! {
                () = tokio::time::sleep(due.max(RENEWAL_PAUSE_MIN)) => {}
                () = self.expired.notified() => {}
            }
            let is_renewed = self.client.shows_credential() && self.renew().await;
            // From now on by this host's steady clock: its other one may be wrong.
            let half = self.says.lock().as_ref().map(|says| {
                Duration::from_millis(says.renew_at_ms().saturating_sub(says.begins_at_ms))
            });
            due = match half {
                Some(half) if is_renewed => half,
                Some(half) => AGAIN_PAUSE.min(half),
                None => AGAIN_PAUSE,
            };
        }
    }

    async fn renew(&self) -> bool {
        let Some(certificate_request) = self.request() else {
            return false;
        };
        let request = CertifyRequest {
            certificate_request,
        };
        match self.client.certify(&request).await {
            Ok(certified) => {
                tracing::debug!(counter = certified.counter, "the certificate is renewed");
                let _ = (self.renewals.lock()).note(Instant::now(), ServerAnswer::Good);
                self.keep(&certified)
            }
            Err(error) => {
                if error.is_temporary() {
                    tracing::debug!(%error, "the certificate is not renewed yet");
                    return false;
                }
                let refused = ServerAnswer::Refused(error.to_string());
                let said = self.renewals.lock().note(Instant::now(), refused);
                if let Some(said) = said {
                    tracing::warn!("the node's certificate is not renewed: {said}");
                }
                false
            }
        }
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0))
}
