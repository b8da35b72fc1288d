//! Takes messages through a session's adapters, one event at a time: this is where their order is made.

use super::chain::SessionChain;
use super::error::SessionError;
use super::outlet::Outlet;
use call::{MEMO_BYTES_MAX, MessageHead, Party, Reaction, Session, SessionCaller, SessionVerdict};
use parking_lot::{Mutex, MutexGuard};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex as AsyncMutex, Notify};
use tokio::time::Instant;
use wire::framing::Sealed;

/// The most messages that may follow from one event, those included that a chain's adapters send each other.
const MESSAGES_MAX: usize = 1_024;

/// The most bytes that may be sent after one event.
const SENT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A session's adapters, what is remembered for each, and the ways out.
pub(super) struct Events {
    chain: Arc<SessionChain>,
    id: u64,
    /// Held during an event: they come one at a time, and what they send is added in their order.
    memos: AsyncMutex<Vec<Vec<u8>>>,
    /// When each adapter is to be woken.
    timers: Mutex<Vec<Option<Instant>>>,
    /// Rung when a timer is set anew.
    timer_set: Notify,
    to_caller: Outlet,
    to_software: Outlet,
}

/// A message on its way: `link` counts from the caller.
struct Leg {
    link: usize,
    to: Party,
    message: Sealed,
}

/// What the adapters want of a message whose head is there.
pub(super) enum Judged {
    /// It passes all of them; with another head, if one is given. Its place in the way out is taken where it streams.
    Pass(Option<Vec<u8>>),
    /// The adapter of this number wants all of it, with another head, if one is given.
    Whole(usize, Option<Vec<u8>>),
    /// Nobody gets it.
    Drop,
}

/// To whom an event has sent something: whoever caused it waits until there is room for more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) to_caller: bool,
    pub(super) to_software: bool,
}

impl Events {
    pub(super) fn new(chain: Arc<SessionChain>, id: u64) -> Self {
        let length = chain.len();
        Self {
            chain,
            id,
            memos: AsyncMutex::new(vec![Vec::new(); length]),
            timers: Mutex::new(vec![None; length]),
            timer_set: Notify::new(),
            to_caller: Outlet::default(),
            to_software: Outlet::default(),
        }
    }

    pub(super) fn chain(&self) -> &SessionChain {
        &self.chain
    }

    /// The way to one of the two peers.
    pub(super) fn outlet(&self, to: Party) -> &Outlet {
        match to {
            Party::Caller => &self.to_caller,
            Party::Next => &self.to_software,
        }
    }

    /// Waits until there is room where an event has sent something.
    pub(super) async fn room(&self, sent: Sent) {
        if sent.to_caller {
            self.to_caller.room().await;
        }
        if sent.to_software {
            self.to_software.room().await;
        }
    }

    /// The session begins.
    pub(super) async fn open(&self, caller: &SessionCaller) -> Result<Sent, SessionError> {
        let mut memos = self.memos.lock().await;
        let mut sent = Sent::default();
        for at in 0..self.chain.len() {
            let reaction = self.chain.steps[at].open(self.id, caller).await?;
            self.react(&mut memos, at, reaction, &mut sent).await?;
        }
        Ok(sent)
    }

    /// The session has ended.
    pub(super) async fn closed(&self) {
        let memos = self.memos.lock().await;
        for (step, memo) in self.chain.steps.iter().zip(memos.iter()) {
            step.closed(Session { id: self.id, memo }).await;
        }
    }

    /// A head has arrived from one of the two peers. `then` runs before the next event.
    pub(super) async fn head<T>(
        &self,
        from: Party,
        head: MessageHead<'_>,
        then: impl FnOnce(Judged) -> Result<T, SessionError>,
    ) -> Result<T, SessionError> {
        let memos = self.memos.lock().await;
        let judged = self.judge(&memos, from, head).await?;
        then(judged)
    }

