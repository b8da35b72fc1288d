//! The handlers of foreign connections (those whose label's version has another interface than the node's).
//!
//! Bytes become calls, each call passes a chain of adapters to the software, and its answer comes back the same way: [`serve_http`] for
//! HTTP/1.1, [`serve_messages`] for protocols of one answer to each message. Where either side may speak, [`serve_session`] passes
//! messages through the adapters of sessions. Which adapters those are, who gives leave, and where the software is, whoever serves says
//! (the crate `call`).

mod ending;
mod http;
mod messages;
mod presence;
mod sessions;

pub use ending::{ResetCause, Served};
pub use http::serve_http;
pub use messages::{MessageNode, MessageProtocol, serve_messages};
pub use sessions::{SessionChain, SessionEnd, SessionError, Wire, serve_session};
