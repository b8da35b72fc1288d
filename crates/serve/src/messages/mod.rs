//! The connection handler for calls that are messages: commands of RESP, lines, netstrings and frames, each with one answer.
//!
//! A caller's calls are made one after the other, in the order in which they came, and so are its answers; what a caller sends ahead waits.
//! Pushes, which answer nothing, pass to the caller as they are.

mod software;
mod stream;
mod talk;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::ending::{self, ResetCause, Served};
use call::{
    Call, CallContext, Dial, Failure, Gate, Lease, Limits, MessageCall, MessageForm, Observer,
    Refusal, RefusalWords, Share, Upstream,
};
use software::{MessagesToSoftware, SoftwareLink};
use stream::MessageStream;
use wire::framing::Codec;
use wire::words;

/// How long the node may take to notice that software which has ended a connection has ended itself: then the connection of a caller
/// that has set nothing up waits for the next start. Software that goes on running meant the end for its caller.
const END_KNOWN_WITHIN: Duration = Duration::from_secs(1);

/// What a service's calls are.
#[derive(Clone, Debug)]
pub struct MessageProtocol {
    /// RESP, or messages.
    pub form: MessageForm,
    /// The framing at the caller's version.
    pub codec: Arc<Codec>,
    /// A connection on which a caller has set nothing up may outlive the software's restart.
    pub carried: bool,
}

/// Whom a connection's calls concern.
pub struct MessageNode {
    /// Leave for each call.
    pub gate: Arc<dyn Gate>,
    /// Connections to the software.
    pub dial: Arc<dyn Dial>,
    /// Limits of the connection.
    pub limits: Arc<Limits>,
    /// Told about every call.
    pub observer: Arc<dyn Observer>,
}

/// Serves a caller's connection until it ends or is given back. Dropping the future resets the connection, as the death of the
/// process would.
pub async fn serve_messages(
    stream: TcpStream,
    peer: SocketAddr,
    protocol: MessageProtocol,
    node: MessageNode,
) -> Served {
    let mut conversation = MessageConversation {
        caller: MessageStream::new(stream, protocol.codec.clone(), &node.limits),
        link: None,
        ending: None,
        peer,
        protocol,
        node,
    };
    loop {
        match conversation.round().await {
            Ok(None) => {}
            Ok(Some(ConversationEnd::InOrder)) => {
                ending::end(conversation.caller.into_stream()).await;
                return Served::Closed;
            }
            Ok(Some(ConversationEnd::GiveBack)) => {
                return Served::GiveBack(conversation.caller.into_stream());
            }
            Err(cause) => return Served::Reset(cause),
        }
    }
}

/// How a connection ends that does not end as in a crash.
enum ConversationEnd {
    InOrder,
    GiveBack,
}

/// One caller's connection and its connection to the software.
struct MessageConversation {
    caller: MessageStream,
    link: Option<SoftwareLink>,
    /// The software has ended its connection.
    ending: Option<UpstreamEnding>,
    peer: SocketAddr,
    protocol: MessageProtocol,
    node: MessageNode,
}

/// An end of the software's connection of which it is not known yet whether it was meant for the caller.
#[derive(Clone, Copy)]
struct UpstreamEnding {
    upstream: Upstream,
    in_order: bool,
    /// When it counts as meant.
    until: Instant,
}

impl UpstreamEnding {
    /// Waits until it is known whether the end was meant for the caller.
    async fn is_meant(self, gate: &dyn Gate) -> bool {
        timeout_at(self.until, gate.replaced(self.upstream))
            .await
            .is_err()
    }
}

impl MessageConversation {
    /// Answers the next call; says how the connection ends, if it does.
    async fn round(&mut self) -> Result<Option<ConversationEnd>, ResetCause> {
        let Some(message) = self.next().await? else {
            return Ok(Some(ConversationEnd::InOrder));
        };
        let lease = self.node.gate.enter().await;
        let lease = lease.map_err(|_| ResetCause::Closed)?;
        let observer = &self.node.observer;
        observer.call(lease.chain.direction(), lease.chain.len());
        if self.lost_state(&lease) {
            return Err(ResetCause::Closed);
        }
        let answered = self.answer(&lease, message).await;
        let answer = match answered {
            Ok(answer) => answer,
            Err(Failure::Refused(refusal)) => {
                self.node.observer.refused(&refusal);
                self.own_words(*refusal)
            }
            Err(Failure::Adapter(broken)) => {
                let told = broken.told();
                self.node.observer.failed(&Failure::Adapter(broken));
                self.own_words(told)
            }
            Err(failure) => {
                self.node.observer.failed(&failure);
                return Err(match failure {
                    Failure::Caller(_) | Failure::CallerEnded(_) => ResetCause::Caller,
                    _ => ResetCause::Software,
                });
            }
        };
        let Some(answer) = answer else {
            return Ok(Some(ConversationEnd::InOrder));
        };
        self.say(answer).await?;
        // The call has ended with the last byte of its answer.
        drop(lease.guard);
        let is_free = self.link.as_ref().is_none_or(|link| !link.talk.has_state());
        let is_idle = self.caller.is_empty() && !self.caller.has_ended();
        let gives_back = lease.give_back && lease.chain.is_empty() && is_free && is_idle;
        Ok(gives_back.then_some(ConversationEnd::GiveBack))
    }