    async fn judge(
        &self,
        memos: &[Vec<u8>],
        from: Party,
        head: MessageHead<'_>,
    ) -> Result<Judged, SessionError> {
        let steps = self.chain.len();
        let rest = head.length.map(|length| length - head.bytes.len() as u64);
        let mut replaced: Option<Vec<u8>> = None;
        for turn in 0..steps {
            let at = match from {
                Party::Caller => turn,
                Party::Next => steps - 1 - turn,
            };
            let bytes = replaced.as_deref().unwrap_or(head.bytes);
            let shown = MessageHead {
                bytes,
                length: rest.map(|rest| rest + bytes.len() as u64),
            };
            let session = self.session(memos, at);
            match self.chain.steps[at].on_head(session, from, shown).await? {
                SessionVerdict::Pass => {}
                SessionVerdict::ReplaceHead(bytes) => {
                    let link = &self.chain.links[behind(at, from)];
                    let begun = link.begin(bytes, rest.unwrap_or(0))?;
                    replaced = Some(begun.message.into());
                }
                SessionVerdict::Whole => return Ok(Judged::Whole(at, replaced)),
                SessionVerdict::Drop => return Ok(Judged::Drop),
                SessionVerdict::Close(reason) => return Err(SessionError::Asked(reason)),
            }
        }
        Ok(Judged::Pass(replaced))
    }

