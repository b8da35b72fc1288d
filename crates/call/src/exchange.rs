//! Calls and answers on their way through a chain.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::body::{Body, BodyError, BodyLimits};
use crate::limits::Limits;
use crate::places::Places;
use crate::refusal::{Failure, Refusal, RefusalKind};

/// A call: what a caller wants, in its service's protocol.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all calls are of HTTP: a box would cost each of them an allocation"
)]
pub enum Call {
    /// A request of HTTP.
    Http(HttpCall),
    /// A command of RESP, or a message of a service with its own framing.
    Message(MessageCall),
}

/// A request of HTTP.
#[derive(Debug)]
pub struct HttpCall {
    /// Method, target, headers.
    pub head: http::request::Parts,
    /// Body.
    pub body: Body,
    /// What it brings along.
    pub context: CallContext,
}

/// A call that is all in its bytes.
#[derive(Clone, Debug)]
pub struct MessageCall {
    /// What it is.
    pub form: MessageForm,
    /// A command as it stands on the wire, or a message without its framing.
    pub bytes: Bytes,
    /// What it brings along.
    pub context: CallContext,
}

/// What a call, and all that an adapter delegates for it, bring along.
#[derive(Clone, Debug)]
pub struct CallContext {
    /// How much of a body, its answer's included, may be decoded.
    pub limits: BodyLimits,
    /// Who made it; none where the node asks by itself, as tests do.
    pub caller: Option<Caller>,
    /// Leave for the components that it passes; taken when it enters a chain.
    pub places: Option<Places>,
}

/// Who made a call, as adapters are told.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The version on the connection's label.
    pub version: u32,
    /// Its address, as the software would see it.
    pub address: SocketAddr,
    /// The service that was called.
    pub service: Arc<str>,
}

/// What calls and their answers are, as files say it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// A request of HTTP.
    #[default]
    Http,
    /// A command of RESP, and one value; of a subscription all values that confirm it.
    Resp,
    /// A message without its framing.
    Message,
}

/// What calls are that are not of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageForm {
    /// A command of RESP; its answer is one value, or all values that confirm a subscription.
    Resp,
    /// A message without its framing.
    Framed,
}

impl From<MessageForm> for Form {
    fn from(form: MessageForm) -> Self {
        match form {
            MessageForm::Resp => Self::Resp,
            MessageForm::Framed => Self::Message,
        }
    }
}

impl CallContext {
    /// Of a call that came to the node from `peer`; `caller` is the version on its connection's label, and the service.
    pub fn of(limits: &Limits, caller: Option<(u32, Arc<str>)>, peer: SocketAddr) -> Self {
        Self {
            caller: caller.map(|(version, service)| Caller {
                version,
                address: peer,
                service,
            }),
            ..Self::new(BodyLimits {
                bytes_max: limits.body_bytes_max,
                depth_max: limits.depth_max,
            })
        }
    }

    /// Of a call that nobody is known to have made.
    pub fn new(limits: BodyLimits) -> Self {
        Self {
            limits,
            caller: None,
            places: None,
        }
    }
}

impl Call {
    /// What it is.
    pub fn form(&self) -> Form {
        match self {
            Self::Http(_) => Form::Http,
            Self::Message(call) => call.form.into(),
        }
    }

    /// What it brings along.
    pub fn context(&self) -> &CallContext {
        match self {
            Self::Http(call) => &call.context,
            Self::Message(call) => &call.context,
        }
    }

    /// The same, to change it.
    pub fn context_mut(&mut self) -> &mut CallContext {
        match self {
            Self::Http(call) => &mut call.context,
            Self::Message(call) => &mut call.context,
        }
    }

    /// The request, for whoever knows nothing but HTTP.
    ///
    /// # Errors
    /// It is of another protocol.
    pub fn into_http(self) -> Result<HttpCall, Failure> {
        match self {
            Self::Http(call) => Ok(call),
            Self::Message(_) => Err(other_protocol()),
        }
    }

    /// The command or message, for whoever knows nothing else.
    ///
    /// # Errors
    /// It is of HTTP.
    pub fn into_message(self) -> Result<MessageCall, Failure> {
        match self {
            Self::Message(call) => Ok(call),
            Self::Http(_) => Err(other_protocol()),
        }
    }
}

