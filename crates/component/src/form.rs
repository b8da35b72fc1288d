//! Calls and replies of every protocol, between the chain and the contract. What is particular to HTTP is in [`crate::convert`].

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, StatusCode};

use crate::bindings::upstart::adapter::messages as wit;
use crate::convert;
use call::{
    Answer, Call, CallContext, Form, HttpAnswer, MessageCall, MessageForm, Refusal, RefusalKind,
    RefusalWords,
};
use wire::framing::{Codec, Cutter, Look};
use wire::words::{command, words};

/// What values of RESP begin with; anything else is a command in words.
const KINDS: &[u8] = b"+-:$*_#,(!=%~>|";

/// What is wrong with a call or a reply of another protocol.
pub(crate) const OTHER_PROTOCOL: &str = "it speaks another protocol than its service";

/// A call as the adapter sees it.
///
/// The error says what of it cannot be shown.
pub(crate) fn given(call: &Call, body: &Bytes) -> Result<wit::Call, String> {
    Ok(match call {
        Call::Http(call) => wit::Call::Http(convert::request(&call.head, body)?),
        Call::Message(call) => match call.form {
            MessageForm::Resp => wit::Call::Resp(words(body)?),
            MessageForm::Framed => wit::Call::Message(body.to_vec()),
        },
    })
}

/// A call that the adapter delegates; form and context are those of the call that it was asked.
pub(crate) fn delegated(call: wit::Call, form: Form, context: CallContext) -> Result<Call, String> {
    let (form, bytes) = match (call, form) {
        (wit::Call::Http(request), Form::Http) => return convert::call(request, context),
        (wit::Call::Resp(words), Form::Resp) if words.is_empty() => {
            return Err("it delegates a command without words".to_owned());
        }
        (wit::Call::Resp(words), Form::Resp) => (MessageForm::Resp, command(&words)),
        (wit::Call::Message(message), Form::Message) => (MessageForm::Framed, message),
        _ => return Err(OTHER_PROTOCOL.to_owned()),
    };
    Ok(Call::Message(MessageCall {
        form,
        bytes: bytes.into(),
        context,
    }))
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

/// An answer, which is whole, as the adapter sees it.
///
/// The error says what of it cannot be shown.
pub(crate) fn replied(form: Form, answer: Answer) -> Result<wit::Reply, String> {
    match (answer, form) {
        (Answer::Http(HttpAnswer { head, body }), Form::Http) => {
            convert::reply(&head, body.into_written()).map(wit::Reply::Http)
        }
        (Answer::Message(values), Form::Resp) => Ok(wit::Reply::Resp(values.into())),
        (Answer::Message(message), Form::Message) => Ok(wit::Reply::Message(message.into())),
        _ => Err(OTHER_PROTOCOL.to_owned()),
    }
}

/// What the adapter answers to `asked`.
pub(crate) fn answer(reply: wit::Reply, asked: &Call) -> Result<Answer, String> {
    match (reply, asked) {
        (wit::Reply::Http(reply), Call::Http(asked)) => {
            Ok(convert::answer(reply, &asked.head.method)?.into())
        }
        (reply, asked) => Ok(Answer::Message(message(reply, asked.form())?)),
    }
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

/// A refusal of the adapter's own, of a call of this form.
pub(crate) fn refused(refusal: wit::Refusal, rule: String, form: Form) -> Result<Refusal, String> {
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
