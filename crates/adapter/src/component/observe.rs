//! Observed dispatch: an adapter follows the calls that are made at its next version.

use std::sync::Arc;

use super::bindings::exports::upstart::adapter::calls::Observation as Seen;
use super::bindings::upstart::adapter::messages as wit;
use super::form;
use super::run::{Broken, Question, Ran, Said};
use super::step::{Asked, ComponentStep};
use crate::call::{Answer, Body, Call, Form};
use crate::chain::Next;
use crate::conflicts::{Hold, Key};
use crate::observer::Failure;
use crate::state::{OpenIntent, State, Transaction};

/// A call and its reply, as an adapter's own callers would have made it.
pub(crate) type Observation = Seen;

/// A call that is about to be made.
pub(crate) struct Expected {
    open: OpenIntent,
    /// Everything before it has been followed, or recovered from.
    is_next: bool,
}

/// What following a call has changed.
pub(crate) type Followed = Transaction;

impl Asked<'_> {
    /// Its conflict key; none for the whole node.
    pub(crate) fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// What it excludes others from.
    pub(crate) fn excludes(&self) -> Key<'_> {
        self.key().map_or(Key::Node, Key::Named)
    }
}

impl ComponentStep {
    /// What a call at the next version is here; none where it need not be followed. The call comes back, read whole where it was looked into.
    pub(crate) async fn hear(&self, call: Call) -> Result<(Call, Option<Asked<'_>>), Failure> {
        let is_http = Form::of(&call.head.extensions) == Form::Http;
        if is_http && !self.operation(&call.head).may_write() {
            return Ok((call, None));
        }
        let (head, limits) = (call.head.clone(), call.limits);
        let asked = self.take(call, true).await?;
        let body = match asked.body.is_empty() {
            true => Body::Empty,
            false => Body::Bytes(asked.body.clone()),
        };
        let call = Call { head, body, limits };
        Ok((call, asked.operation.may_write().then_some(asked)))
    }

    /// What the adapter remembers.
    pub(crate) fn state_of(&self, asked: &Asked<'_>) -> Result<Arc<State>, Failure> {
        let state = self.stores.state(self.standing.state);
        state.map_err(|error| self.broken(asked.operation, Broken::State(error)))
    }

    /// A call has waited too long for its key here.
    pub(crate) fn waited(&self, asked: &Asked<'_>) -> Failure {
        let key = asked.key().unwrap_or("the whole node");
        let why = format!(
            "a call that it is to follow waited too long for the conflict key `{key}`; the two adapters of a version must name the same thing alike"
        );
        self.broken(asked.operation, Broken::Trapped(why))
    }

    /// Notes that a call is about to be made. Whoever asks holds its key.
    pub(crate) async fn expect(
        &self,
        state: &Arc<State>,
        asked: &Asked<'_>,
        mut next: Next<'_>,
    ) -> Result<Expected, Failure> {
        // What cannot be recovered from now is tried again before whatever comes next.
        let is_next = self.begin(state, asked).await.is_ok()
            && self.recover(state, asked, &mut next).await.is_ok();
        let mut intent = asked.intent();
        intent.observed = true;
        let open = state.intend(intent, self.declaration.limits().state_bytes);
        let open = open.await;
        let open = open.map_err(|error| self.broken(asked.operation, Broken::State(error)))?;
        Ok(Expected { open, is_next })
    }

    /// Follows an answered call: what that changes here, and what its own callers would have had to do. None where it cannot: then the
    /// note stays open.
    pub(crate) async fn follow(
        &self,
        state: &Arc<State>,
        asked: &Asked<'_>,
        expected: &Expected,
        answer: &Answer,
    ) -> Option<(Followed, Vec<Observation>)> {
        if !expected.is_next {
            return None;
        }
        let form = Form::of(&asked.call.head.extensions);
        let body = match &answer.body {
            Body::Bytes(bytes) => bytes.to_vec(),
            _ => Vec::new(),
        };
        let followed = match form::replied(form, &answer.head, body) {
            Ok(reply) => self.followed(state, asked, reply).await,
            Err(why) => Err(Broken::Trapped(format!("it cannot be told a reply: {why}"))),
        };
        followed
            .map_err(|why| self.broken(asked.operation, why))
            .ok()
    }

    async fn followed(
        &self,
        state: &Arc<State>,
        asked: &Asked<'_>,
        reply: wit::Reply,
    ) -> Result<(Followed, Vec<Observation>), Broken> {
        let seen = Observation {
            direction: self.direction(),
            call: asked.request.clone(),
            reply,
        };
        let transaction = state.transaction(self.declaration.limits().state_bytes, true);
        let question = Question::Observe(seen);
        let ran = self.run(&asked.places, question, Some(transaction), None);
        let Ran { said, transaction } = ran.await?;
        match (said, transaction) {
            (Said::Observed(Ok(farther)), Some(transaction)) => Ok((transaction, farther)),
            (Said::Observed(Err(why)), _) => {
                Err(Broken::Trapped(format!("it cannot follow: {why}")))
            }
            _ => Err(Broken::Trapped("it said something else".to_owned())),
        }
    }

    /// Makes durable what following a call has changed, and closes its note.
    pub(crate) async fn close(
        &self,
        state: &Arc<State>,
        asked: &Asked<'_>,
        followed: Followed,
        expected: Expected,
    ) {
        if let Err(error) = state.finish(followed, Some(expected.open)).await {
            self.broken(asked.operation, Broken::State(error));
        }
    }

    /// Closes the note of a call that has changed nothing.
    pub(crate) async fn forget(&self, state: &Arc<State>, asked: &Asked<'_>, expected: Expected) {
        let nothing = state.transaction(0, false);
        self.close(state, asked, nothing, expected).await;
    }

    /// Follows what a nearer adapter has told, all at once; gives what is to be told farther. `near` is the call that all began with.
    pub(crate) async fn follow_farther(
        &self,
        seen: Observation,
        near: &Asked<'_>,
        next: Next<'_>,
    ) -> Vec<Observation> {
        let told = self.told_farther(seen, near, next).await;
        told.unwrap_or_else(|failure| {
            tracing::error!(target: "adapter", %failure, "an adapter could not be told what it must follow");
            Vec::new()
        })
    }

    async fn told_farther(
        &self,
        seen: Observation,
        near: &Asked<'_>,
        next: Next<'_>,
    ) -> Result<Vec<Observation>, Failure> {
        let broken = |why| self.broken(near.operation, Broken::Trapped(why));
        let extensions = &near.call.head.extensions;
        let call = form::delegated(seen.call, near.call.limits, extensions).map_err(broken)?;
        let (call, asked) = self.hear(call).await?;
        let Some(asked) = asked else {
            return Ok(Vec::new());
        };
        let state = self.state_of(&asked)?;
        let _key = state.locks.hold(asked.excludes(), Hold::Exclusive).await;
        let expected = self.expect(&state, &asked, next).await?;
        if !expected.is_next {
            return Ok(Vec::new());
        }
        form::answer(seen.reply.clone(), &call.head).map_err(broken)?;
        let followed = self.followed(&state, &asked, seen.reply).await;
        let followed = followed.map_err(|why| self.broken(asked.operation, why))?;
        let (changes, farther) = followed;
        self.close(&state, &asked, changes, expected).await;
        Ok(farther)
    }
}
