//! Plays conversations: the adapter itself, between the conversation's caller and a next step that answers from it.

use std::io;
use std::path::Path;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::recording::Recording;
use super::{Content, Conversation, Difference, Exchange, Headers, Reply, Request};
use crate::call::{Answer, Body, BodyLimits, Call, Form};
use crate::chain::{Calls, Chain, Delegate, Direction, Pending};
use crate::component::{ComponentStep, Declaration, Program, Standing};
use crate::conflicts::Conflicts;
use crate::lens::Lens;
use crate::limits::Limits;
use crate::observer::Failure;
use crate::state::{StateId, Stores};

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

/// Plays a conversation through a lens. A direct one passes it by: nothing can differ.
pub async fn play(lens: &Arc<Lens>, conversation: &Conversation) -> Played {
    let step = |direction| crate::lens::step(lens.clone(), direction);
    play_through(step, conversation).await
}

/// Plays a conversation through a component of calls that begins anew: what it remembers is kept in this folder, which should be empty.
/// A direct one passes it by: nothing can differ.
pub async fn play_component(
    declaration: &Arc<Declaration>,
    program: &Arc<Program>,
    folder: &Path,
    conversation: &Conversation,
) -> Played {
    let step = |direction| -> Arc<dyn Calls> {
        let (caller_version, next_version) = versions(direction, conversation);
        let upgrade = caller_version.max(next_version);
        let standing = Standing {
            state: StateId { upgrade, direction },
            caller_version,
            next_version,
        };
        let stores = Arc::new(Stores::new(folder));
        Arc::new(ComponentStep::new(
            declaration.clone(),
            program.clone(),
            stores,
            standing,
        ))
    };
    play_through(step, conversation).await
}

/// The versions of the caller and of the next in the chain: 1 and 2 where nothing was recorded.
fn versions(direction: Direction, conversation: &Conversation) -> (u32, u32) {
    match (direction, &conversation.recorded) {
        (Direction::Past, Some(origin)) => (origin.caller_version, origin.version),
        (Direction::Future, Some(origin)) => (origin.version, origin.version.saturating_sub(1)),
        (Direction::Past, None) => (1, 2),
        (Direction::Future, None) => (2, 1),
    }
}

async fn play_through(
    step: impl FnOnce(Direction) -> Arc<dyn Calls>,
    conversation: &Conversation,
) -> Played {
    let Some(direction) = conversation.direction else {
        return Played {
            found: conversation.clone(),
            differences: Vec::new(),
            failure: None,
        };
    };
    let chain = Chain::of(direction, vec![step(direction)], &Conflicts::default());
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

/// Sends a call through lenses to a next step that answers from these exchanges, in order.
pub(crate) async fn run(
    lenses: &[(Arc<Lens>, Direction)],
    sends: &Request,
    exchanges: &[Exchange],
) -> (Vec<super::Told>, Result<Answer, Failure>) {
    let directions = lenses.iter().map(|(_, direction)| *direction).collect();
    through(&Chain::new(lenses.to_vec()), directions, sends, exchanges).await
}

async fn through(
    chain: &Chain,
    directions: Vec<Direction>,
    sends: &Request,
    exchanges: &[Exchange],
) -> (Vec<super::Told>, Result<Answer, Failure>) {
    let recording = Recording::new(directions, None);
    let chain = chain.recorded(&recording);
    let mut next = Script {
        form: sends.form,
        answers: exchanges.iter().map(|exchange| &exchange.answers),
    };
    let outcome = chain.call(call(sends), &mut next).await;
    (recording.told(), outcome)
}

/// The next in the chain: gives the answers that it was given.
struct Script<I> {
    form: Form,
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
            head.extensions.insert(self.form);
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
    head.extensions.insert(request.form);
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
