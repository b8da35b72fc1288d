//! Sessions: adapters of protocols whose peers send messages in both directions without a strict
//! request and reply. The connection handler knows them beside calls; the first protocol of this
//! shape is still to come.

use bytes::Bytes;

use crate::chain::Side;
use crate::observer::Refusal;

/// One framed message and who sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The version of whoever sent it.
    pub from: Side,
    /// The message without its framing.
    pub payload: Bytes,
}

/// An adapter of a protocol whose traffic is messages.
pub trait Sessions: Send + Sync {
    /// A connection has been opened.
    fn open(&self) -> Box<dyn Session>;
}

/// One connection as an adapter sees it.
pub trait Session: Send {
    /// A message arrived; what is to be sent to either side is pushed to `out`, in order. A
    /// refusal ends the connection.
    fn message(&mut self, message: Message, out: &mut Vec<Message>) -> Result<(), Refusal>;
}
