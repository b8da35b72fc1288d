//! What an adapter is that follows calls which others make, where a service's dispatch is observed.
//!
//! Before a call is made, each adapter next to it notes durably that it will be ([`FollowedCall::expect`]); what it has followed closes that
//! note ([`Expected::close`]). A call that cannot be noted is not made.

use super::observation::Observation;
use crate::Pending;
use crate::chain::Next;
use crate::conflicts::HeldKey;
use crate::exchange::{Answer, Call};
use crate::refusal::Failure;

/// An adapter as one that can follow the calls at its next version.
pub trait Follower: Send + Sync {
    /// What a call at the next version is here; none where it need not be followed. The call comes back, read whole where it was looked into.
    ///
    /// # Errors
    /// The call cannot be read, or the adapter's state cannot be used.
    #[expect(clippy::type_complexity, reason = "a call, and perhaps what it is")]
    fn hear<'a>(
        &'a self,
        call: Call,
    ) -> Pending<'a, Result<(Call, Option<Box<dyn FollowedCall + 'a>>), Failure>>;

    /// Follows what a nearer adapter has told, all at once; gives what is to be told farther, nothing where it cannot follow. `near` is the
    /// call that all began with.
    fn follow_farther<'a>(
        &'a self,
        seen: Observation,
        near: &'a dyn FollowedCall,
        next: Next<'a>,
    ) -> Pending<'a, Vec<Observation>>;
}

/// A call that is followed, as one adapter has it.
pub trait FollowedCall: Send + Sync {
    /// The call; its body has been taken out.
    fn call(&self) -> &Call;

    /// The adapter's operation that it is, for messages.
    fn operation(&self) -> &str;

    /// Its conflict key; none for the whole node.
    fn key(&self) -> Option<&str>;

    /// Waits until no other call of this adapter's callers holds the key, and holds it.
    fn hold(&self) -> Pending<'_, HeldKey<'_>>;

    /// How it fails where it waits too long for that.
    fn waited(&self) -> Failure;

    /// Notes that it is about to be made. Whoever asks holds its key; `next` is only for what has to be recovered from before.
    ///
    /// # Errors
    /// The note cannot be made durable.
    fn expect<'h, 'n>(
        &'h self,
        next: Next<'n>,
    ) -> Pending<'n, Result<Box<dyn Expected + 'h>, Failure>>
    where
        'h: 'n;
}

/// A call that has been noted. Dropped, its note stays open, and the adapter recovers from it before anything else.
pub trait Expected: Send {
    /// Follows the call with its answer, which is whole: gives what the adapter's own callers would have had to do; none where it cannot follow.
    fn follow<'a>(&'a mut self, answer: &'a Answer) -> Pending<'a, Option<Vec<Observation>>>;

    /// Makes durable what following has changed, and closes the note.
    fn close<'a>(self: Box<Self>) -> Pending<'a, ()>
    where
        Self: 'a;

    /// Closes the note of a call that has changed nothing.
    fn forget<'a>(self: Box<Self>) -> Pending<'a, ()>
    where
        Self: 'a;
}
