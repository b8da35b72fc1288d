//! Recordings: what passes a chain during one call, written down between its adapters.
//!
//! A recorded chain is the same adapters with a probe before each of them and one before the software. Chains that are
//! not recorded have none, so that recording costs nothing where it is off.

use parking_lot::{Mutex, MutexGuard};
use std::any::Any;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::body_tee::{BodyCopy, KeptAlive, TeeBody, Unknown};
use crate::{Content, Conversation, Ending, Exchange, Headers, Reply, Request, headers};
use call::{
    Answer, Body, Call, Calls, Chain, Direction, Failure, Form, Next, Pending, Refusal,
    RefusalWords,
};
use wire::json::Json;
use wire::words;

/// Takes what a recording has to tell, once its call has ended.
pub type Sink = Box<dyn FnOnce(Vec<Told>) + Send>;

/// One adapter's part in a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// Which of the chain's adapters, the one nearest to the caller being 0.
    pub step: usize,
    /// What passed it.
    pub conversation: Conversation,
    /// Why it is not all of it; `None` for a whole conversation.
    pub incomplete: Option<&'static str>,
    /// The adapter's own refusal; that of one further on is not.
    pub refusal: Option<Box<Refusal>>,
    /// Its last call to the next in the chain was answered.
    pub answered: bool,
}

/// What passes a chain during one call.
pub struct Recording {
    inner: Mutex<Inner>,
}

struct Inner {
    directions: Vec<Direction>,
    seen: Vec<SeenExchange>,
    /// Whose exchange is under way, innermost last.
    open: Vec<usize>,
    sink: Option<Sink>,
}

/// One exchange at one place of the chain.
struct SeenExchange {
    /// How many adapters it has passed.
    depth: usize,
    parent: Option<usize>,
    request: Request,
    request_body: Caught,
    outcome: RecordedOutcome,
}

enum RecordedOutcome {
    Open,
    Answer(Reply, Caught),
    Refused(Box<Refusal>),
    Failed,
}

/// A body, perhaps still passing.
enum Caught {
    Nothing,
    Bytes(Bytes),
    Json(Json),
    Passing(BodyCopy),
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recording").finish_non_exhaustive()
    }
}

impl Recording {
    /// A recording of one call through adapters of these directions, nearest to the caller first.
    pub fn new(directions: Vec<Direction>, sink: Option<Sink>) -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::new(Inner {
                directions,
                seen: Vec::new(),
                open: Vec::new(),
                sink,
            }),
        })
    }

    /// The same adapters, with what passes between them written down here: for one call.
    #[must_use]
    pub fn of(self: &Arc<Self>, chain: &Chain) -> Chain {
        chain.probed(|depth| {
            Arc::new(RecordingStep {
                recording: self.clone(),
                depth,
            })
        })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    fn begin(self: &Arc<Self>, depth: usize, call: &mut Call) -> usize {
        let (request, request_body) = self.begun(call);
        let mut inner = self.inner();
        let parent = inner.open.last().copied();
        inner.seen.push(SeenExchange {
            depth,
            parent,
            request,
            request_body,
            outcome: RecordedOutcome::Open,
        });
        let index = inner.seen.len() - 1;
        inner.open.push(index);
        index
    }

    /// A call without its body, and its body, which still arrives.
    fn begun(self: &Arc<Self>, call: &mut Call) -> (Request, Caught) {
        let call = match call {
            Call::Http(call) => call,
            Call::Message(call) => {
                let request = Request {
                    form: call.form.into(),
                    ..Request::default()
                };
                return (request, Caught::Bytes(call.bytes.clone()));
            }
        };
        let target = call.head.uri.path_and_query();
        let request = Request {
            form: Form::Http,
            method: call.head.method.clone(),
            target: target.map_or("/", |target| target.as_str()).to_owned(),
            headers: headers(&call.head.headers),
            body: Content::default(),
        };
        (request, self.catch(&mut call.body))
    }

    fn end(self: &Arc<Self>, index: usize, outcome: &mut Result<Answer, Failure>) {
        let outcome = match outcome {
            Ok(Answer::Message(bytes)) => {
                RecordedOutcome::Answer(Reply::default(), Caught::Bytes(bytes.clone()))
            }
            Ok(Answer::Http(answer)) => {
                let reply = Reply {
                    status: answer.head.status,
                    headers: headers(&answer.head.headers),
                    body: Content::default(),
                };
                RecordedOutcome::Answer(reply, self.catch(&mut answer.body))
            }
            Err(Failure::Refused(refusal)) => RecordedOutcome::Refused(refusal.clone()),
            Err(_) => RecordedOutcome::Failed,
        };
        let mut inner = self.inner();
        inner.open.retain(|open| *open != index);
        inner.seen[index].outcome = outcome;
    }

    fn catch(self: &Arc<Self>, body: &mut Body) -> Caught {
        match std::mem::take(body) {
            Body::Empty => Caught::Nothing,
            Body::Bytes(bytes) => {
                *body = Body::Bytes(bytes.clone());
                Caught::Bytes(bytes)
            }
            Body::Json(json) => {
                *body = Body::Json(json.clone());
                Caught::Json(json)
            }
            Body::Stream(stream) => {
                let tee = TeeBody::new(stream, self.clone());
                let copy = tee.copy();
                *body = Body::Watched(Box::new(tee));
                Caught::Passing(copy)
            }
            Body::Watched(watched) => {
                let any: &dyn Any = &*watched;
                let copy = any.downcast_ref().map(TeeBody::copy);
                *body = Body::Watched(watched);
                // Of a body that somebody else looks at nothing is heard: it counts as not read.
                Caught::Passing(copy.unwrap_or_default())
            }
        }
    }

    /// What each adapter saw of the call, as far as it has gone.
    pub fn told(&self) -> Vec<Told> {
        self.inner().told()
    }
}

