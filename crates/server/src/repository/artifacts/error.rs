//! Why artifacts cannot be used where they are told to lie.

use std::path::PathBuf;

/// Why artifacts cannot be used where they are told to lie.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactsError {
    /// The address leads nowhere.
    #[error("`{address}` is no address of artifacts: {why}")]
    Address {
        /// As it was given.
        address: String,
        /// Why.
        why: String,
    },
    /// There are no keys, or they cannot be read.
    #[error("there are no keys for {address}: {why}")]
    Keys {
        /// As it was given.
        address: String,
        /// Why.
        why: String,
    },
    /// The login to a registry cannot be read.
    #[error("there is no login for {address}: {why}")]
    Login {
        /// As it was given.
        address: String,
        /// Why.
        why: String,
    },
    /// The bucket is not there.
    #[error("the bucket of {0} is not there")]
    NoBucket(String),
    /// The folder in which uploads under way are noted cannot be used.
    #[error("cannot use {}", path.display())]
    Notes {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}
