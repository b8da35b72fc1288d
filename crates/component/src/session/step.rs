//! A component of sessions in its place in a chain: each event is one run of an instance, and one transaction on the adapter's state.

use std::fmt;
use std::sync::Arc;

use super::convert;
use super::run::{SessionAnswer, SessionQuestion, run};
use crate::bindings::upstart::adapter::types;
use crate::broken::RunFailure;
use crate::chain_place::ChainPlace;
use crate::declared::Declaration;
use crate::program::Program;
use crate::state::{AdapterState, StateOrigin, Stores};
use call::{
    AdapterFailed, Direction, EventAnswer, Hold, Key, MessageHead, Party, Pending, Reaction,
    Session, SessionCaller, SessionVerdict, Sessions,
};

/// A component of sessions, as one of the adapters of a chain.
pub struct SessionStep {
    declaration: Arc<Declaration>,
    program: Arc<Program>,
    stores: Arc<Stores>,
    place: ChainPlace,
}

impl fmt::Debug for SessionStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionStep")
            .field("program", &self.program)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl SessionStep {
    /// A component with its declaration, where it stands.
    pub fn new(
        declaration: Arc<Declaration>,
        program: Arc<Program>,
        stores: Arc<Stores>,
        place: ChainPlace,
    ) -> Self {
        Self {
            declaration,
            program,
            stores,
            place,
        }
    }

    fn state(&self) -> Result<Arc<AdapterState>, RunFailure> {
        Ok(self.stores.state(self.place.state)?)
    }

    /// An event that may change the state: alone among all of the node, since what it depends on is not known.
    async fn changing(&self, question: SessionQuestion) -> Result<SessionAnswer, RunFailure> {
        if !self.program.uses_state() {
            return self.run(question, None).await.map(|(said, _)| said);
        }
        let state = self.state()?;
        let _alone = state.locks.hold(Key::Node, Hold::Exclusive).await;
        let limit = self.declaration.limits().state_bytes;
        let transaction = state.transaction(limit, true);
        let (said, transaction) = self.run(question, Some(transaction)).await?;
        if let Some(transaction) = transaction {
            state.finish(transaction, None).await?;
        }
        Ok(said)
    }

    /// An event that only looks.
    async fn looking(&self, question: SessionQuestion) -> Result<SessionAnswer, RunFailure> {
        let transaction = if self.program.uses_state() {
            Some(self.state()?.transaction(0, false))
        } else {
            None
        };
        self.run(question, transaction).await.map(|(said, _)| said)
    }

    async fn run(
        &self,
        question: SessionQuestion,
        transaction: Option<crate::state::Transaction>,
    ) -> Result<(SessionAnswer, Option<crate::state::Transaction>), RunFailure> {
        let limits = self.declaration.limits();
        let mib = limits.memory_bytes >> 20;
        run(
            self.program.sessions()?,
            question,
            transaction,
            limits.time,
            mib,
        )
        .await
    }

    /// Lets the adapter begin, if it has not.
    async fn begin(&self) -> Result<(), RunFailure> {
        let (state, name) = (self.state()?, &self.declaration.file);
        if state.has_begun(name) {
            return Ok(());
        }
        let _alone = state.recovery.lock().await;
        if state.has_begun(name) {
            return Ok(());
        }
        let start = types::Start {
            direction: convert::way(self.place.state.direction),
            beginning: match (self.place.state.direction, state.origin) {
                (Direction::Future, _) => types::Beginning::Staged,
                (Direction::Past, StateOrigin::Transformed) => types::Beginning::Transformed,
                (Direction::Past, StateOrigin::New) => types::Beginning::Joined,
            },
            caller_version: self.place.caller_version,
            next_version: self.place.next_version,
        };
        let limit = self.declaration.limits().state_bytes;
        let transaction = state.transaction(limit, true);
        let ran = self
            .run(SessionQuestion::Init(start), Some(transaction))
            .await?;
        match ran {
            (SessionAnswer::Begun(Ok(())), Some(transaction)) => {
                Ok(state.begin(name, transaction).await?)
            }
            (SessionAnswer::Begun(Err(why)), _) => {
                Err(RunFailure::Trapped(format!("it cannot begin: {why}")))
            }
            _ => Err(something_else()),
        }
    }

    fn failed(&self, why: &RunFailure) -> AdapterFailed {
        let component = self.declaration.component_name();
        tracing::warn!(target: "adapter", %component, %why, "an adapter failed in a session");
        AdapterFailed(format!("{component}: {why}"))
    }

    async fn reaction(&self, question: SessionQuestion) -> Result<Reaction, AdapterFailed> {
        match self.changing(question).await {
            Ok(SessionAnswer::Reaction(reaction)) => Ok(convert::reaction(reaction)),
            Ok(_) => Err(self.failed(&something_else())),
            Err(why) => Err(self.failed(&why)),
        }
    }
}

fn something_else() -> RunFailure {
    RunFailure::Trapped("it said something else".to_owned())
}

impl Sessions for SessionStep {
    fn open<'a>(&'a self, session: u64, caller: &'a SessionCaller) -> EventAnswer<'a, Reaction> {
        Box::pin(async move {
            self.begin().await.map_err(|why| self.failed(&why))?;
            let caller = convert::caller(caller, self.place.state.direction);
            self.reaction(SessionQuestion::Open(session, caller)).await
        })
    }

    fn on_head<'a>(
        &'a self,
        session: Session<'a>,
        sender: Party,
        head: MessageHead<'a>,
    ) -> EventAnswer<'a, SessionVerdict> {
        Box::pin(async move {
            let session = convert::session(session);
            let question =
                SessionQuestion::Head(session, convert::side(sender), convert::head(head));
            match self.looking(question).await {
                Ok(SessionAnswer::Verdict(verdict)) => Ok(convert::verdict(verdict)),
                Ok(_) => Err(self.failed(&something_else())),
                Err(why) => Err(self.failed(&why)),
            }
        })
    }

    fn on_message<'a>(
        &'a self,
        session: Session<'a>,
        sender: Party,
        message: &'a [u8],
    ) -> EventAnswer<'a, Reaction> {
        let session = convert::session(session);
        let question = SessionQuestion::Message(session, convert::side(sender), message.to_vec());
        Box::pin(self.reaction(question))
    }

    fn on_timer<'a>(&'a self, session: Session<'a>) -> EventAnswer<'a, Reaction> {
        Box::pin(self.reaction(SessionQuestion::Timer(convert::session(session))))
    }

    fn closed<'a>(&'a self, session: Session<'a>) -> Pending<'a, ()> {
        let question = SessionQuestion::Closed(convert::session(session));
        Box::pin(async move {
            if let Err(why) = self.changing(question).await {
                self.failed(&why);
            }
        })
    }
}