/// The recording ends when its last body has.
impl KeptAlive for Recording {}

impl Drop for Recording {
    fn drop(&mut self) {
        let mut inner = self.inner();
        if let Some(sink) = inner.sink.take() {
            sink(inner.told());
        }
    }
}

impl Inner {
    fn told(&self) -> Vec<Told> {
        let adapters = self.directions.len();
        let own = |seen: &(usize, &SeenExchange)| seen.1.depth < adapters;
        let all = self.seen.iter().enumerate().filter(own);
        all.map(|(index, seen)| self.tell(index, seen)).collect()
    }

    fn tell(&self, index: usize, seen: &SeenExchange) -> Told {
        let mut incomplete = None;
        let mut exchanges = Vec::new();
        let mut answered = false;
        let mut refused_further_on = false;
        for inner in self.seen.iter().filter(|inner| inner.parent == Some(index)) {
            answered = matches!(inner.outcome, RecordedOutcome::Answer(..));
            refused_further_on = matches!(inner.outcome, RecordedOutcome::Refused(_));
            exchanges.push(Exchange {
                gets: inner.request(&mut incomplete),
                answers: inner.reply(&mut incomplete),
            });
        }
        let conversation = Conversation {
            description: None,
            direction: Some(self.directions[seen.depth]),
            recorded: None,
            sends: seen.request(&mut incomplete),
            exchanges,
            gets: seen.ending(&mut incomplete),
        };
        let refusal = match &seen.outcome {
            RecordedOutcome::Refused(refusal) if !refused_further_on => Some(refusal.clone()),
            _ => None,
        };
        Told {
            step: seen.depth,
            conversation,
            incomplete,
            refusal,
            answered,
        }
    }
}

impl SeenExchange {
    fn request(&self, incomplete: &mut Option<&'static str>) -> Request {
        let mut request = self.request.clone();
        request.body = self.request_body.content(incomplete);
        match request.form {
            Form::Http => crate::note_untyped(&mut request.headers, &request.body),
            // Whatever way it was sent.
            Form::Resp => request = Request::of_command(&request.words()),
            Form::Message => {}
        }
        request
    }

    fn reply(&self, incomplete: &mut Option<&'static str>) -> Reply {
        let RecordedOutcome::Answer(reply, body) = &self.outcome else {
            incomplete.get_or_insert(match &self.outcome {
                RecordedOutcome::Refused(_) => "an adapter further on refused it",
                _ => "it was not answered",
            });
            return Reply::default();
        };
        let mut reply = reply.clone();
        reply.body = body.content(incomplete);
        if self.request.form == Form::Http {
            crate::note_untyped(&mut reply.headers, &reply.body);
        }
        reply
    }

    fn ending(&self, incomplete: &mut Option<&'static str>) -> Ending {
        match &self.outcome {
            RecordedOutcome::Answer(..) => Ending::answer(self.reply(incomplete)),
            RecordedOutcome::Refused(refusal) => refused(self.request.form, refusal),
            RecordedOutcome::Open | RecordedOutcome::Failed => {
                incomplete.get_or_insert("it was not answered");
                Ending::default()
            }
        }
    }
}

/// A refusal as the caller gets it; of messages there may be none, and the connection ends.
fn refused(form: Form, refusal: &Refusal) -> Ending {
    if form != Form::Http {
        let own = match &refusal.words {
            RefusalWords::Message(message) => Some(message.to_vec()),
            RefusalWords::Http { .. } => None,
        };
        let host = || (form == Form::Resp).then(|| words::error(&refusal.reason));
        return Ending {
            refused: Some(refusal.kind),
            body: own.or_else(host).map(Content),
            ..Ending::default()
        };
    }
    let (body, media) = refusal.http_body();
    let mut shown = match &refusal.words {
        RefusalWords::Http { headers: own, .. } => headers(own),
        RefusalWords::Message(_) => Headers::new(),
    };
    if !media.is_empty() {
        shown.insert("content-type".to_owned(), vec![media.to_owned()]);
    }
    Ending {
        refused: Some(refusal.kind),
        status: Some(refusal.status()),
        headers: Some(shown),
        body: Some(match &body {
            Body::Json(json) => Content::of_json(json),
            Body::Bytes(bytes) => Content(bytes.to_vec()),
            _ => Content::default(),
        }),
    }
}

impl Caught {
    fn content(&self, incomplete: &mut Option<&'static str>) -> Content {
        match self {
            Self::Nothing => Content::default(),
            Self::Bytes(bytes) => Content(bytes.to_vec()),
            Self::Json(json) => Content::of_json(json),
            Self::Passing(copy) => match copy.whole() {
                Ok(bytes) => Content(bytes),
                Err(why) => {
                    incomplete.get_or_insert(match why {
                        Unknown::TooLong => "a body is too long",
                        Unknown::Unread => "a body did not pass to its end",
                    });
                    Content::default()
                }
            },
        }
    }
}

/// A step that changes nothing.
struct RecordingStep {
    recording: Arc<Recording>,
    depth: usize,
}

impl Calls for RecordingStep {
    fn handle<'a>(
        &'a self,
        call: Call,
        mut next: Next<'a>,
    ) -> Pending<'a, Result<Answer, Failure>> {
        Box::pin(async move {
            let mut call = call;
            let index = self.recording.begin(self.depth, &mut call);
            let mut outcome = next.delegate(call).await;
            self.recording.end(index, &mut outcome);
            outcome
        })
    }
}
