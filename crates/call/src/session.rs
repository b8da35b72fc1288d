//! What an adapter of sessions is: the events that it sees, and what it may answer. The same shape as `wit/sessions.wit`.

use crate::Pending;
use std::net::SocketAddr;
use std::sync::Arc;

/// The longest that is remembered of a session, in bytes: thousands of sessions are open at once.
pub const MEMO_BYTES_MAX: usize = 4_096;

/// Who says a message, or is told one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Party {
    /// The caller, or the adapter that is nearer to it.
    Caller,
    /// The next in the chain: an adapter that is nearer to the software, or the software.
    Next,
}

impl Party {
    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::Caller => Self::Next,
            Self::Next => Self::Caller,
        }
    }
}

/// Whose session it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionCaller {
    /// The version on the connection's label.
    pub version: u32,
    /// Its address, as the software sees it.
    pub address: SocketAddr,
    /// The service that it called.
    pub service: Arc<str>,
}

/// A session, and what is remembered of it.
#[derive(Clone, Copy, Debug)]
pub struct Session<'s> {
    /// No two sessions of an agent's life share it.
    pub id: u64,
    /// What the last event left; empty at first.
    pub memo: &'s [u8],
}

/// What is known of a message when its head is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageHead<'m> {
    /// Its first bytes, as many as the service declares, or all of a shorter message.
    pub bytes: &'m [u8],
    /// Its length in bytes, head included; none for raw and for delimited messages.
    pub length: Option<u64>,
}

/// What becomes of a message, said when its head is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionVerdict {
    /// It goes to the other side as it is.
    Pass,
    /// It goes to the other side with this head; what follows the head stays as it is.
    ReplaceHead(Vec<u8>),
    /// The adapter wants to see all of it.
    Whole,
    /// Nobody gets it.
    Drop,
    /// The session ends; the reason is for the log.
    Close(String),
}

/// A message to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingMessage {
    /// To whom.
    pub to: Party,
    /// The message without its framing.
    pub message: Vec<u8>,
}

/// What follows from an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reaction {
    /// Sent in this order. What is for a side is lost once the other has ended: then nobody speaks to it any more.
    pub send: Vec<OutgoingMessage>,
    /// Wake this session after so many milliseconds, instead of what was asked for before; 0 takes that back.
    pub timer_ms: Option<u32>,
    /// What is remembered of the session; nothing where it stays as it is. At most [`MEMO_BYTES_MAX`].
    pub memo: Option<Vec<u8>>,
    /// The session ends after what is sent; the reason is for the log.
    pub close: Option<String>,
}

/// An adapter did not do its work: a trap, a limit. Its session is reset.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the adapter failed: {0}")]
pub struct AdapterFailed(pub String);

/// The answer to an event.
pub type EventAnswer<'a, T> = Pending<'a, Result<T, AdapterFailed>>;

/// An adapter of a protocol in which either side may speak. Events of one session come one at a time, those of different sessions
/// at once.
pub trait Sessions: Send + Sync {
    /// A session has begun.
    fn open<'a>(&'a self, session: u64, caller: &'a SessionCaller) -> EventAnswer<'a, Reaction>;

    /// The head of a message is there.
    fn on_head<'a>(
        &'a self,
        session: Session<'a>,
        sender: Party,
        head: MessageHead<'a>,
    ) -> EventAnswer<'a, SessionVerdict>;

    /// A message is there whose head was judged [`SessionVerdict::Whole`].
    fn on_message<'a>(
        &'a self,
        session: Session<'a>,
        sender: Party,
        message: &'a [u8],
    ) -> EventAnswer<'a, Reaction>;

    /// The time that a reaction asked for has passed.
    fn on_timer<'a>(&'a self, session: Session<'a>) -> EventAnswer<'a, Reaction>;

    /// The session has ended, whatever the reason.
    fn closed<'a>(&'a self, session: Session<'a>) -> Pending<'a, ()>;
}