    fn session<'m>(&self, memos: &'m [Vec<u8>], at: usize) -> Session<'m> {
        Session {
            id: self.id,
            memo: &memos[at],
        }
    }

    /// A message is there that an adapter wanted whole.
    pub(super) async fn message(
        &self,
        at: usize,
        from: Party,
        message: &[u8],
    ) -> Result<Sent, SessionError> {
        let mut memos = self.memos.lock().await;
        let mut sent = Sent::default();
        let session = self.session(&memos, at);
        let step = &self.chain.steps[at];
        let reaction = step.on_message(session, from, message).await?;
        self.react(&mut memos, at, reaction, &mut sent).await?;
        Ok(sent)
    }

    /// A message is there, whole, that no adapter has seen yet.
    pub(super) async fn arrived(&self, from: Party, message: Sealed) -> Result<Sent, SessionError> {
        let mut memos = self.memos.lock().await;
        let mut sent = Sent::default();
        let link = match from {
            Party::Caller => 0,
            Party::Next => self.chain.len(),
        };
        let leg = Leg {
            link,
            to: from.other(),
            message,
        };
        self.travel(&mut memos, VecDeque::from([leg]), &mut sent)
            .await?;
        Ok(sent)
    }

    /// Remembers what an adapter wants remembered, and sends what it sends.
    async fn react(
        &self,
        memos: &mut [Vec<u8>],
        at: usize,
        reaction: Reaction,
        sent: &mut Sent,
    ) -> Result<(), SessionError> {
        let mut legs = VecDeque::new();
        let close = self.take(memos, at, reaction, &mut legs)?;
        self.travel(memos, legs, sent).await?;
        close.map_or(Ok(()), |reason| Err(SessionError::Asked(reason)))
    }

    /// Takes all of a reaction but its messages, which become legs; says why to close, if so.
    fn take(
        &self,
        memos: &mut [Vec<u8>],
        at: usize,
        reaction: Reaction,
        legs: &mut VecDeque<Leg>,
    ) -> Result<Option<String>, SessionError> {
        if let Some(memo) = reaction.memo {
            if memo.len() > MEMO_BYTES_MAX {
                return Err(SessionError::MemoTooLong(memo.len()));
            }
            // Without spare room: it stays for long.
            memos[at] = memo.into_boxed_slice().into_vec();
        }
        if let Some(timer_ms) = reaction.timer_ms {
            let after = Duration::from_millis(u64::from(timer_ms));
            self.timers()[at] = (timer_ms > 0).then(|| Instant::now() + after);
            self.timer_set.notify_one();
        }
        for outgoing in reaction.send {
            let link = match outgoing.to {
                Party::Caller => at,
                Party::Next => at + 1,
            };
            legs.push_back(Leg {
                link,
                to: outgoing.to,
                message: self.chain.links[link].seal(outgoing.message)?,
            });
        }
        Ok(reaction.close)
    }

    /// Takes messages to whom they are for, through the adapters between. What adapters send each other keeps its order.
    async fn travel(
        &self,
        memos: &mut [Vec<u8>],
        mut legs: VecDeque<Leg>,
        sent: &mut Sent,
    ) -> Result<(), SessionError> {
        let (mut messages, mut bytes) = (0, 0);
        while let Some(leg) = legs.pop_front() {
            messages += 1;
            bytes += leg.message.len();
            if messages > MESSAGES_MAX {
                return Err(SessionError::SendsTooMuch("1,024 messages"));
            }
            if bytes > SENT_BYTES_MAX {
                return Err(SessionError::SendsTooMuch("16 MiB"));
            }
            let at = match (leg.to, leg.link) {
                (Party::Caller, 0) => {
                    sent.to_caller = true;
                    self.to_caller.send(leg.message);
                    continue;
                }
                (Party::Next, link) if link == self.chain.len() => {
                    sent.to_software = true;
                    self.to_software.send(leg.message);
                    continue;
                }
                (Party::Caller, link) => link - 1,
                (Party::Next, link) => link,
            };
            if let Some(reason) = self.pass_by(memos, at, leg, &mut legs).await? {
                return Err(SessionError::Asked(reason));
            }
        }
        Ok(())
    }

    /// Shows a message to one adapter; says why to close, if so.
    async fn pass_by(
        &self,
        memos: &mut [Vec<u8>],
        at: usize,
        leg: Leg,
        legs: &mut VecDeque<Leg>,
    ) -> Result<Option<String>, SessionError> {
        let from = leg.to.other();
        let step = &self.chain.steps[at];
        let message = leg.message.message;
        let (bytes, length) = self.chain.links[leg.link].head(&message);
        let shown = bytes.len();
        let head = MessageHead { bytes, length };
        let verdict = step.on_head(self.session(memos, at), from, head).await?;
        let passed: Vec<u8> = match verdict {
            SessionVerdict::Pass => message.into(),
            SessionVerdict::ReplaceHead(head) => [&head[..], &message[shown..]].concat(),
            SessionVerdict::Drop => return Ok(None),
            SessionVerdict::Close(reason) => return Ok(Some(reason)),
            SessionVerdict::Whole => {
                let session = self.session(memos, at);
                let reaction = step.on_message(session, from, &message).await?;
                return self.take(memos, at, reaction, legs);
            }
        };
        let link = behind(at, from);
        legs.push_back(Leg {
            link,
            to: leg.to,
            message: self.chain.links[link].seal(passed)?,
        });
        Ok(None)
    }

    fn timers(&self) -> MutexGuard<'_, Vec<Option<Instant>>> {
        self.timers.lock()
    }

    /// Wakes adapters when they asked for it, until one of them ends the session.
    pub(super) async fn run_timers(&self) -> SessionError {
        loop {
            let next = self.timers().iter().flatten().min().copied();
            match next {
                None => self.timer_set.notified().await,
                Some(next) => tokio::select! {
                    () = self.timer_set.notified() => {}
                    () = tokio::time::sleep_until(next) => match self.wake().await {
                        Ok(sent) => self.room(sent).await,
                        Err(error) => return error,
                    },
                },
            }
        }
    }

    async fn wake(&self) -> Result<Sent, SessionError> {
        let mut memos = self.memos.lock().await;
        let mut sent = Sent::default();
        for at in 0..self.chain.len() {
            // An event before this one may have taken it back.
            let is_due = |timer: &mut Instant| *timer <= Instant::now();
            if self.timers()[at].take_if(is_due).is_none() {
                continue;
            }
            let session = self.session(&memos, at);
            let reaction = self.chain.steps[at].on_timer(session).await?;
            self.react(&mut memos, at, reaction, &mut sent).await?;
        }
        Ok(sent)
    }
}

/// The link behind an adapter, as seen from who sends.
fn behind(at: usize, from: Party) -> usize {
    match from {
        Party::Caller => at + 1,
        Party::Next => at,
    }
}
