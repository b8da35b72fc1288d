//! The typed client of the upgrade server's `/v1` interface, shared by the agent, the command line and tests.
//!
//! Several server addresses may be given: the one that answered last is asked first, the others follow when it cannot
//! be reached. A change carries one `Idempotency-Key` through all its attempts, so that none happens twice.

mod artifacts;
mod error;
mod local;
mod nodes;
mod operate;
mod send;
mod upgrades;

pub use artifacts::ArtifactBody;
pub use error::ClientError;

use reqwest::Url;
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

/// The longest wait that the server grants a long poll.
pub const WAIT_MAX: Duration = Duration::from_secs(30);

/// A client of one upgrade server, or of several over one database. Cheap to share behind an `Arc`.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    servers: Vec<Url>,
    /// The server that answered last.
    preferred: AtomicUsize,
    token: Option<String>,
    author: Option<String>,
}

impl Client {
    /// A client for the servers at these base addresses (`http://127.0.0.1:7070`), with the bearer token that they ask for. Without one,
    /// servers of this user or of root on this host are asked for theirs; what nobody has told one at a loopback address is not asked at all.
    ///
    /// # Errors
    /// An address that is not an `http` URL, or none at all.
    pub fn new<S: AsRef<str>>(servers: &[S], token: Option<String>) -> Result<Self, ClientError> {
        let servers = servers
            .iter()
            .map(|text| server_url(text.as_ref()))
            .collect::<Result<Vec<Url>, ClientError>>()?;
        if servers.is_empty() {
            return Err(ClientError::NoServer);
        }
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_LIMIT)
            .read_timeout(SILENCE_LIMIT)
            .tcp_user_timeout(ACKNOWLEDGED_LIMIT)
            .tcp_keepalive(KEEPALIVE_INTERVAL)
            .tcp_keepalive_interval(KEEPALIVE_INTERVAL)
            // The token is for the server alone: whatever the surroundings say of proxies and elsewhere.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .pool_idle_timeout(IDLE_LIMIT)
            .user_agent(concat!("upstart/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(ClientError::Setup)?;
        Ok(Self {
            http,
            servers,
            preferred: AtomicUsize::new(0),
            token,
            author: None,
        })
    }

    /// The same client, whose changes are recorded under this author's name (a person; agents write under their node's name).
    #[must_use]
    pub fn with_author(mut self, author: impl Into<String>) -> Self {
        self.author = Some(author.into());
        self
    }

    /// The servers' base addresses, as given.
    #[must_use]
    pub fn servers(&self) -> Vec<String> {
        self.servers.iter().map(Url::to_string).collect()
    }
}

/// Reads one server's base address; a path is kept as a prefix (a mirror behind a gateway).
fn server_url(text: &str) -> Result<Url, ClientError> {
    let bad = |reason: String| ClientError::Address {
        address: text.to_owned(),
        reason,
    };
    let url = Url::parse(text).map_err(|error| bad(error.to_string()))?;
    if url.scheme() != "http" {
        return Err(bad(format!(
            "the scheme is `{}`, give http://HOST:PORT",
            url.scheme()
        )));
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
            Client::new::<&str>(&[], None),
            Err(ClientError::NoServer)
        ));
    }
}
