//! Protocols, lenses and the connection handler of cross-version calls.
//!
//! A foreign connection (one whose label's version has another interface than the node's) is
//! served here: bytes become calls, each call passes a [`Chain`] of adapters to the software and
//! its answer comes back the same way. [`Lens`] is the declarative adapter; docs/lenses.md is its
//! reference.

mod call;
mod chain;
mod conflicts;
pub mod conversation;
pub mod framing;
mod gate;
mod http;
pub mod json;
mod lens;
mod limits;
mod observer;
pub mod sessions;

pub use call::{Answer, Body, BodyError, BodyLimits, Call};
pub use chain::{Calls, Chain, Delegate, Direction, Next, Pending, Side};
pub use conflicts::{Conflicts, Held, Hold, Key};
pub use gate::{Closed, Dial, Gate, Lease, Upstream};
pub use http::{ResetCause, Served, serve_http};
pub use lens::{Lens, LensError, explain};
pub use limits::Limits;
pub use observer::{Counted, Counters, Failure, Observer, Refusal, RefusalKind};
