//! Why a database did not do what was asked of it.

/// Why the database did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UdbError {
    /// Somebody else has committed since: read again and decide again. Nothing was changed.
    #[error("another server has changed the upgrade database")]
    Conflict,
    /// The disk is full. Nothing was changed.
    #[error("the upgrade database's disk is full")]
    Full,
    /// The database was made by a newer program.
    #[error(
        "the upgrade database has schema {found}, this program knows {known}; use a newer program"
    )]
    Newer {
        /// Its schema.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// Somebody has committed here, who was not to.
    #[error("the database is not empty: {commits} commits were made there")]
    Taken {
        /// How many commits there were.
        commits: i64,
    },
    /// The database's address, or what is needed to get there, is of no use.
    #[error("{0}")]
    Address(String),
    /// Anything else; whether a commit has happened is not known.
    #[error("{0}")]
    Failed(String),
}