impl From<HttpCall> for Call {
    fn from(call: HttpCall) -> Self {
        Self::Http(call)
    }
}

/// Marks a call whose caller sends the body only when told to go on (`Expect: 100-continue`).
#[derive(Clone, Copy, Debug)]
pub struct AwaitsContinue;

/// Marks a call whose answer passes unchanged, so that what comes before it (1xx) may pass too; whoever translates takes it out.
#[derive(Clone, Copy, Debug)]
pub struct PassesInterims;

/// The answer to a call.
#[derive(Debug)]
pub enum Answer {
    /// An answer of HTTP.
    Http(HttpAnswer),
    /// A value of RESP, as many as confirm a subscription, or a message without its framing.
    Message(Bytes),
}

/// An answer of HTTP.
#[derive(Debug)]
pub struct HttpAnswer {
    /// Status, headers.
    pub head: http::response::Parts,
    /// Body.
    pub body: Body,
}

impl Answer {
    /// The answer when all of it has come.
    ///
    /// # Errors
    /// The software's connection failed, or the body is longer than these limits.
    pub async fn whole(self, limits: BodyLimits) -> Result<Self, Failure> {
        let HttpAnswer { head, body } = match self {
            Self::Http(answer) => answer,
            Self::Message(_) => return Ok(self),
        };
        let body = body.into_bytes(limits).await.map_err(|error| match error {
            BodyError::Connection(error) => Failure::Broken(error),
            error => Refusal::of_answer(error.to_string()).into(),
        })?;
        let body = if body.is_empty() {
            Body::Empty
        } else {
            Body::Bytes(body)
        };
        Ok(HttpAnswer { head, body }.into())
    }

    /// The same once more, of one that is whole.
    #[must_use]
    pub fn copy(&self) -> Self {
        let answer = match self {
            Self::Http(answer) => answer,
            Self::Message(bytes) => return Self::Message(bytes.clone()),
        };
        let body = match &answer.body {
            Body::Bytes(bytes) => Body::Bytes(bytes.clone()),
            Body::Json(json) => Body::Json(json.clone()),
            Body::Empty | Body::Stream(_) | Body::Watched(_) => Body::Empty,
        };
        let head = answer.head.clone();
        HttpAnswer { head, body }.into()
    }

    /// The answer to a request of HTTP.
    ///
    /// # Errors
    /// It is of another protocol.
    pub fn into_http(self) -> Result<HttpAnswer, Failure> {
        match self {
            Self::Http(answer) => Ok(answer),
            Self::Message(_) => Err(other_protocol()),
        }
    }

    /// The answer to a command or message.
    ///
    /// # Errors
    /// It is of HTTP.
    pub fn into_message(self) -> Result<Bytes, Failure> {
        match self {
            Self::Message(bytes) => Ok(bytes),
            Self::Http(_) => Err(other_protocol()),
        }
    }
}

impl From<HttpAnswer> for Answer {
    fn from(answer: HttpAnswer) -> Self {
        Self::Http(answer)
    }
}

/// A service speaks one protocol, and so do its adapters; whoever gets another one refuses.
fn other_protocol() -> Failure {
    let reason = "it speaks another protocol than its service";
    let status = http::StatusCode::BAD_GATEWAY;
    Refusal::new(RefusalKind::Request, "(protocol)", reason, status).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_knows_one_protocol_refuses_the_other() {
        let context = CallContext::new(BodyLimits {
            bytes_max: 1,
            depth_max: 1,
        });
        let form = MessageForm::Resp;
        let message = MessageCall {
            form,
            bytes: Bytes::new(),
            context: context.clone(),
        };
        let (head, ()) = http::Request::new(()).into_parts();
        let http = HttpCall {
            head,
            body: Body::Empty,
            context,
        };
        let (head, ()) = http::Response::new(()).into_parts();
        let body = Body::Empty;
        let refused = [
            Call::Message(message).into_http().err(),
            Call::Http(http).into_message().err(),
            Answer::Message(Bytes::new()).into_http().err(),
            Answer::Http(HttpAnswer { head, body }).into_message().err(),
        ];
        for failure in refused {
            let Some(Failure::Refused(refusal)) = failure else {
                panic!("{failure:?}");
            };
            assert_eq!(refusal.rule, "(protocol)");
        }
    }
}
