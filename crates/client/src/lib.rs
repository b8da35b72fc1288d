//! The typed client of the upgrade server's `/v1` interface, shared by the agent, the command line and tests.
//!
//! Several server addresses may be given: the one that answered last is asked first, the others follow when it cannot
//! be reached. A change carries one `Idempotency-Key` through all its attempts, so that none happens twice.

mod artifacts;
mod encrypted;
mod error;
mod identities;
mod local;
mod node_source;
mod nodes;
mod operator;
mod publisher_keys;
mod signed;
mod transport;
mod upgrades;
mod webhooks;

pub use artifacts::ArtifactBody;
pub use error::ClientError;
pub use local::Doubt;
pub use node_source::{NodeBody, NodeClient, NodeSourceError, PASS_HEADER};
pub use publisher_keys::{PublisherKeys, check_keys};
pub use signed::{PublishError, SignedPublication, usual_keys};

use encrypted::EncryptedClients;
use identity::{Credential, Pin, PinnedToken};
use model::gate;
use parking_lot::Mutex;
use reqwest::Url;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

/// How long a connection may take to open before the next server is tried.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// How long what was sent may stay unacknowledged, and how often a connection that waits is asked whether its other end is still
/// there: where a network is cut, connections end soon, and fresh ones are there when it is whole again.
const ACKNOWLEDGED_LIMIT: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// How long a connection is kept for another request: less than servers keep it.
const IDLE_LIMIT: Duration = Duration::from_secs(30);

/// How long a server may stay silent: above what a long poll may wait, so that only a dead server meets it.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);

/// After how long it is said that a server is silent: it answers at once, but for what is sent by the piece or waits on purpose.
const SILENCE_TOLD: Duration = Duration::from_secs(5);

/// The longest wait that the server grants a long poll.
pub const WAIT_MAX: Duration = Duration::from_secs(30);

/// A client of one upgrade server, or of several over one database. Cheap to share behind an `Arc`.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    servers: Vec<Url>,
    /// The server that answered last.
    preferred: AtomicUsize,
    names: local::Names,
    given: Option<GivenToken>,
    encrypted: EncryptedClients,
    shown: Mutex<Option<ShownCredential>>,
    author: Option<String>,
    /// The node whose permits are confirmed and ended.
    holder: Option<String>,
    tell_silence: Option<fn(&str)>,
}

/// A credential that is shown to servers over TLS.
#[derive(Clone, Debug)]
pub(crate) struct ShownCredential {
    pub(crate) credential: Arc<Credential>,
    /// Only where no token is given, nor told by a server on this host.
    pub(crate) is_last_resort: bool,
}

/// A token that was given.
#[derive(Debug)]
pub(crate) struct GivenToken {
    pub(crate) token: PinnedToken,
    /// The user whose file it was in.
    pub(crate) owner: Option<u32>,
}

impl Client {
    /// A client for the servers at these base addresses (`http://127.0.0.1:7070`), with the bearer token that they ask for. Without one,
    /// servers of this user or of root on this host are asked for theirs; nobody is asked anything without a token. What listens at an
    /// address of this host is believed, and shown the token, only if it is this user's or root's (or [`Client::believing`]).
    ///
    /// # Errors
    /// An address that is not an `http` URL, or none at all; a token that is none.
    pub fn new<S: AsRef<str>>(servers: &[S], token: Option<String>) -> Result<Self, ClientError> {
        let servers = servers
            .iter()
            .map(|text| server_url(text.as_ref()))
            .collect::<Result<Vec<Url>, ClientError>>()?;
        if servers.is_empty() {
            return Err(ClientError::NoServer);
        }
        if let Some(why) = token.as_deref().and_then(gate::fault) {
            return Err(ClientError::Token(why));
        }
        Ok(Self {
            http: plain()?,
            servers,
            preferred: AtomicUsize::new(0),
            names: local::Names::default(),
            given: token.map(|token| GivenToken {
                token: PinnedToken::of(&token),
                owner: None,
            }),
            encrypted: EncryptedClients::default(),
            shown: Mutex::default(),
            author: None,
            holder: None,
            tell_silence: None,
        })
    }

    /// The same client, whose token was in a file of this user's: a server that this one runs on this host is believed, too.
    #[must_use]
    pub fn believing(mut self, user: Option<u32>) -> Self {
        if let Some(given) = &mut self.given {
            given.owner = user;
        }
        self
    }

    /// The same client, whose changes are recorded under this author's name (a person; agents write under their node's name).
    #[must_use]
    pub fn with_author(mut self, author: impl Into<String>) -> Self {
        self.author = Some(author.into());
        self
    }

    /// The same client, which confirms and ends only permits of the node of this name: a server that was set back may give a
    /// permit's number to another node.
    #[must_use]
    pub fn holding_as(mut self, node: impl Into<String>) -> Self {
        self.holder = Some(node.into());
        self
    }

