//! Why a request did not do what it was sent for.

use crate::Doubt;
use model::api::Problem;
use std::path::PathBuf;

/// A request that failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server answered with a problem: it understood the request and refused it, or could not serve it.
    #[error("{}", said(.0))]
    Problem(Problem),
    /// No server could be reached, or the connection broke before the answer was whole.
    #[error("no upgrade server answers at {servers}: {reason}")]
    Unreachable {
        /// The addresses tried, for people.
        servers: String,
        /// What the last attempt met.
        reason: String,
    },
    /// It has taken the request and says nothing: it stands still, or its network swallows what it says.
    #[error(
        "the upgrade server at {servers} has accepted the request but does not answer: {reason}"
    )]
    Silent {
        /// The addresses tried, for people.
        servers: String,
        /// How long it was waited for.
        reason: String,
    },
    /// It is not believed, or it would not believe us: it was asked nothing.
    #[error("the upgrade server at {server} is not asked: {doubt}")]
    NotAsked {
        /// Its address.
        server: String,
        /// Why.
        doubt: Doubt,
    },
    /// The token that was given cannot be one.
    #[error("the token that was given is none: {0}")]
    Token(&'static str),
    /// The author's name cannot be told.
    #[error(
        "`{0}` cannot stand in the history as an author's name: it has 1 to 256 bytes, and no control characters"
    )]
    Author(String),
    /// Something answered that is not an upgrade server of this kind.
    #[error("{url} does not answer like an upgrade server ({reason}); check the address")]
    Unexpected {
        /// What was asked.
        url: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// A server's address that cannot be used.
    #[error("`{address}` is not the address of an upgrade server: {reason}")]
    Address {
        /// The address as given.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No server's address was given.
    #[error("no upgrade server is named; give one with --server https://HOST:PORT")]
    NoServer,
    /// What is needed for TLS is of no use.
    #[error(transparent)]
    Identity(#[from] identity::IdentityError),
    /// The HTTP client could not be made.
    #[error("the HTTP client cannot start")]
    Setup(#[source] reqwest::Error),
    /// A local file that was to be uploaded cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl ClientError {
    /// The problem's stable type (`/problems/permit-lost`), where the server gave one.
    #[must_use]
    pub fn kind(&self) -> Option<&str> {
        match self {
            Self::Problem(problem) => Some(&problem.kind),
            _ => None,
        }
    }

    /// The HTTP status of the problem, where the server gave one.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Problem(problem) => Some(problem.status),
            _ => None,
        }
    }

    /// The same request may succeed later without anybody changing it: no server answers, or it is in trouble itself.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Silent { .. } | Self::NotAsked { .. } => true,
            Self::Problem(problem) => problem.status >= 500 || problem.status == 429,
            _ => false,
        }
    }
}

/// The problems whose detail says by itself what was refused: their title would say it twice.
const SAID_BY_DETAIL: [&str; 7] = [
    "/problems/unknown-node",
    "/problems/unknown-version",
    "/problems/unknown-service",
    "/problems/unknown-class",
    "/problems/not-blocked",
    "/problems/approval-refused",
    "/problems/permit-lost",
];

/// A problem for people.
fn said(problem: &Problem) -> String {
    let Problem { title, detail, .. } = problem;
    if SAID_BY_DETAIL.contains(&problem.kind.as_str()) && !detail.is_empty() {
        detail.clone()
    } else {
        format!("{title}: {detail}")
    }
}
