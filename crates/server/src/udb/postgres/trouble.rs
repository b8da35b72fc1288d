//! What goes wrong with PostgreSQL: a connection that is of no use any more, or a refusal.

use crate::udb::UdbError;
use deadpool_postgres::PoolError;
use std::error::Error;
use tokio_postgres::error::{DbError, SqlState};

/// What went wrong.
#[derive(Debug)]
pub(super) enum PostgresTrouble {
    /// The connection, or the way to a database that writes: another may do.
    Broken(String),
    /// Another server has committed meanwhile.
    Conflict,
    /// PostgreSQL says no; nothing was changed.
    Refused(UdbError),
}

impl PostgresTrouble {
    /// No connection could be had.
    pub(super) fn of_pool(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => match Self::from(error) {
                Self::Broken(why) => Self::Broken(format!("no connection: {why}")),
                refused => refused,
            },
            PoolError::Timeout(_) => Self::Broken("no connection came about in time".to_owned()),
            other => Self::Broken(format!("no connection: {other}")),
        }
    }
}

impl From<tokio_postgres::Error> for PostgresTrouble {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(said) = error.as_db_error() else {
            return Self::Broken(innermost(&error));
        };
        if *said.code() == SqlState::DISK_FULL {
            return Self::Refused(UdbError::Full);
        }
        let text = sentence(said);
        if ends_connection(said.code()) {
            Self::Broken(text)
        } else {
            Self::Refused(UdbError::Failed(format!("PostgreSQL says: {text}")))
        }
    }
}

impl From<PostgresTrouble> for UdbError {
    fn from(trouble: PostgresTrouble) -> Self {
        match trouble {
            PostgresTrouble::Broken(why) => {
                Self::Failed(format!("PostgreSQL cannot be used: {why}"))
            }
            PostgresTrouble::Conflict => Self::Conflict,
            PostgresTrouble::Refused(error) => error,
        }
    }
}

/// The server ends, was ended, has too many connections, only reads since another was promoted, or waits for its standby.
fn ends_connection(code: &SqlState) -> bool {
    let class = |class: &str| code.code().starts_with(class);
    let is_locked = *code == SqlState::LOCK_NOT_AVAILABLE;
    class("08")
        || class("57P")
        || class("53")
        || is_locked
        || *code == SqlState::READ_ONLY_SQL_TRANSACTION
}

fn sentence(said: &DbError) -> String {
    let mut text = said.message().to_owned();
    for more in [said.detail(), said.hint()].into_iter().flatten() {
        text = format!("{text} ({more})");
    }
    text
}

/// The cause at the bottom: the layers above only name the part of the protocol.
fn innermost(error: &tokio_postgres::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
