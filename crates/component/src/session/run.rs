//! One event of a session in a component: within its time, its end told clearly.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::timeout;

use crate::bindings::upstart::adapter::types;
use crate::broken::{RunFailure, is_out_of_memory, told};
use crate::host::{Context, Host};
use crate::instance::{Instance, Pool};
use crate::session_bindings::exports::upstart::adapter::sessions as wit;
use crate::session_bindings::{SessionsAdapter, SessionsAdapterPre};
use crate::state::Transaction;
use crate::turns::{self, TurnWork};
use call::Places;

/// What a component is told.
pub(super) enum SessionQuestion {
    Init(types::Start),
    Open(u64, types::Caller),
    Head(wit::Session, wit::Side, wit::Head),
    Message(wit::Session, wit::Side, Vec<u8>),
    Timer(wit::Session),
    Closed(wit::Session),
}

/// What it says.
pub(super) enum SessionAnswer {
    Begun(Result<(), String>),
    Reaction(wit::Reaction),
    Verdict(wit::Verdict),
    Nothing,
}

/// Tells an instance; one that breaks is dropped with all it has changed.
pub(super) async fn run(
    pool: &Pool<SessionsAdapterPre<Host>>,
    question: SessionQuestion,
    transaction: Option<Transaction>,
    time: Duration,
    memory_mib: usize,
) -> Result<(SessionAnswer, Option<Transaction>), RunFailure> {
    let trapped = |error: wasmtime::Error| RunFailure::Trapped(told(&error));
    let active = pool.enter().map_err(trapped)?;
    let asking = async {
        let places = Places::take(1).await;
        let taken = pool.take(&places).await;
        let mut instance = taken.map_err(|error| {
            if is_out_of_memory(&error) {
                RunFailure::Memory(memory_mib)
            } else {
                trapped(error)
            }
        })?;
        let host = instance.store.data_mut();
        host.context = Some(Context {
            asks: None,
            transaction,
        });
        host.limits().exceeded = false;
        let turn = instance.store.data().turn.clone();
        let is_suspect = pool.suspect.load(Ordering::Relaxed);
        let guest = TurnWork::begin(is_suspect, &turn, async move {
            turns::begin(&mut instance.store);
            let said = instance.tell(question).await;
            // What is aborted may go on until its next turn: it has its place, and the clock, until then.
            drop((active, places));
            (said, instance)
        });
        let ended = guest.await;
        let (said, mut instance) =
            ended.ok_or_else(|| RunFailure::Trapped("the agent ends".to_owned()))?;
        let host = instance.store.data_mut();
        let said = said.map_err(|error| {
            if host.limits().exceeded {
                RunFailure::Memory(memory_mib)
            } else {
                trapped(error)
            }
        })?;
        host.turn.end();
        let context = host.context.take();
        pool.give_back(instance);
        Ok((said, context.and_then(|context| context.transaction)))
    };
    let ran = timeout(time, asking).await;
    let ran = ran.unwrap_or(Err(RunFailure::Time(time)));
    if ran.is_err() {
        pool.suspect.store(true, Ordering::Relaxed);
    }
    ran
}

impl Instance<SessionsAdapter> {
    async fn tell(&mut self, question: SessionQuestion) -> wasmtime::Result<SessionAnswer> {
        let sessions = self.exports.upstart_adapter_sessions();
        let store = &mut self.store;
        Ok(match question {
            SessionQuestion::Init(start) => {
                SessionAnswer::Begun(sessions.call_init(store, start).await?)
            }
            SessionQuestion::Open(id, caller) => {
                SessionAnswer::Reaction(sessions.call_open(store, id, &caller).await?)
            }
            SessionQuestion::Head(session, side, head) => {
                SessionAnswer::Verdict(sessions.call_on_head(store, &session, side, &head).await?)
            }
            SessionQuestion::Message(session, side, message) => SessionAnswer::Reaction(
                sessions
                    .call_on_message(store, &session, side, &message)
                    .await?,
            ),
            SessionQuestion::Timer(session) => {
                SessionAnswer::Reaction(sessions.call_on_timer(store, &session).await?)
            }
            SessionQuestion::Closed(session) => {
                sessions.call_closed(store, &session).await?;
                SessionAnswer::Nothing
            }
        })
    }
}
