//! Calls between versions: the core that adapters, and whoever serves connections, have in common.
//!
//! A foreign connection (one whose label's version has another interface than the node's) is a stream of [`Call`]s. Each passes a
//! [`Chain`] of adapters ([`Calls`]) to the software, the [`Delegate`] at the chain's end, and its [`Answer`] comes back the same way, or a
//! [`Failure`]. Before it begins, a [`Gate`] gives leave; adapters keep calls apart by [`Conflicts`]; bodies stream through unless
//! somebody needs them, and what all calls hold together has one budget ([`HeldBytes`]). Where a service's dispatch is observed, a
//! [`Follower`] is told of the calls that it did not make.
//!
//! Protocols in which either side may speak have [`Sessions`] as their adapters.
//!
//! Nothing here knows what adapters there are.

mod body;
mod budget;
mod chain;
mod conflicts;
mod direction;
mod exchange;
mod gate;
mod headers;
mod kind;
mod limits;
mod observer;
mod places;
mod refusal;
mod session;

use std::future::Future;
use std::pin::Pin;

pub use body::{Body, BodyError, BodyLimits, WatchedBody};
pub use budget::{HeldBytes, Share, answered};
pub use chain::{
    Calls, Chain, Delegate, Expected, FollowedCall, Follower, Next, Observation, ObservedCall,
    ObservedReply,
};
pub use conflicts::{Conflicts, HeldKey, Hold, Key, Locks};
pub use direction::{Direction, Side};
pub use exchange::{
    Answer, AwaitsContinue, Call, CallContext, Caller, Form, HttpAnswer, HttpCall, MessageCall,
    MessageForm, PassesInterims,
};
pub use gate::{Closed, Dial, Gate, Lease, Upstream};
pub use headers::strip_hops;
pub use kind::{AdapterKind, UnfitAdapter};
pub use limits::Limits;
pub use observer::{Counted, Counters, Observer};
pub use places::{Places, RUNNING_MAX};
pub use refusal::{AdapterFailure, Failure, Refusal, RefusalBody, RefusalKind, RefusalWords};
pub use session::{
    AdapterFailed, EventAnswer, MEMO_BYTES_MAX, MessageHead, OutgoingMessage, Party, Reaction,
    Session, SessionCaller, SessionVerdict, Sessions,
};

/// A boxed future, as the object-safe traits of this crate return it.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
