//! A component in its place in a chain.

use std::fmt;
use std::sync::Arc;

use crate::asked::AskedCall;
use crate::bindings::exports::upstart::adapter::calls::Unfinished;
use crate::bindings::upstart::adapter::{messages as wit, types};
use crate::broken::RunFailure;
use crate::chain_place::ChainPlace;
use crate::declared::Declaration;
use crate::form;
use crate::operation::{ComponentOperation, Exclusion as Excludes};
use crate::program::Program;
use crate::run::{Delegates, Ran, RunAnswer, RunQuestion};
use crate::state::{AdapterState, Intent, OpenIntent, StateOrigin, Stores};
use call::{
    AdapterFailure, Answer, Body, BodyError, Call, CallContext, Calls, Direction, Failure,
    Follower, HeldKey, Hold, Key, Next, Pending, Places, Refusal, RefusalKind,
};

/// A component, as one of the adapters of a chain.
pub struct ComponentStep {
    pub(crate) declaration: Arc<Declaration>,
    program: Arc<Program>,
    pub(crate) stores: Arc<Stores>,
    pub(crate) place: ChainPlace,
}

impl fmt::Debug for ComponentStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ComponentStep")
            .field("program", &self.program)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl ComponentStep {
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
}

impl Calls for ComponentStep {
    fn handle<'a>(
        &'a self,
        call: Call,
        mut next: Next<'a>,
    ) -> Pending<'a, Result<Answer, Failure>> {
        Box::pin(async move {
            let asked = self.take(call, false).await?;
            let state = self.stores.state(self.place.state);
            let state =
                state.map_err(|error| self.broken(asked.operation, RunFailure::State(error)))?;
            let _level = hold(&asked, &mut next).await;
            let _node = match &asked.operation.hold {
                Excludes::Nothing => None,
                Excludes::Node => Some(state.locks.hold(Key::Node, Hold::Exclusive).await),
                Excludes::Key(_) => {
                    let key = Key::Named(asked.key.as_deref().unwrap_or_default());
                    Some(state.locks.hold(key, how(asked.operation)).await)
                }
            };
            self.begin(&state, &asked).await?;
            self.recover(&state, &asked, &mut next).await?;
            self.answer(&state, asked, &mut next).await
        })
    }

    fn instances(&self) -> usize {
        1
    }

    fn follower(&self) -> Option<&dyn Follower> {
        Some(self)
    }
}

fn how(operation: &ComponentOperation) -> Hold {
    if operation.reads {
        Hold::Shared
    } else {
        Hold::Exclusive
    }
}

/// Waits for the conflict key among all adapters of the service.
async fn hold<'a>(asked: &AskedCall<'_>, next: &mut Next<'a>) -> Option<HeldKey<'a>> {
    match &asked.operation.hold {
        Excludes::Nothing => None,
        Excludes::Node => Some(next.hold(Key::Node, Hold::Exclusive).await),
        Excludes::Key(_) => {
            let key = Key::Named(asked.key.as_deref().unwrap_or_default());
            Some(next.hold(key, how(asked.operation)).await)
        }
    }
}

