//! Who is who between agents, people and upgrade servers.
//!
//! The upgrade servers of a system have an [`Authority`] of their own. It certifies keys: those of the servers, so that callers know whom
//! they tell what they tell, and those of nodes and operators, so that servers know who calls. Callers know the authority by its [`Pin`],
//! which is part of every token; whoever has been certified keeps a [`Credential`].
//!
//! Who may do what is not decided here: a certificate says only whose a key is.

mod authority;
mod credential;
mod fetch_pass;
mod files;
mod issuer;
mod peer;
mod pin;
mod tls;
mod unkept;

pub use authority::{Authority, CertificateTerms, KeyRequest};
pub use credential::{Credential, CredentialFolder};
pub use fetch_pass::{PASS_LIFE_MS, PassChecker};
pub use issuer::{
    ClaimError, ClaimedOperator, Issuer, IssuerFileError, IssuerKeySet, is_web_token, issuer_tls,
    outside_tls,
};
pub use peer::PeerCertificate;
pub use pin::{Pin, PinnedToken};
pub use tls::{UNPROVEN, client_config, node_client_config, node_server_config, server_config};
pub use unkept::UnkeptKey;

use std::io;
use std::path::PathBuf;

/// Why an authority or a credential is of no use.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Others than its owner can read or change a file with a key in it.
    #[error("others than its owner can read or change {}, which holds a key (mode {mode:04o})", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Others than its owner can change a file.
    #[error("others than its owner can change {} (mode {mode:04o})", path.display())]
    Writable {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Somebody else has put a key there.
    #[error("{} belongs to user {owner}, who knows what is in it", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// A file does not hold what it should.
    #[error("{} is damaged: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// What somebody sent is no request for a certificate, or no certificate.
    #[error("{0}")]
    Unfit(String),
    /// The cryptography failed.
    #[error("cannot {what}: {why}")]
    Crypto {
        /// What was tried.
        what: &'static str,
        /// What the library says.
        why: String,
    },
}

impl IdentityError {
    /// What to do about it.
    #[must_use]
    pub fn advice(&self) -> String {
        match self {
            Self::Open { path, .. } => format!(
                "`chmod 600 {}`; if it was open for long, whoever read it can pass for its owner: remove it, and enrol or log in anew",
                path.display()
            ),
            Self::Writable { path, .. } => format!(
                "`chmod 644 {}`, and find out who has written there",
                path.display()
            ),
            Self::Foreign { path, .. } => format!(
                "find out who could write there; put {} back from a backup that is yours, or remove it and enrol or log in anew",
                path.display()
            ),
            Self::Damaged { path, .. } => format!(
                "put {} back from a backup, or remove it and enrol or log in anew",
                path.display()
            ),
            Self::File { path, .. } => {
                format!(
                    "this user must be able to read and write {}",
                    path.display()
                )
            }
            Self::Unfit(_) | Self::Crypto { .. } => "report this".to_owned(),
        }
    }
}

/// Names what was tried where the cryptography failed.
fn crypto<E: ToString>(what: &'static str) -> impl FnOnce(E) -> IdentityError {
    move |error| IdentityError::Crypto {
        what,
        why: error.to_string(),
    }
}