    /// Whether what the caller has set up is gone with the software that it was set up with.
    fn lost_state(&self, lease: &Lease) -> bool {
        self.link.as_ref().is_some_and(|link| {
            let is_gone = link.upstream != lease.upstream || link.wire.has_ended();
            is_gone && (link.talk.has_state() || !self.protocol.carried)
        })
    }

    /// Waits for the caller's next call; none at the connection's end.
    async fn next(&mut self) -> Result<Option<Bytes>, ResetCause> {
        loop {
            match self.caller.message() {
                Ok(Some(message)) => {
                    self.ending = None;
                    return Ok(Some(message));
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(peer = %self.peer, %error, "a caller's message is damaged");
                    if self.protocol.form != MessageForm::Resp {
                        return Err(ResetCause::Caller);
                    }
                    let told = words::error(&format!("Protocol error: {error}"));
                    let _ = self.caller.write(&told).await;
                    return Ok(None);
                }
            }
            if self.caller.has_ended() {
                return Ok(None);
            }
            let software = async {
                match &mut self.link {
                    Some(link) if link.wire.has_ended() => Ok(()),
                    Some(link) => link.wire.fill().await,
                    None => std::future::pending().await,
                }
            };
            let (ending, gate) = (self.ending, &*self.node.gate);
            let meant = async {
                match ending {
                    Some(ending) => (ending.is_meant(gate).await, ending.in_order),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                filled = self.caller.fill() => filled.map_err(|_| ResetCause::Caller)?,
                filled = software => {
                    if !self.unasked(filled).await? {
                        return Ok(None);
                    }
                }
                meant = meant => match meant {
                    (false, _) => self.ending = None,
                    (true, true) => return Ok(None),
                    (true, false) => return Err(ResetCause::Software),
                },
            }
        }
    }

    /// Something has come from the software that no call waits for; says whether the connection goes on.
    async fn unasked(&mut self, filled: io::Result<()>) -> Result<bool, ResetCause> {
        let Some(link) = &mut self.link else {
            return Ok(true);
        };
        let may_go = self.protocol.carried && !link.talk.has_state();
        let ending = UpstreamEnding {
            upstream: link.upstream,
            in_order: filled.is_ok(),
            until: Instant::now() + END_KNOWN_WITHIN,
        };
        if filled.is_err() {
            self.link = None;
            self.ending = Some(ending).filter(|_| may_go);
            return if may_go {
                Ok(true)
            } else {
                Err(ResetCause::Software)
            };
        }
        while let Some(value) = link.wire.message().map_err(|_| ResetCause::Software)? {
            if self.protocol.form != MessageForm::Resp {
                tracing::debug!(peer = %self.peer, "the software sent a message that answers no call");
                return Err(ResetCause::Software);
            }
            // It may end a subscription.
            link.talk.hear(&value, None);
            let written = self.caller.write(&value).await;
            written.map_err(|_| ResetCause::Caller)?;
        }
        if !link.wire.has_ended() {
            return Ok(true);
        }
        self.link = None;
        self.ending = Some(ending).filter(|_| may_go);
        Ok(may_go)
    }

    /// Passes a call through the chain; the answer is not framed yet.
    async fn answer(&mut self, lease: &Lease, message: Bytes) -> Result<Option<Bytes>, Failure> {
        let codec = self.node.gate.codec();
        let codec = codec.unwrap_or_else(|| self.protocol.codec.clone());
        let call = Call::Message(MessageCall {
            form: self.protocol.form,
            bytes: message,
            context: CallContext::of(&self.node.limits, self.node.gate.caller(), self.peer),
        });
        let mut software = MessagesToSoftware {
            caller: &mut self.caller,
            link: &mut self.link,
            peer: self.peer,
            dial: &*self.node.dial,
            upstream: lease.upstream,
            form: self.protocol.form,
            codec: &codec,
            limits: &self.node.limits,
        };
        let share = Share::of(&self.node.limits.held, 0);
        let answer = share.used_by(lease.chain.call(call, &mut software));
        Ok(Some(answer.await?.into_message()?))
    }

    /// A refusal as the caller is told it; none where its protocol has no words for that: the connection ends.
    fn own_words(&self, refusal: Refusal) -> Option<Bytes> {
        match (refusal.words, self.protocol.form) {
            (RefusalWords::Message(message), _) => Some(message),
            (RefusalWords::Http { .. }, MessageForm::Resp) => {
                Some(words::error(&refusal.reason).into())
            }
            (RefusalWords::Http { .. }, _) => {
                tracing::debug!(peer = %self.peer, reason = %refusal.reason, "a call was refused");
                None
            }
        }
    }

    async fn say(&mut self, answer: Bytes) -> Result<(), ResetCause> {
        let sent = match self.protocol.form {
            // It may be several values, each of which was proved.
            MessageForm::Resp => self.caller.write(&answer).await,
            MessageForm::Framed => match self.caller.codec().seal(answer.into()) {
                Ok(frame) => self.caller.send(frame).await,
                Err(error) => {
                    tracing::warn!(peer = %self.peer, %error, "an answer cannot be framed for its caller");
                    return Err(ResetCause::Software);
                }
            },
        };
        sent.map_err(|_| ResetCause::Caller)
    }
}
