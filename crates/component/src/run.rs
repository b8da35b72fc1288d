//! One run of a component: within its time, its delegates made for it, its end told clearly.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::bindings::exports::upstart::adapter::calls::{Observation, Unfinished};
use crate::bindings::upstart::adapter::{messages as wit, types};
use crate::broken::{RunFailure, is_out_of_memory, told};
use crate::form;
use crate::host::{Context, DelegatedCall};
use crate::instance::Instance;
use crate::program::Program;
use crate::state::{AdapterState, Intent, OpenIntent, Transaction};
use crate::turns::{self, TurnWork};
use call::{BodyLimits, CallContext, Failure, Form, Next, Places, Refusal};

/// What a component is asked.
pub(crate) enum RunQuestion {
    Init(types::Start),
    Handle(wit::Call, types::Caller),
    Recover(Unfinished),
    Observe(Observation),
}

/// What it says: only calls have a reply.
pub(crate) enum RunAnswer {
    Reply(Result<wit::Reply, wit::Failure>),
    Done(Result<(), String>),
    Observed(Result<Vec<Observation>, String>),
}

/// Where a run's delegates go, and what is written down before the first.
pub(crate) struct Delegates<'r, 'n> {
    pub(crate) next: &'r mut Next<'n>,
    /// What they are, and what they bring along.
    pub(crate) form: Form,
    pub(crate) context: CallContext,
    /// What is to become durable before the first, and the state's limit; taken then.
    pub(crate) intent: Option<(Arc<AdapterState>, Intent, u64)>,
    pub(crate) open: Option<OpenIntent>,
    /// How the last one failed, if it did: handed on where the adapter does so too.
    pub(crate) failed: Option<Failure>,
    pub(crate) refused: Option<Refusal>,
}

/// A run that came to its end.
pub(crate) struct Ran {
    pub(crate) said: RunAnswer,
    pub(crate) transaction: Option<Transaction>,
}

impl Program {
    /// Asks an instance; one that breaks is dropped with all it has changed.
    pub(crate) async fn run(
        &self,
        places: &Places,
        question: RunQuestion,
        transaction: Option<Transaction>,
        time: Duration,
        memory_mib: usize,
        delegates: Option<&mut Delegates<'_, '_>>,
    ) -> Result<Ran, RunFailure> {
        let ran = self.attempt(places, question, transaction, time, memory_mib, delegates);
        let ran = ran.await;
        if ran.is_err() {
            self.calls()?.suspect.store(true, Ordering::Relaxed);
        }
        ran
    }

    async fn attempt(
        &self,
        places: &Places,
        question: RunQuestion,
        transaction: Option<Transaction>,
        time: Duration,
        memory_mib: usize,
        mut delegates: Option<&mut Delegates<'_, '_>>,
    ) -> Result<Ran, RunFailure> {
        let trapped = |error: wasmtime::Error| RunFailure::Trapped(told(&error));
        let pool = self.calls()?;
        let active = pool.enter().map_err(trapped)?;
        let began = Instant::now();
        let mut instance = self.instance(places, time, memory_mib).await?;
        let (asks, mut asked) = mpsc::channel(1);
        let host = instance.store.data_mut();
        host.context = Some(Context {
            asks: delegates.is_some().then_some(asks),
            transaction,
        });
        host.limits().exceeded = false;
        let turn = instance.store.data().turn.clone();
        let mut deadline = began + time;
        let (said, mut instance) = {
            let is_suspect = pool.suspect.load(Ordering::Relaxed);
            let places = places.clone();
            let mut guest = TurnWork::begin(is_suspect, &turn, async move {
                turns::begin(&mut instance.store);
                let said = instance.ask(question).await;
                // What is aborted may go on until its next turn: it has its place, and the clock, until then.
                drop((active, places));
                (said, instance)
            });
            let ended = loop {
                tokio::select! {
                    biased;
                    () = sleep_until(deadline) => return Err(RunFailure::Time(time)),
                    Some(DelegatedCall { call, reply }) = asked.recv() => {
                        let Some(delegates) = delegates.as_deref_mut() else {
                            continue;
                        };
                        let (began, may) = (Instant::now(), delegates.next.left() > 0);
                        let replied = delegates.make(call).await?;
                        // The guest waits for nothing else.
                        let _ = reply.send(replied);
                        // What the next one takes is not the adapter's time; asking for more than is declared is.
                        if may {
                            deadline += began.elapsed();
                        }
                    }
                    ended = &mut guest => break ended,
                }
            };
            ended.ok_or_else(|| RunFailure::Trapped("the agent ends".to_owned()))?
        };
        let over = (instance.store.data_mut().limits().exceeded).then_some(memory_mib);
        let said = said.map_err(|error| over.map_or_else(|| trapped(error), RunFailure::Memory))?;
        let host = instance.store.data_mut();
        host.turn.end();
        let context = host.context.take();
        pool.give_back(instance);
        Ok(Ran {
            said,
            transaction: context.and_then(|context| context.transaction),
        })
    }
}