impl ComponentStep {
    /// Reads a call whole, and finds out what it is: one to be answered, or one that others answer and this adapter follows.
    pub(crate) async fn take(&self, call: Call, follows: bool) -> Result<AskedCall<'_>, Failure> {
        let mut call = call;
        let limits = call.context().limits;
        // What else a call is, is in its body.
        let (mut operation, body) = match &mut call {
            Call::Http(call) => (self.operation(&call.head), std::mem::take(&mut call.body)),
            Call::Message(call) => (&self.declaration.other, Body::Bytes(call.bytes.clone())),
        };
        let body = body.into_bytes(limits).await.map_err(|error| match error {
            BodyError::Connection(error) => Failure::Caller(error),
            error @ BodyError::TooLarge(_) => {
                self.malformed(operation, RefusalKind::TooLarge, error.to_string())
            }
            error => self.malformed(operation, RefusalKind::Malformed, error.to_string()),
        })?;
        let malformed = |what| self.malformed(operation, RefusalKind::Malformed, what);
        let request = form::given(&call, &body).map_err(malformed)?;
        if matches!(call, Call::Message(_)) {
            operation = self.operation_of(&request);
        }
        let malformed = |what| self.malformed(operation, RefusalKind::Malformed, what);
        let key = match &operation.hold {
            Excludes::Key(key) => match operation.key(key, &call, &body) {
                Ok(key) => Some(key),
                // What it is for others nobody here may refuse.
                Err(_) if follows => None,
                Err(what) => {
                    let what = format!("its conflict key cannot be computed: {what}");
                    return Err(malformed(what));
                }
            },
            Excludes::Node | Excludes::Nothing => None,
        };
        let CallContext { caller, places, .. } = call.context();
        let known = caller.as_ref();
        let caller = types::Caller {
            direction: self.direction(),
            version: known.map_or(self.place.caller_version, |caller| caller.version),
            address: known.map_or_else(String::new, |caller| caller.address.to_string()),
            service: known.map_or_else(String::new, |caller| caller.service.to_string()),
        };
        let places = match places {
            Some(places) => places.clone(),
            None => Places::take(self.instances()).await,
        };
        Ok(AskedCall {
            operation,
            call,
            body,
            request,
            caller,
            key,
            places,
        })
    }

    pub(crate) fn direction(&self) -> types::Direction {
        match self.place.state.direction {
            Direction::Past => types::Direction::Past,
            Direction::Future => types::Direction::Future,
        }
    }

    pub(crate) fn operation(&self, head: &http::request::Parts) -> &ComponentOperation {
        let path: Vec<&str> = head.uri.path().split('/').skip(1).collect();
        let found = self.declaration.operations.iter();
        let mut found = found.filter(|operation| operation.is_request(&head.method, &path));
        found.next().unwrap_or(&self.declaration.other)
    }

    fn operation_of(&self, call: &wit::Call) -> &ComponentOperation {
        let mut operations = self.declaration.operations.iter();
        let found = operations.find(|operation| operation.is(call));
        found.unwrap_or(&self.declaration.other)
    }

    /// Lets the adapter begin, if it has not.
    pub(crate) async fn begin(
        &self,
        state: &Arc<AdapterState>,
        asked: &AskedCall<'_>,
    ) -> Result<(), Failure> {
        let name = &self.declaration.file;
        if state.has_begun(name) {
            return Ok(());
        }
        let _alone = state.recovery.lock().await;
        if state.has_begun(name) {
            return Ok(());
        }
        let broken = |why| self.broken(asked.operation, why);
        let start = types::Start {
            direction: self.direction(),
            beginning: match (self.place.state.direction, state.origin) {
                (Direction::Future, _) => types::Beginning::Staged,
                (Direction::Past, StateOrigin::Transformed) => types::Beginning::Transformed,
                (Direction::Past, StateOrigin::New) => types::Beginning::Joined,
            },
            caller_version: self.place.caller_version,
            next_version: self.place.next_version,
        };
        let limits = self.declaration.limits;
        let transaction = state.transaction(limits.state_bytes, true);
        let ran = self.run(
            &asked.places,
            RunQuestion::Init(start),
            Some(transaction),
            None,
        );
        let transaction = done(ran.await.map_err(broken)?, "begin").map_err(broken)?;
        let begun = state.begin(name, transaction).await;
        begun.map_err(|error| broken(RunFailure::State(error)))
    }

    /// Recovers from calls with this key of which nobody knows how far they came.
    pub(crate) async fn recover(
        &self,
        state: &Arc<AdapterState>,
        asked: &AskedCall<'_>,
        next: &mut Next<'_>,
    ) -> Result<(), Failure> {
        if matches!(asked.operation.hold, Excludes::Nothing) {
            return Ok(());
        }
        let broken = |why| self.broken(asked.operation, why);
        let settled = state.settle().await;
        settled.map_err(|error| broken(RunFailure::State(error)))?;
        let key = asked.key.as_deref();
        if state.unfinished(key).is_none() {
            return Ok(());
        }
        let _alone = state.recovery.lock().await;
        while let Some((id, intent)) = state.unfinished(key) {
            let (unfinished, delegates) = self.unfinished(&intent);
            next.allow(delegates);
            let transaction = state.transaction(self.declaration.limits.state_bytes, true);
            let mut delegates = self.delegates(asked, next, None);
            let question = RunQuestion::Recover(unfinished);
            let ran = self.run(
                &asked.places,
                question,
                Some(transaction),
                Some(&mut delegates),
            );
            let ran = ran.await.map_err(broken)?;
            let transaction = match (done(ran, "recover"), delegates.failed.take()) {
                (Ok(transaction), _) => transaction,
                (Err(_), Some(failure)) => return Err(failure),
                (Err(why), None) => return Err(broken(why)),
            };
            let recovered = state.recovered(id, intent, transaction).await;
            recovered.map_err(|error| broken(RunFailure::State(error)))?;
        }
        Ok(())
    }

    /// An unfinished call as the adapter is told it, and how many calls it may make to look.
    fn unfinished(&self, intent: &Intent) -> (Unfinished, u32) {
        let header = |(name, value): &(String, String)| wit::Header {
            name: name.clone(),
            value: value.clone(),
        };
        let call = form::written(intent.form, &intent.body).unwrap_or_else(|| {
            wit::Call::Http(wit::HttpRequest {
                method: intent.method.clone(),
                target: intent.target.clone(),
                headers: intent.headers.iter().map(header).collect(),
                body: intent.body.clone(),
            })
        });
        let caller = types::Caller {
            direction: self.direction(),
            version: intent.version,
            address: intent.address.clone(),
            service: intent.service.clone(),
        };
        let delegates = self.operation_of(&call).delegates;
        let observed = intent.observed;
        let unfinished = Unfinished {
            call,
            caller,
            observed,
        };
        (unfinished, delegates.max(1))
    }

    /// Asks the component, and makes durable what it has changed.
    async fn answer(
        &self,
        state: &Arc<AdapterState>,
        asked: AskedCall<'_>,
        next: &mut Next<'_>,
    ) -> Result<Answer, Failure> {
        let operation = asked.operation;
        let broken = |why| self.broken(operation, why);
        next.allow(operation.delegates);
        let (may_write, limit) = (operation.may_write(), self.declaration.limits.state_bytes);
        let intent = may_write.then(|| (state.clone(), asked.intent(), limit));
        let transaction = (!matches!(operation.hold, Excludes::Nothing))
            .then(|| state.transaction(limit, may_write));
        let mut delegates = self.delegates(&asked, next, intent);
        let question = RunQuestion::Handle(asked.request.clone(), asked.caller.clone());
        let ran = self.run(&asked.places, question, transaction, Some(&mut delegates));
        let Ran { said, transaction } = ran.await.map_err(broken)?;
        let RunAnswer::Reply(said) = said else {
            return Err(broken(RunFailure::Trapped(
                "it said something else".to_owned(),
            )));
        };
        let (open, failed, refused) = delegates.end();
        match said {
            Ok(reply) => {
                let answer = form::answer(reply, &asked.call);
                let answer = answer.map_err(|why| broken(RunFailure::Trapped(why)))?;
                if let Some(transaction) = transaction {
                    let finished = state.finish(transaction, open).await;
                    finished.map_err(|error| broken(RunFailure::State(error)))?;
                }
                Ok(answer)
            }
            Err(wit::Failure::Refused(refusal)) => {
                self.unchanged(state, open).await.map_err(broken)?;
                match refused {
                    Some(handed_on) if handed_on.reason == refusal.reason => Err(handed_on.into()),
                    _ => {
                        let rule = self.rule(&operation.name);
                        let own = form::refused(refusal, rule, asked.call.form());
                        Err(own.map_err(|why| broken(RunFailure::Trapped(why)))?.into())
                    }
                }
            }
            // What was delegated may have happened: the intent stays open.
            Err(wit::Failure::Crashed(why)) => match failed {
                Some(failure) => Err(failure),
                None => Err(broken(RunFailure::Trapped(format!("it gave up: {why}")))),
            },
        }
    }

    /// Closes the intent of a call that was refused: nothing is changed.
    async fn unchanged(
        &self,
        state: &Arc<AdapterState>,
        open: Option<OpenIntent>,
    ) -> Result<(), RunFailure> {
        let nothing = state.transaction(0, false);
        Ok(state.finish(nothing, open).await?)
    }

    fn delegates<'r, 'n>(
        &self,
        asked: &AskedCall<'_>,
        next: &'r mut Next<'n>,
        intent: Option<(Arc<AdapterState>, Intent, u64)>,
    ) -> Delegates<'r, 'n> {
        let context = CallContext {
            places: Some(asked.places.clone()),
            ..asked.call.context().clone()
        };
        Delegates {
            next,
            form: asked.call.form(),
            context,
            intent,
            open: None,
            failed: None,
            refused: None,
        }
    }

    pub(crate) async fn run(
        &self,
        places: &Places,
        question: RunQuestion,
        transaction: Option<crate::state::Transaction>,
        delegates: Option<&mut Delegates<'_, '_>>,
    ) -> Result<Ran, RunFailure> {
        let limits = self.declaration.limits;
        let mib = limits.memory_bytes >> 20;
        self.program
            .run(places, question, transaction, limits.time, mib, delegates)
            .await
    }

    fn rule(&self, operation: &str) -> String {
        format!("{}: {operation}", self.declaration.component_name())
    }

    fn malformed(
        &self,
        operation: &ComponentOperation,
        kind: RefusalKind,
        reason: String,
    ) -> Failure {
        Refusal::new(
            kind,
            self.rule(&operation.name),
            reason,
            match kind {
                RefusalKind::TooLarge => http::StatusCode::PAYLOAD_TOO_LARGE,
                _ => http::StatusCode::BAD_REQUEST,
            },
        )
        .into()
    }

    pub(crate) fn broken(&self, operation: &ComponentOperation, why: RunFailure) -> Failure {
        self.broken_in(&operation.name, why)
    }

    /// It broke in an operation of this name.
    pub(crate) fn broken_in(&self, operation: &str, why: RunFailure) -> Failure {
        let rule = self.rule(operation);
        tracing::warn!(target: "adapter", %rule, %why, "an adapter failed in a call");
        Failure::Adapter(Box::new(AdapterFailure {
            rule,
            reason: why.to_string(),
            timed_out: matches!(why, RunFailure::Time(_)),
        }))
    }
}

/// What the adapter changed while it began or recovered.
fn done(ran: Ran, what: &str) -> Result<crate::state::Transaction, RunFailure> {
    let why = match ran.said {
        RunAnswer::Done(Ok(())) => match ran.transaction {
            Some(transaction) => return Ok(transaction),
            None => "it has no state".to_owned(),
        },
        RunAnswer::Done(Err(why)) => format!("it cannot {what}: {why}"),
        RunAnswer::Reply(_) | RunAnswer::Observed(_) => "it said something else".to_owned(),
    };
    Err(RunFailure::Trapped(why))
}
