//! Plays conversations: the lens itself, between the conversation's caller and a next step that answers from it.

use std::io;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::recording::Recording;
use super::{Content, Conversation, Difference, Exchange, Headers, Reply, Request};
use crate::call::{Answer, Body, BodyLimits, Call};
use crate::chain::{Chain, Delegate, Direction, Pending};
use crate::lens::Lens;
use crate::limits::Limits;
use crate::observer::Failure;

/// How a conversation went.
#[derive(Clone, Debug)]
pub struct Played {
    /// What was really said.
    pub found: Conversation,
    /// Where that differs from the conversation.
    pub differences: Vec<Difference>,
}

/// Plays a conversation through a lens. A direct one passes it by: nothing can differ.
pub async fn play(lens: &Arc<Lens>, conversation: &Conversation) -> Played {
    let Some(direction) = conversation.direction else {
        return Played {
            found: conversation.clone(),
            differences: Vec::new(),
        };
    };
    let chain = [(lens.clone(), direction)];
    let (told, _) = run(&chain, &conversation.sends, &conversation.exchanges).await;
    let mut found = told
        .into_iter()
        .next()
        .map_or_else(Conversation::default, |told| told.conversation);
    found.description.clone_from(&conversation.description);
    found.recorded.clone_from(&conversation.recorded);
    let differences = conversation.differences(&found);
    Played { found, differences }
}

/// Sends a call through lenses to a next step that answers from these exchanges, in order.
pub(crate) async fn run(
    lenses: &[(Arc<Lens>, Direction)],
    sends: &Request,
    exchanges: &[Exchange],
) -> (Vec<super::Told>, Result<Answer, Failure>) {
    let directions = lenses.iter().map(|(_, direction)| *direction).collect();
    let recording = Recording::new(directions, None);
    let chain = Chain::new(lenses.to_vec()).recorded(&recording);
    let mut next = Script {
        answers: exchanges.iter().map(|exchange| &exchange.answers),
    };
    let outcome = chain.call(call(sends), &mut next).await;
    (recording.told(), outcome)
}

/// The next in the chain: gives the answers that it was given.
struct Script<I> {
    answers: I,
}

impl<'e, I: Iterator<Item = &'e Reply> + Send> Delegate for Script<I> {
    fn send<'a>(&'a mut self, _: Call) -> Pending<'a, Result<Answer, Failure>> {
        Box::pin(async move {
            let reply = self.answers.next().ok_or_else(|| {
                Failure::Unreachable(io::Error::other("the conversation has no answer to it"))
            })?;
            let (mut head, ()) = http::Response::new(()).into_parts();
            head.status = reply.status;
            head.headers = map(&reply.headers);
            Ok(Answer {
                head,
                body: body(&reply.body),
            })
        })
    }
}

fn call(request: &Request) -> Call {
    let limits = Limits::default();
    let (mut head, ()) = http::Request::new(()).into_parts();
    head.method = request.method.clone();
    // Files are refused whose target is none.
    head.uri = request.target.parse().unwrap_or_default();
    head.headers = map(&request.headers);
    Call {
        head,
        body: body(&request.body),
        limits: BodyLimits {
            bytes_max: limits.body_bytes_max,
            depth_max: limits.depth_max,
        },
    }
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
    crate::http::strip_hops(&mut map);
    map
}

fn body(content: &Content) -> Body {
    if content.is_empty() {
        return Body::Empty;
    }
    Body::Bytes(content.0.clone().into())
}