impl Program {
    /// An instance, within a call's time.
    async fn instance(
        &self,
        places: &Places,
        time: Duration,
        memory_mib: usize,
    ) -> Result<Instance, RunFailure> {
        let taken = tokio::time::timeout(time, self.calls()?.take(places)).await;
        let taken = taken.map_err(|_| RunFailure::Time(time))?;
        taken.map_err(|error| {
            if is_out_of_memory(&error) {
                RunFailure::Memory(memory_mib)
            } else {
                RunFailure::Trapped(told(&error))
            }
        })
    }
}

impl Instance {
    async fn ask(&mut self, question: RunQuestion) -> wasmtime::Result<RunAnswer> {
        let calls = self.exports.upstart_adapter_calls();
        let store = &mut self.store;
        Ok(match question {
            RunQuestion::Init(start) => RunAnswer::Done(calls.call_init(store, start).await?),
            RunQuestion::Handle(call, caller) => {
                RunAnswer::Reply(calls.call_handle(store, &call, &caller).await?)
            }
            RunQuestion::Recover(unfinished) => {
                RunAnswer::Done(calls.call_on_recover(store, &unfinished).await?)
            }
            RunQuestion::Observe(seen) => {
                RunAnswer::Observed(calls.call_observe(store, &seen).await?)
            }
        })
    }
}

impl Delegates<'_, '_> {
    /// What is left of them: the intent, and how the last one failed.
    pub(crate) fn end(self) -> (Option<OpenIntent>, Option<Failure>, Option<Refusal>) {
        (self.open, self.failed, self.refused)
    }

    /// Makes one call for the guest. The outer error ends the run.
    async fn make(
        &mut self,
        call: wit::Call,
    ) -> Result<Result<wit::Reply, wit::Failure>, RunFailure> {
        let call = form::delegated(call, self.form, self.context.clone());
        let call = call.map_err(RunFailure::Trapped)?;
        if let Some((state, intent, limit)) = self.intent.take() {
            self.open = Some(state.intend(intent, limit).await?);
        }
        let answered = match self.next.delegate(call).await {
            Ok(answer) => read(answer, self.form, self.context.limits).await,
            Err(failure) => Err(failure),
        };
        (self.failed, self.refused) = (None, None);
        Ok(match answered {
            Ok(reply) => Ok(reply),
            Err(Failure::Refused(refusal)) => {
                let told = form::refusal(self.form, &refusal);
                self.refused = Some(*refusal);
                Err(wit::Failure::Refused(told))
            }
            Err(failure) => {
                let told = failure.to_string();
                self.failed = Some(failure);
                Err(wit::Failure::Crashed(told))
            }
        })
    }
}

/// The whole answer, as the guest is given it.
pub(crate) async fn read(
    answer: call::Answer,
    form: Form,
    limits: BodyLimits,
) -> Result<wit::Reply, Failure> {
    let reply = form::replied(form, answer.whole(limits).await?);
    reply.map_err(|what| Refusal::of_answer(format!("the answer: {what}")).into())
}
