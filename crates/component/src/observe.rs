//! Observed dispatch: an adapter follows the calls that are made at its next version.

use std::sync::Arc;

use crate::asked::AskedCall;
use crate::bindings::exports::upstart::adapter::calls::Observation as Seen;
use crate::bindings::upstart::adapter::messages as wit;
use crate::broken::RunFailure;
use crate::form;
use crate::observed;
use crate::run::{Ran, RunAnswer, RunQuestion};
use crate::state::{AdapterState, OpenIntent, Transaction};
use crate::step::ComponentStep;
use call::{
    Answer, Call, Expected, Failure, FollowedCall, Follower, HeldKey, Hold, Key, Next, Observation,
    Pending,
};

/// A call at the next version, and what the adapter remembers.
struct Following<'s> {
    step: &'s ComponentStep,
    asked: AskedCall<'s>,
    state: Arc<AdapterState>,
}

/// A call that is about to be made.
struct NotedCall<'h, 's> {
    of: &'h Following<'s>,
    open: OpenIntent,
    /// Everything before it has been followed, or recovered from.
    is_next: bool,
    /// What following it has changed.
    followed: Option<Transaction>,
}

impl Follower for ComponentStep {
    fn hear<'a>(
        &'a self,
        call: Call,
    ) -> Pending<'a, Result<(Call, Option<Box<dyn FollowedCall + 'a>>), Failure>> {
        Box::pin(async move {
            let (call, following) = self.following(call).await?;
            let following =
                following.map(|following| -> Box<dyn FollowedCall + 'a> { Box::new(following) });
            Ok((call, following))
        })
    }

    fn follow_farther<'a>(
        &'a self,
        seen: Observation,
        near: &'a dyn FollowedCall,
        next: Next<'a>,
    ) -> Pending<'a, Vec<Observation>> {
        Box::pin(async move {
            let told = self.told_farther(seen, near, next).await;
            told.unwrap_or_else(|failure| {
                tracing::error!(target: "adapter", %failure, "an adapter could not be told what it must follow");
                Vec::new()
            })
        })
    }
}

impl ComponentStep {
    /// What a call at the next version is here; none where it need not be followed.
    async fn following(&self, call: Call) -> Result<(Call, Option<Following<'_>>), Failure> {
        if let Call::Http(request) = &call
            && !self.operation(&request.head).may_write()
        {
            return Ok((call, None));
        }
        let asked = self.take(call, true).await?;
        let call = asked.whole();
        if !asked.operation.may_write() {
            return Ok((call, None));
        }
        let state = self.stores.state(self.place.state);
        let state =
            state.map_err(|error| self.broken(asked.operation, RunFailure::State(error)))?;
        let following = Following {
            step: self,
            asked,
            state,
        };
        Ok((call, Some(following)))
    }

    async fn told_farther(
        &self,
        seen: Observation,
        near: &dyn FollowedCall,
        next: Next<'_>,
    ) -> Result<Vec<Observation>, Failure> {
        let broken = |why| self.broken_in(near.operation(), RunFailure::Trapped(why));
        let (call, reply) = (observed::call_to(seen.call), observed::reply_to(seen.reply));
        let (form, context) = (near.call().form(), near.call().context());
        let call = form::delegated(call, form, context.clone()).map_err(broken)?;
        let (call, following) = self.following(call).await?;
        let Some(following) = following else {
            return Ok(Vec::new());
        };
        let _key = following.hold().await;
        let noted = following.note(next).await?;
        if !noted.is_next {
            return Ok(Vec::new());
        }
        form::answer(reply.clone(), &call).map_err(broken)?;
        let followed = following.followed(reply).await;
        let (changes, farther) =
            followed.map_err(|why| self.broken(following.asked.operation, why))?;
        noted.finish(changes).await;
        Ok(farther)
    }
}

