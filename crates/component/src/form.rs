//! Calls and replies of every protocol, between the chain and the contract. What is particular to HTTP is in [`crate::convert`].

use std::sync::Arc;

use bytes::Bytes;
use http::{Extensions, Method, Response, StatusCode, request};

use crate::bindings::upstart::adapter::messages as wit;
use crate::convert;
use call::{Answer, Body, BodyLimits, Call, Form, Refusal, RefusalKind, RefusalWords};
use wire::framing::{Codec, Cutter, Look};
use wire::words::{command, words};

/// What values of RESP begin with; anything else is a command in words.
const KINDS: &[u8] = b"+-:$*_#,(!=%~>|";

/// What is wrong with a call or a reply of another protocol.
pub(crate) const OTHER_PROTOCOL: &str = "it speaks another protocol than its service";

/// A call as the adapter sees it.
///
/// The error says what of it cannot be shown.
pub(crate) fn given(head: &request::Parts, body: &Bytes) -> Result<wit::Call, String> {
    Ok(match Form::of(&head.extensions) {
        Form::Http => wit::Call::Http(convert::request(head, body)?),
        Form::Resp => wit::Call::Resp(words(body)?),
        Form::Message => wit::Call::Message(body.to_vec()),
    })
}

/// A call that the adapter delegates; the extensions are those of the call that it was asked.
pub(crate) fn delegated(
    call: wit::Call,
    limits: BodyLimits,
    extensions: &Extensions,
) -> Result<Call, String> {
    let form = Form::of(extensions);
    let message = match (call, form) {
        (wit::Call::Http(request), Form::Http) => {
            return convert::call(request, limits, extensions);
        }
        (wit::Call::Resp(words), Form::Resp) if words.is_empty() => {
            return Err("it delegates a command without words".to_owned());
        }
        (wit::Call::Resp(words), Form::Resp) => command(&words),
        (wit::Call::Message(message), Form::Message) => message,
        _ => return Err(OTHER_PROTOCOL.to_owned()),
    };
    let mut call = Call::message(form, message.into(), None, limits);
    call.head.extensions = extensions.clone();
    Ok(call)
}

/// A call that was written down, as it is delegated or told.
pub(crate) fn written(form: Form, body: &[u8]) -> Option<wit::Call> {
    match form {
        Form::Http => None,
        // It was a command when it was written.
        Form::Resp => Some(wit::Call::Resp(words(body).unwrap_or_default())),
        Form::Message => Some(wit::Call::Message(body.to_vec())),
    }
}

/// An answer as the adapter sees it.
pub(crate) fn replied(
    form: Form,
    head: &http::response::Parts,
    body: Vec<u8>,
) -> Result<wit::Reply, String> {
    Ok(match form {
        Form::Http => wit::Reply::Http(convert::reply(head, body)?),
        Form::Resp => wit::Reply::Resp(body),
        Form::Message => wit::Reply::Message(body),
    })
}

/// What the adapter answers; `asked` is the head of the call.
pub(crate) fn answer(reply: wit::Reply, asked: &request::Parts) -> Result<Answer, String> {
    let form = Form::of(&asked.extensions);
    if let (wit::Reply::Http(reply), Form::Http) = (&reply, form) {
        return convert::answer(reply.clone(), &asked.method);
    }
    let message = message(reply, form)?;
    let (mut head, ()) = Response::new(()).into_parts();
    head.extensions.insert(form);
    Ok(Answer {
        head,
        body: Body::Bytes(message),
    })
}

/// A refusal of somebody nearer to the software, as the adapter sees it.
pub(crate) fn refusal(form: Form, refusal: &Refusal) -> wit::Refusal {
    let RefusalWords::Message(message) = &refusal.words else {
        return match form {
            Form::Http => convert::refusal(refusal),
            Form::Resp | Form::Message => wit::Refusal {
                reason: refusal.reason.clone(),
                reply: None,
            },
        };
    };
    let reply = match form {
        Form::Http => None,
        Form::Resp => Some(wit::Reply::Resp(message.to_vec())),
        Form::Message => Some(wit::Reply::Message(message.to_vec())),
    };
    wit::Refusal {
        reason: refusal.reason.clone(),
        reply,
    }
}

/// A refusal of the adapter's own; `asked` is the head of the call.
pub(crate) fn refused(
    refusal: wit::Refusal,
    rule: String,
    asked: &request::Parts,
) -> Result<Refusal, String> {
    let form = Form::of(&asked.extensions);
    let reply = match (refusal.reply, form) {
        (Some(wit::Reply::Http(reply)), Form::Http) => Some(reply),
        (reply, Form::Resp | Form::Message) => {
            let message = reply.map(|reply| message(reply, form)).transpose()?;
            let kind = RefusalKind::Declared;
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            let mut own = Refusal::new(kind, rule, refusal.reason, status);
            if let Some(message) = message {
                own.words = RefusalWords::Message(message);
            }
            return Ok(own);
        }
        (None, Form::Http) => None,
        (Some(_), Form::Http) => return Err(OTHER_PROTOCOL.to_owned()),
    };
    convert::refused(refusal.reason, reply, rule)
}

/// A reply that is a message, or values of RESP.
fn message(reply: wit::Reply, form: Form) -> Result<Bytes, String> {
    match (reply, form) {
        (wit::Reply::Resp(values), Form::Resp) => {
            prove_values(&values)?;
            Ok(values.into())
        }
        (wit::Reply::Message(message), Form::Message) => Ok(message.into()),
        _ => Err(OTHER_PROTOCOL.to_owned()),
    }
}

/// A reply is one whole value, or several where it confirms a subscription.
fn prove_values(values: &[u8]) -> Result<(), String> {
    let mut cutter = Cutter::new(Arc::new(Codec::resp()));
    let mut rest = values;
    loop {
        let whole = match cutter.look(rest) {
            Ok(Look::Head(frame)) => cutter.whole(rest, &frame).unwrap_or_default(),
            Ok(Look::More(_)) | Err(_) => None,
        };
        let Some(length) = whole.filter(|_| KINDS.contains(&rest[0])) else {
            return Err("its reply is no value of RESP".to_owned());
        };
        rest = &rest[length..];
        if rest.is_empty() {
            return Ok(());
        }
        cutter.next();
    }
}

/// The method that stands for a call which has none.
pub(crate) fn method(text: &str) -> Method {
    Method::from_bytes(text.as_bytes()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_whole_values() {
        for whole in [
            "+OK\r\n",
            "$-1\r\n",
            "*2\r\n:1\r\n$1\r\na\r\n",
            "+a\r\n:1\r\n",
        ] {
            prove_values(whole.as_bytes()).expect(whole);
        }
        for other in ["", "+OK", "$3\r\nab\r\n", "*1\r\n", "hello\r\n", "+OK\r\n$"] {
            prove_values(other.as_bytes()).expect_err(other);
        }
    }
}
