//! Why a server cannot start or go on.

use crate::udb::UdbError;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a server cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The data directory cannot be used.
    #[error("cannot use the data directory {}", path.display())]
    Data {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The token cannot be had.
    #[error(transparent)]
    Token(#[from] crate::token::TokenError),
    /// The authority that certifies keys cannot be used.
    #[error("cannot certify keys")]
    Authority(#[from] identity::IdentityError),
    /// The issuer of web tokens cannot be asked.
    #[error("cannot let anybody in by web tokens: {0}")]
    Issuer(String),
    /// Another server runs over the data directory.
    #[error("another server uses the data directory {}", .0.display())]
    InUse(PathBuf),
    /// The artifacts cannot be had as it is told.
    #[error(transparent)]
    Artifacts(#[from] crate::repository::ArtifactsError),
    /// The upgrade database cannot be used.
    #[error("the upgrade database cannot be used")]
    Udb(#[from] UdbError),
    /// What the repository holds does not fit the database.
    #[error("version {version} cannot be read back from the repository: {reason}")]
    Repository {
        /// The version.
        version: u32,
        /// What is wrong.
        reason: String,
    },
    /// The server's own key cannot be used.
    #[error("cannot use the key that seals the signed repository")]
    Key(#[from] repository::SignError),
    /// A change that an earlier server had begun cannot be ended.
    #[error("what was signed last cannot be sealed: {0}")]
    Unsealed(String),
    /// The address is taken or not there.
    #[error("cannot listen at {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The address for metrics is taken or not there.
    #[error("cannot tell metrics at {address}")]
    MetricsListen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A task without which it cannot go on has broken.
    #[error("the {0} has broken down: {1}")]
    Broken(&'static str, String),
}
