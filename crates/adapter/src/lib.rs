//! Protocols, lenses and the connection handler of cross-version calls.
//!
//! A foreign connection (one whose label's version has another interface than the node's) is
//! served here: bytes become calls, each call passes a [`Chain`] of adapters to the software and
//! its answer comes back the same way. [`Lens`] is the declarative adapter; docs/reference/lenses.md is its
//! reference. [`component`] runs adapters in WebAssembly; docs/reference/adapters.md is theirs. What these
//! remember is kept by [`Stores`].

mod budget;
mod call;
mod chain;
pub mod component;
mod conflicts;
pub mod conversation;
mod ending;
mod follow;
mod gate;
mod headers;
mod http;
mod kind;
pub mod lens;
mod limits;
mod messages;
mod observer;
mod places;
mod presence;
mod refusal;
mod session;
pub mod sessions;
mod state;

pub use budget::HeldBytes;
pub use call::{Answer, Body, BodyError, BodyLimits, Call, Caller, Form};
pub use chain::{Calls, Chain, Delegate, Direction, Next, Pending, Side};
pub use conflicts::{Conflicts, Held, Hold, Key};
pub use follow::{Expected, Follower, Heard, Observation, ObservedCall, ObservedReply};
pub use gate::{Closed, Dial, Gate, Lease, Upstream};
pub use http::{ResetCause, Served, serve_http};
pub use kind::AdapterKind;
pub use lens::{Lens, LensError, explain};
pub use limits::Limits;
pub use messages::{MessageNode, MessageProtocol, serve_messages};
pub use observer::{Counted, Counters, Observer};
pub use refusal::{AdapterFailure, Failure, Refusal, RefusalKind};
pub use state::{ENTRIES_FILE, StateError, StateId, StateOrigin, Stores, UNFINISHED_FILE};