impl FollowedCall for Following<'_> {
    fn call(&self) -> &Call {
        &self.asked.call
    }

    fn operation(&self) -> &str {
        &self.asked.operation.name
    }

    fn key(&self) -> Option<&str> {
        self.asked.key.as_deref()
    }

    fn hold(&self) -> Pending<'_, HeldKey<'_>> {
        let key = self.key().map_or(Key::Node, Key::Named);
        Box::pin(self.state.locks.hold(key, Hold::Exclusive))
    }

    fn waited(&self) -> Failure {
        let key = self.key().unwrap_or("the whole node");
        let why = format!(
            "a call that it is to follow waited too long for the conflict key `{key}`; the two adapters of a version must name the same thing alike"
        );
        self.broken(RunFailure::Trapped(why))
    }

    fn expect<'h, 'n>(
        &'h self,
        next: Next<'n>,
    ) -> Pending<'n, Result<Box<dyn Expected + 'h>, Failure>>
    where
        'h: 'n,
    {
        Box::pin(async move {
            let noted = self.note(next).await?;
            Ok(Box::new(noted) as Box<dyn Expected + 'h>)
        })
    }
}

impl<'s> Following<'s> {
    fn broken(&self, why: RunFailure) -> Failure {
        self.step.broken(self.asked.operation, why)
    }

    async fn note(&self, mut next: Next<'_>) -> Result<NotedCall<'_, 's>, Failure> {
        let (step, state, asked) = (self.step, &self.state, &self.asked);
        // What cannot be recovered from now is tried again before whatever comes next.
        let is_next = step.begin(state, asked).await.is_ok()
            && step.recover(state, asked, &mut next).await.is_ok();
        let mut intent = asked.intent();
        intent.observed = true;
        let open = state.intend(intent, step.declaration.limits().state_bytes);
        let open = open.await;
        let open = open.map_err(|error| self.broken(RunFailure::State(error)))?;
        Ok(NotedCall {
            of: self,
            open,
            is_next,
            followed: None,
        })
    }

    /// Follows an answered call: what that changes here, and what its own callers would have had to do.
    async fn followed(
        &self,
        reply: wit::Reply,
    ) -> Result<(Transaction, Vec<Observation>), RunFailure> {
        let step = self.step;
        let seen = Seen {
            direction: step.direction(),
            call: self.asked.request.clone(),
            reply,
        };
        let limit = step.declaration.limits().state_bytes;
        let transaction = self.state.transaction(limit, true);
        let question = RunQuestion::Observe(seen);
        let ran = step.run(&self.asked.places, question, Some(transaction), None);
        let Ran { said, transaction } = ran.await?;
        match (said, transaction) {
            (RunAnswer::Observed(Ok(farther)), Some(transaction)) => {
                let farther = farther.into_iter().map(observed::from).collect();
                Ok((transaction, farther))
            }
            (RunAnswer::Observed(Err(why)), _) => {
                Err(RunFailure::Trapped(format!("it cannot follow: {why}")))
            }
            _ => Err(RunFailure::Trapped("it said something else".to_owned())),
        }
    }
}

impl NotedCall<'_, '_> {
    async fn follow_answer(&mut self, answer: &Answer) -> Option<Vec<Observation>> {
        if !self.is_next {
            return None;
        }
        let followed = match form::replied(self.of.asked.call.form(), answer.copy()) {
            Ok(reply) => self.of.followed(reply).await,
            Err(why) => Err(RunFailure::Trapped(format!(
                "it cannot be told a reply: {why}"
            ))),
        };
        let (changes, farther) = followed.map_err(|why| self.of.broken(why)).ok()?;
        self.followed = Some(changes);
        Some(farther)
    }

    /// Makes changes durable, and closes the note.
    async fn finish(self, changes: Transaction) {
        if let Err(error) = self.of.state.finish(changes, Some(self.open)).await {
            self.of.broken(RunFailure::State(error));
        }
    }
}

impl Expected for NotedCall<'_, '_> {
    fn follow<'a>(&'a mut self, answer: &'a Answer) -> Pending<'a, Option<Vec<Observation>>> {
        Box::pin(self.follow_answer(answer))
    }

    fn close<'a>(mut self: Box<Self>) -> Pending<'a, ()>
    where
        Self: 'a,
    {
        // What was never followed has changed nothing.
        let changes = self.followed.take();
        let changes = changes.unwrap_or_else(|| self.of.state.transaction(0, false));
        Box::pin(self.finish(changes))
    }

    fn forget<'a>(self: Box<Self>) -> Pending<'a, ()>
    where
        Self: 'a,
    {
        let nothing = self.of.state.transaction(0, false);
        Box::pin(self.finish(nothing))
    }
}
