//! Why sessions end otherwise than by their peers' wish.

use call::AdapterFailed;
use std::io;
use wire::framing::FramingError;

/// What ended a session.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// What a side sent is no message, or an adapter's message cannot be framed.
    #[error(transparent)]
    Framing(#[from] FramingError),
    /// An adapter failed.
    #[error(transparent)]
    Adapter(#[from] AdapterFailed),
    /// A connection failed.
    #[error("a connection failed")]
    Connection(#[source] io::Error),
    /// An adapter asked for a message that is longer than it may be given.
    #[error("the adapter wants a message whole that is longer than {0} bytes")]
    TooLongForWhole(usize),
    /// An adapter wants more to be remembered than may be.
    #[error("the adapter's memo has {0} bytes")]
    MemoTooLong(usize),
    /// An adapter, or several of a chain in turn, sent too much after one event.
    #[error("the adapter sends more than {0} after one event")]
    SendsTooMuch(&'static str),
    /// An adapter's wish.
    #[error("the adapter ended the session: {0}")]
    Asked(String),
}

impl From<io::Error> for SessionError {
    fn from(error: io::Error) -> Self {
        Self::Connection(error)
    }
}
