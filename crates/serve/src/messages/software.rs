//! The connection to the software: one for each caller's connection, since what a caller has set up on its own belongs there.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep_until};

use super::stream::MessageStream;
use super::talk::{Heard, Talk};
use call::{
    Answer, BodyError, Call, Delegate, Dial, Failure, Limits, MessageForm, Pending, Refusal,
    RefusalKind, Upstream,
};
use wire::framing::Codec;
use wire::words::words;

/// How long a call goes on whose caller has ended its side: it may only want no more than this answer, or be gone.
const LEAVING: Duration = Duration::from_secs(10);

/// A connection to the software, and what was agreed on it.
pub(super) struct SoftwareLink {
    pub(super) upstream: Upstream,
    pub(super) wire: MessageStream,
    pub(super) talk: Talk,
}

/// The software, as the end of one call's chain.
pub(super) struct MessagesToSoftware<'s> {
    pub(super) caller: &'s mut MessageStream,
    pub(super) link: &'s mut Option<SoftwareLink>,
    pub(super) peer: SocketAddr,
    pub(super) dial: &'s dyn Dial,
    pub(super) upstream: Upstream,
    pub(super) form: MessageForm,
    /// The framing of the software's version.
    pub(super) codec: &'s Arc<Codec>,
    /// Of the connection.
    pub(super) limits: &'s Limits,
}

impl Delegate for MessagesToSoftware<'_> {
    fn send<'a>(&'a mut self, call: Call) -> Pending<'a, Result<Answer, Failure>> {
        Box::pin(async move {
            let message = call.into_message()?;
            let bytes_max = message.context.limits.bytes_max;
            if message.bytes.len() > bytes_max {
                return Err(refused(BodyError::TooLarge(bytes_max).to_string()));
            }
            Ok(Answer::Message(self.exchange(message.bytes).await?))
        })
    }
}

impl MessagesToSoftware<'_> {
    /// Sends a message, and waits for what answers it. Nothing is ever sent twice.
    async fn exchange(&mut self, message: Bytes) -> Result<Bytes, Failure> {
        let words = match self.form {
            MessageForm::Resp => Some(words(&message).map_err(|why| refused(why.to_owned()))?),
            MessageForm::Framed => None,
        };
        let frame = self.codec.seal(message.into());
        let frame = frame.map_err(|error| refused(error.to_string()))?;
        self.connect().await?;
        let Some(SoftwareLink { wire, talk, .. }) = self.link.as_mut() else {
            return Err(Failure::Unreachable(io::ErrorKind::NotConnected.into()));
        };
        let mut awaited = match words {
            Some(words) => Some(talk.begin(&words).map_err(refused)?),
            None => None,
        };
        wire.send(frame).await.map_err(Failure::Ended)?;
        let mut answer = Vec::new();
        let mut leaves_at = None;
        loop {
            while let Some(value) = wire.message().map_err(Failure::Damaged)? {
                let heard = match &mut awaited {
                    Some(awaited) => talk.hear(&value, Some(awaited)),
                    None => Heard::Answer,
                };
                match heard {
                    Heard::Answer if answer.is_empty() => return Ok(value),
                    Heard::Answer => {
                        answer.extend_from_slice(&value);
                        return Ok(answer.into());
                    }
                    Heard::Part => answer.extend_from_slice(&value),
                    Heard::Push => {
                        let pushed = self.caller.write(&value).await;
                        pushed.map_err(Failure::CallerEnded)?;
                    }
                }
            }
            if wire.has_ended() {
                return Err(Failure::Ended(io::ErrorKind::UnexpectedEof.into()));
            }
            if self.caller.has_ended() {
                leaves_at.get_or_insert_with(|| Instant::now() + LEAVING);
            }
            let left = async {
                match leaves_at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                filled = wire.fill() => filled.map_err(Failure::Ended)?,
                // What it sends meanwhile is its next call; that it ends is seen.
                filled = self.caller.fill() => filled.map_err(Failure::CallerEnded)?,
                () = left => return Err(Failure::CallerEnded(io::ErrorKind::UnexpectedEof.into())),
            }
        }
    }

    /// Connects, unless there is a connection to the software that runs now.
    async fn connect(&mut self) -> Result<(), Failure> {
        let usable = self
            .link
            .as_ref()
            .is_some_and(|link| link.upstream == self.upstream && !link.wire.has_ended());
        if usable {
            return Ok(());
        }
        *self.link = None;
        let dialled = self.dial.dial(self.upstream, self.peer).await;
        let stream = dialled.map_err(Failure::Unreachable)?;
        *self.link = Some(SoftwareLink {
            upstream: self.upstream,
            wire: MessageStream::new(stream, self.codec.clone(), self.limits),
            talk: Talk::default(),
        });
        Ok(())
    }
}

fn refused(reason: String) -> Failure {
    Refusal::new(
        RefusalKind::Request,
        "(software)",
        reason,
        http::StatusCode::BAD_REQUEST,
    )
    .into()
}
