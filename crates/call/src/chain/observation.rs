//! What adapters that follow calls tell each other.

/// A call and its reply, as an adapter's own callers would have made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The call.
    pub call: ObservedCall,
    /// The reply.
    pub reply: ObservedReply,
}

/// A call that was followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObservedCall {
    /// A request of HTTP.
    Http {
        /// Its method.
        method: String,
        /// Its path and query.
        target: String,
        /// Its headers.
        headers: Vec<(String, String)>,
        /// Its body.
        body: Vec<u8>,
    },
    /// The words of a command.
    Resp(Vec<Vec<u8>>),
    /// A message without its framing.
    Message(Vec<u8>),
}

/// The reply to a call that was followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObservedReply {
    /// An answer of HTTP.
    Http {
        /// Its status.
        status: u16,
        /// Its headers.
        headers: Vec<(String, String)>,
        /// Its body.
        body: Vec<u8>,
    },
    /// One value of RESP, or several.
    Resp(Vec<u8>),
    /// A message without its framing.
    Message(Vec<u8>),
}
