//! What an agent asks, and the answers.

use super::agents::Agent;
use super::child::Child;
use super::keyring;
use super::service::HolderService;
use intercept::holder::{
    FromHolder, HolderEvent, HolderReply, HolderRequest, HolderState, PROTOCOL, PROTOCOL_MIN,
    ReplyBody, RequestBody, RunningChild,
};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// An answer, and the descriptor that goes with it.
type RequestAnswer = Result<(ReplyBody, Option<OwnedFd>), String>;

impl HolderService {
    /// Answers the first message of a newcomer: it becomes the agent, in the place of any other.
    pub(super) fn greet(&mut self, socket: OwnedFd, request: &HolderRequest) {
        let RequestBody::Hello {
            protocol,
            protocol_min,
        } = request.body
        else {
            return;
        };
        self.last_agent += 1;
        let mut agent = Agent::new(self.last_agent, socket);
        let common = protocol.min(PROTOCOL);
        let body = if common < protocol_min.max(PROTOCOL_MIN) {
            Err(format!(
                "the holder speaks the protocols {PROTOCOL_MIN} to {PROTOCOL}, the agent {protocol_min} to {protocol}"
            ))
        } else {
            Ok(ReplyBody::Hello {
                protocol: common,
                state: self.state(),
            })
        };
        let welcome = body.is_ok();
        let id = request.id;
        let sent = agent.send(&FromHolder::Reply(HolderReply { id, body }), None);
        if welcome && sent.is_ok() {
            self.agent = Some(agent);
            self.flush_hand_overs();
        }
    }

    /// Does what the agent asks and answers, except for a start, which is answered when the program runs.
    pub(super) fn hear_agent(
        &mut self,
        request: HolderRequest,
        descriptor: Option<OwnedFd>,
        now: Instant,
    ) {
        let HolderRequest { id, body } = request;
        let answer = match body {
            RequestBody::Hello { .. } => Err("hello was said already".to_owned()),
            RequestBody::Start(spec) => {
                let asker = (self.agent.as_ref().map_or(0, |agent| agent.number), id);
                if let Some(why) = self.is_left() {
                    Err(format!("the former {why}"))
                } else {
                    self.group.renew();
                    match Child::start(spec, self.group.entry(), self.open_files, asker) {
                        Ok(child) => {
                            self.notes.note(&self.group, child.pid(), child.uid);
                            self.child = Some(child);
                            return;
                        }
                        Err(error) => Err(error.to_string()),
                    }
                }
            }
            RequestBody::Stop {
                signal,
                to_all,
                grace_ms,
            } => {
                let grace = Duration::from_millis(grace_ms);
                let begun = self.stop(signal, to_all, grace, now);
                begun.map(|()| (ReplyBody::Done, None))
            }
            RequestBody::Kill => {
                self.killing = self.child.is_some();
                self.group.kill();
                Ok((ReplyBody::Done, None))
            }
            RequestBody::Keep { .. }
            | RequestBody::Listen { .. }
            | RequestBody::LetGo { .. }
            | RequestBody::LetThrough { .. }
            | RequestBody::Drop { .. }
            | RequestBody::Fetch { .. } => self.hear_of_listeners(body, now),
            RequestBody::Offer { token, ttl_ms } => self.offer(&token, ttl_ms, descriptor, now),
            RequestBody::Withdraw { token } => self.withdraw(&token, now),
            RequestBody::Keyring(keyring) => keyring::take(&mut self.keyring, &keyring)
                .map(|()| (ReplyBody::Done, None))
                .map_err(|error| format!("no memory for keys: {error}")),
            RequestBody::Exit => match self.is_left() {
                Some(why) => Err(format!("the {why}")),
                None => {
                    self.exiting = true;
                    Ok((ReplyBody::Done, None))
                }
            },
        };
        self.answer(id, answer);
    }

    /// That something of the child is left, or may be.
    fn is_left(&self) -> Option<String> {
        match self.group.is_empty() {
            Ok(true) if self.child.is_none() => None,
            Ok(_) => Some("child still lives".to_owned()),
            Err(error) => Some(format!(
                "child may still live, which cannot be said now: {error}"
            )),
        }
    }

