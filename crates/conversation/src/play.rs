//! Plays conversations: the adapter itself, between the conversation's caller and a next step that answers from it.

use std::io;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::recording::Recording;
use crate::{Content, Conversation, Difference, Exchange, Headers, Reply, Request};
use call::{
    Answer, Body, BodyLimits, Call, CallContext, Calls, Chain, Conflicts, Delegate, Direction,
    Failure, Form, HttpAnswer, HttpCall, Limits, MessageCall, MessageForm, Pending,
};

/// How a conversation went.
#[derive(Clone, Debug)]
pub struct Played {
    /// What was really said.
    pub found: Conversation,
    /// Where that differs from the conversation.
    pub differences: Vec<Difference>,
    /// How the adapter itself failed, if it did.
    pub failure: Option<String>,
}

/// An adapter's part in a conversation: what stands between which versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Past or future.
    pub direction: Direction,
    /// The version of the caller.
    pub caller_version: u32,
    /// The version of the next in the chain.
    pub next_version: u32,
}

impl Part {
    /// Between the versions 1 and 2.
    pub(crate) fn of_nobody(direction: Direction) -> Self {
        let (caller_version, next_version) = match direction {
            Direction::Past => (1, 2),
            Direction::Future => (2, 1),
        };
        Self {
            direction,
            caller_version,
            next_version,
        }
    }

    /// That in a conversation: the versions are 1 and 2 where nothing was recorded.
    fn of(direction: Direction, conversation: &Conversation) -> Self {
        let Some(origin) = &conversation.recorded else {
            return Self::of_nobody(direction);
        };
        let (caller_version, next_version) = match direction {
            Direction::Past => (origin.caller_version, origin.version),
            Direction::Future => (origin.version, origin.version.saturating_sub(1)),
        };
        Self {
            direction,
            caller_version,
            next_version,
        }
    }
}

impl Conversation {
    /// Plays it through an adapter, which is made for its part. A direct one passes it by: nothing can differ.
    pub async fn play(&self, adapter: impl FnOnce(Part) -> Arc<dyn Calls>) -> Played {
        play_through(adapter, self).await
    }
}

async fn play_through(
    adapter: impl FnOnce(Part) -> Arc<dyn Calls>,
    conversation: &Conversation,
) -> Played {
    let Some(direction) = conversation.direction else {
        return Played {
            found: conversation.clone(),
            differences: Vec::new(),
            failure: None,
        };
    };
    let chain = Chain::of(
        direction,
        vec![adapter(Part::of(direction, conversation))],
        &Conflicts::default(),
    );
    let (told, outcome) = through(
        &chain,
        vec![direction],
        &conversation.sends,
        &conversation.exchanges,
    )
    .await;
    let mut found = told
        .into_iter()
        .next()
        .map_or_else(Conversation::default, |told| told.conversation);
    found.description.clone_from(&conversation.description);
    found.recorded.clone_from(&conversation.recorded);
    let differences = conversation.differences(&found);
    let failure = match outcome {
        Err(failure @ Failure::Adapter(_)) => Some(failure.to_string()),
        _ => None,
    };
    Played {
        found,
        differences,
        failure,
    }
}

/// Sends a call through a chain, whose adapters have these directions, to a next step that answers from these exchanges, in order;
/// gives what each adapter saw, and the end.
pub async fn through(
    chain: &Chain,
    directions: Vec<Direction>,
    sends: &Request,
    exchanges: &[Exchange],
) -> (Vec<crate::Told>, Result<Answer, Failure>) {
    let recording = Recording::new(directions, None);
    let chain = recording.of(chain);
    let mut next = ScriptedAnswers {
        form: sends.form,
        answers: exchanges.iter().map(|exchange| &exchange.answers),
    };
    let outcome = chain.call(call(sends), &mut next).await;
    (recording.told(), outcome)
}

/// The next in the chain: gives the answers that it was given.
struct ScriptedAnswers<I> {
    form: Form,
    answers: I,
}

impl<'e, I: Iterator<Item = &'e Reply> + Send> Delegate for ScriptedAnswers<I> {
    fn send<'a>(&'a mut self, _: Call) -> Pending<'a, Result<Answer, Failure>> {
        Box::pin(async move {
            let reply = self.answers.next().ok_or_else(|| {
                Failure::Unreachable(io::Error::other("the conversation has no answer to it"))
            })?;
            if self.form != Form::Http {
                return Ok(Answer::Message(reply.body.0.clone().into()));
            }
            let (mut head, ()) = http::Response::new(()).into_parts();
            head.status = reply.status;
            head.headers = map(&reply.headers);
            let body = body(&reply.body);
            Ok(HttpAnswer { head, body }.into())
        })
    }
}

fn call(request: &Request) -> Call {
    let limits = Limits::default();
    let context = CallContext::new(BodyLimits {
        bytes_max: limits.body_bytes_max,
        depth_max: limits.depth_max,
    });
    let message = |form| {
        Call::Message(MessageCall {
            form,
            bytes: request.body.0.clone().into(),
            context: context.clone(),
        })
    };
    match request.form {
        Form::Resp => return message(MessageForm::Resp),
        Form::Message => return message(MessageForm::Framed),
        Form::Http => {}
    }
    let (mut head, ()) = http::Request::new(()).into_parts();
    head.method = request.method.clone();
    // Files are refused whose target is none.
    head.uri = request.target.parse().unwrap_or_default();
    head.headers = map(&request.headers);
    Call::Http(HttpCall {
        head,
        body: body(&request.body),
        context,
    })
}

fn map(headers: &Headers) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, values) in headers {
        for value in values {
            if let (Ok(name), Ok(value)) = (
                HeaderName::from_bytes(name.as_bytes()),
                HeaderValue::from_bytes(value.as_bytes()),
            ) {
                map.append(name, value);
            }
        }
    }
    call::strip_hops(&mut map);
    map
}

fn body(content: &Content) -> Body {
    if content.is_empty() {
        return Body::Empty;
    }
    Body::Bytes(content.0.clone().into())
}