    /// The same client, which says of a server that takes a request and keeps silent where it is, before it is given up.
    #[must_use]
    pub fn telling_silence(mut self, tell: fn(&str)) -> Self {
        self.tell_silence = Some(tell);
        self
    }

    /// Shows this credential from now on, to servers over TLS; or none any more.
    pub fn show(&self, credential: Option<Credential>) {
        *self.shown.lock() = credential.map(|credential| ShownCredential {
            credential: Arc::new(credential),
            is_last_resort: false,
        });
    }

    /// The same client, which shows this credential where no token is given, nor told by a server on this host.
    #[must_use]
    pub fn otherwise_showing(self, credential: Option<Credential>) -> Self {
        *self.shown.lock() = credential.map(|credential| ShownCredential {
            credential: Arc::new(credential),
            is_last_resort: true,
        });
        self
    }

    /// The credential that is shown.
    #[must_use]
    pub fn credential(&self) -> Option<Arc<Credential>> {
        let shown = self.shown.lock();
        shown.as_ref().map(|shown| Arc::clone(&shown.credential))
    }

    /// Whether a credential is shown.
    #[must_use]
    pub fn shows_credential(&self) -> bool {
        self.shown.lock().is_some()
    }

    /// The pin of the authority whose servers are asked, as the token says that was given, or a server of this user or of root on this
    /// host says now; `None` where neither does.
    pub async fn told_pin(&self) -> Option<Pin> {
        if let Some(given) = &self.given {
            return given.token.pin;
        }
        for server in self
            .servers
            .iter()
            .filter(|server| server.scheme() == "https")
        {
            if let Ok(way) = self.names.way(server, None, None).await {
                return way.tls.and_then(|tls| tls.pin);
            }
        }
        None
    }

    /// Whether a server is asked over TLS, where credentials can be shown.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.servers.iter().any(|server| server.scheme() == "https")
    }

    /// The servers' base addresses, as given.
    #[must_use]
    pub fn servers(&self) -> Vec<String> {
        self.servers.iter().map(Url::to_string).collect()
    }
}

/// What every HTTP client does alike.
fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .connect_timeout(CONNECT_LIMIT)
        .read_timeout(SILENCE_LIMIT)
        .tcp_user_timeout(ACKNOWLEDGED_LIMIT)
        .tcp_keepalive(KEEPALIVE_INTERVAL)
        .tcp_keepalive_interval(KEEPALIVE_INTERVAL)
        // What is shown is for the server alone: whatever the surroundings say of proxies and elsewhere.
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .pool_idle_timeout(IDLE_LIMIT)
        .user_agent(concat!("upstart/", env!("CARGO_PKG_VERSION")))
}

/// The HTTP client that speaks no TLS. It is given some all the same: the default would look for the host's certificates.
fn plain() -> Result<reqwest::Client, ClientError> {
    let tls = identity::client_config(None, None)?;
    let client = builder().tls_backend_preconfigured(tls).build();
    client.map_err(ClientError::Setup)
}

/// Reads one server's base address; a path is kept as a prefix (a mirror behind a gateway).
fn server_url(text: &str) -> Result<Url, ClientError> {
    let bad = |reason: String| ClientError::Address {
        address: text.to_owned(),
        reason,
    };
    let url = Url::parse(text).map_err(|error| bad(error.to_string()))?;
    if !matches!(url.scheme(), "https" | "http") {
        return Err(bad(format!(
            "the scheme is `{}`, give https://HOST:PORT",
            url.scheme()
        )));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad(
            "it holds a name or a password, and the server asks for a token (--token-file FILE); give https://HOST:PORT".to_owned(),
        ));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked() {
        assert!(Client::new(&["http://127.0.0.1:7070"], None).is_ok());
        assert!(matches!(
            Client::new(&["127.0.0.1:7070"], None),
            Err(ClientError::Address { .. })
        ));
        assert!(matches!(
            Client::new(&["ftp://127.0.0.1"], None),
            Err(ClientError::Address { .. })
        ));
        assert!(matches!(
            Client::new(&["http://u:p@127.0.0.1:7070"], None),
            Err(ClientError::Address { .. })
        ));
        assert!(matches!(
            Client::new::<&str>(&[], None),
            Err(ClientError::NoServer)
        ));
    }

    #[test]
    fn what_cannot_be_sent_as_a_token_is_refused_as_one() {
        for bad in ["", "a\r\nX-Y: z", "two words", "schl\u{fc}ssel"] {
            let client = Client::new(&["http://127.0.0.1:7070"], Some(bad.to_owned()));
            assert!(matches!(client, Err(ClientError::Token(_))), "{bad:?}");
        }
    }

    #[tokio::test]
    async fn an_author_who_cannot_be_named_is_refused_before_anybody_is_asked() {
        let client = Client::new(&["http://127.0.0.1:1"], None).expect("a client");
        let client = client.with_author("x\x1b[2J\ny");
        let error = client.system().await.expect_err("refused");
        assert!(matches!(error, ClientError::Author(_)), "{error}");
        assert!(!error.is_temporary());
    }
}