    /// What is asked about kept listeners.
    fn hear_of_listeners(&mut self, body: RequestBody, now: Instant) -> RequestAnswer {
        match body {
            RequestBody::Keep { ports } => {
                let members = self.members();
                let kept = self.listeners.keep(&members, &ports);
                self.kept_now(kept)
            }
            RequestBody::Listen { address } => {
                let kept = self.listeners.listen(address);
                self.kept_now(kept)
            }
            RequestBody::LetGo { ports, limit_ms } => {
                let members = self.members();
                let limit = Duration::from_millis(limit_ms);
                let standing_by = self.listeners.standing_by(&ports);
                let let_go = self.listeners.let_go(&ports, &members, limit, now);
                self.dismiss(&standing_by, &members, now);
                self.kept_now(let_go)
            }
            RequestBody::LetThrough { port } => (self.listeners.let_through(port))
                .map(|()| (ReplyBody::Done, None))
                .map_err(|error| error.to_string()),
            RequestBody::Drop { listener } => {
                let members = self.members();
                if self.listeners.drop_one(listener, &members) {
                    Ok((ReplyBody::Done, None))
                } else {
                    Err(no_listener(listener))
                }
            }
            RequestBody::Fetch { listener } => match self.listeners.fetch(listener) {
                Some(Ok(socket)) => Ok((ReplyBody::Listener, Some(socket))),
                Some(Err(error)) => Err(error.to_string()),
                None => Err(no_listener(listener)),
            },
            _ => Err("nothing about listeners".to_owned()),
        }
    }

    /// Sends an answer to the attached agent.
    pub(super) fn answer(&mut self, id: u64, answer: RequestAnswer) {
        let (body, descriptor) = match answer {
            Ok((body, descriptor)) => (Ok(body), descriptor),
            Err(why) => (Err(why), None),
        };
        self.send(&FromHolder::Reply(HolderReply { id, body }), descriptor);
    }

    /// Tells the agent, if there is one; another learns it from the state when it attaches.
    pub(super) fn tell(&mut self, event: HolderEvent) {
        self.send(&FromHolder::Event(event), None);
    }

    /// Sends the connections that wait, as far as the agent takes them.
    pub(super) fn flush_hand_overs(&mut self) {
        while let (Some(agent), Some(first)) = (self.agent.as_mut(), self.hand_overs.first()) {
            let message = FromHolder::Event(HolderEvent::HandedOver {
                reason: first.reason,
                local: first.local,
                peer: first.peer,
            });
            match agent.send_now(&message, first.connection.as_fd()) {
                Ok(true) => self.hand_overs.drop_oldest(),
                Ok(false) => return,
                Err(_) => self.agent = None,
            }
        }
    }

    fn send(&mut self, message: &FromHolder, descriptor: Option<OwnedFd>) {
        if let Some(agent) = &mut self.agent
            && let Err(error) = agent.send(message, descriptor)
        {
            tracing::info!(%error, "the agent is gone");
            self.agent = None;
        }
    }

    fn state(&self) -> HolderState {
        HolderState {
            child: self.child.as_ref().map(|child| RunningChild {
                generation: child.generation,
                pid: child.pid(),
                interception: child.interception.clone(),
                signs: child.signs,
            }),
            last_exit: self.last_exit.clone(),
            group: (self.group.directory()).map(|directory| directory.display().to_string()),
            kept: self.listeners.list(),
            listening: self.listening.clone(),
        }
    }

    fn kept_now(&self, kept: io::Result<()>) -> RequestAnswer {
        kept.map_err(|error| error.to_string())?;
        Ok((ReplyBody::Kept(self.listeners.list()), None))
    }

    fn offer(
        &mut self,
        token: &str,
        ttl_ms: u64,
        connection: Option<OwnedFd>,
        now: Instant,
    ) -> RequestAnswer {
        let connection = connection.ok_or("an offer needs a descriptor")?;
        let ttl = Duration::from_millis(ttl_ms);
        if self
            .offers
            .insert(now, token_bytes(token)?, ttl, connection)
        {
            Ok((ReplyBody::Done, None))
        } else {
            Err("too many connections are offered".to_owned())
        }
    }

    fn withdraw(&mut self, token: &str, now: Instant) -> RequestAnswer {
        let offered = self.offers.take(now, &token_bytes(token)?);
        let connection = offered.ok_or("no connection is offered under this token")?;
        Ok((ReplyBody::Listener, Some(connection)))
    }
}

fn token_bytes(token: &str) -> Result<[u8; 16], String> {
    let mut bytes = [0; 16];
    hex::decode_to_slice(token, &mut bytes).map_err(|error| format!("the token: {error}"))?;
    Ok(bytes)
}

fn no_listener(listener: u64) -> String {
    format!("no listener {listener} is kept")
}
