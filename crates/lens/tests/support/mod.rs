//! A chain of lenses over software that is a function.
#![allow(dead_code, unreachable_pub)]

pub mod generate;

use std::sync::Arc;

use call::{
    Answer, Body, BodyLimits, Call, CallContext, Chain, Delegate, Direction, Failure, HttpAnswer,
    HttpCall, Pending, Refusal,
};
use lens::Lens;
use wire::json::Json;

pub const LIMITS: BodyLimits = BodyLimits {
    bytes_max: 1 << 20,
    depth_max: 64,
};

pub fn json(text: &str) -> Json {
    sorted(Json::parse(text.as_bytes(), 64).unwrap_or_else(|error| panic!("{text}: {error}")))
}

/// The order of members means nothing.
pub fn sorted(json: Json) -> Json {
    match json {
        Json::Array(items) => Json::Array(items.into_iter().map(sorted).collect()),
        Json::Object(members) => {
            let members = members
                .into_iter()
                .map(|(name, value)| (name, sorted(value)));
            let mut members: Vec<_> = members.collect();
            members.sort_by(|a, b| a.0.cmp(&b.0));
            Json::Object(members)
        }
        other => other,
    }
}

pub fn lens(text: &str) -> Arc<Lens> {
    Arc::new(Lens::parse("test.toml", text).unwrap_or_else(|error| panic!("{error}")))
}

/// A message as tests write it: for requests `GET /path`, for answers the status.
#[derive(Clone, Debug, PartialEq)]
pub struct Wire {
    pub start: String,
    pub headers: Vec<(String, String)>,
    pub body: Option<Json>,
}

pub fn wire(start: &str, body: &str) -> Wire {
    let body = (!body.is_empty()).then(|| json(body));
    Wire {
        start: start.to_owned(),
        headers: Vec::new(),
        body,
    }
}

impl Wire {
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

fn body_of(body: Option<Json>) -> Body {
    match body {
        Some(json) => Body::Bytes(json.to_string().into_bytes().into()),
        None => Body::Empty,
    }
}

fn to_json(body: Body) -> Option<Json> {
    match body {
        Body::Empty => None,
        Body::Json(json) => Some(sorted(json)),
        Body::Bytes(bytes) => Some(sorted(Json::parse(&bytes, 64).expect("JSON"))),
        Body::Stream(_) | Body::Watched(_) => panic!("no streams here"),
    }
}

fn pairs(headers: &http::HeaderMap) -> Vec<(String, String)> {
    let text = |v: &http::HeaderValue| v.to_str().expect("text").to_owned();
    headers
        .iter()
        .filter(|(name, _)| *name != "content-type")
        .map(|(name, value)| (name.to_string(), text(value)))
        .collect()
}

/// Software that records what it sees and gives a prepared answer.
struct Software {
    seen: Option<Wire>,
    answer: Wire,
}

impl Delegate for Software {
    fn send<'a>(&'a mut self, call: Call) -> Pending<'a, Result<Answer, Failure>> {
        let call = call.into_http().expect("a lens speaks HTTP");
        let start = format!("{} {}", call.head.method, call.head.uri);
        let headers = pairs(&call.head.headers);
        self.seen = Some(Wire {
            start,
            headers,
            body: to_json(call.body),
        });
        let status: u16 = self.answer.start.parse().expect("a status");
        let mut builder = http::Response::builder().status(status);
        for (name, value) in &self.answer.headers {
            builder = builder.header(name, value);
        }
        let (head, ()) = builder.body(()).expect("valid").into_parts();
        let body = body_of(self.answer.body.clone());
        Box::pin(async move { Ok(HttpAnswer { head, body }.into()) })
    }
}

/// What became of a call.
#[derive(Debug)]
pub struct Outcome {
    pub seen: Option<Wire>,
    pub answer: Result<Wire, Refusal>,
}

/// Sends one call through a chain to software that answers so.
pub fn send(chain: &Chain, call: Wire, answer: Wire) -> Outcome {
    let (method, target) = call.start.split_once(' ').expect("a method and a target");
    let mut builder = http::Request::builder().method(method).uri(target);
    for (name, value) in &call.headers {
        builder = builder.header(name, value);
    }
    let (head, ()) = builder.body(()).expect("valid").into_parts();
    let call = Call::Http(HttpCall {
        head,
        body: body_of(call.body),
        context: CallContext::new(LIMITS),
    });
    let mut software = Software { seen: None, answer };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let answered = runtime.block_on(chain.call(call, &mut software));
    let answer = match answered.and_then(Answer::into_http) {
        Ok(answer) => Ok(Wire {
            start: answer.head.status.as_u16().to_string(),
            headers: pairs(&answer.head.headers),
            body: to_json(answer.body),
        }),
        Err(Failure::Refused(refusal)) => Err(*refusal),
        Err(failure) => panic!("{failure}"),
    };
    Outcome {
        seen: software.seen,
        answer,
    }
}

pub fn past(lens: &Arc<Lens>) -> Chain {
    lens::chain(vec![(lens.clone(), Direction::Past)])
}

pub fn future(lens: &Arc<Lens>) -> Chain {
    lens::chain(vec![(lens.clone(), Direction::Future)])
}

/// Both adapters: an old call becomes the new one and its new answer the old one, and the other
/// way round.
#[track_caller]
pub fn both_ways(lens: &Arc<Lens>, old: (Wire, Wire), new: (Wire, Wire)) {
    let outcome = send(&past(lens), old.0.clone(), new.1.clone());
    assert_eq!(outcome.seen, Some(new.0.clone()), "past request");
    assert_eq!(outcome.answer, Ok(old.1.clone()), "past answer");
    let outcome = send(&future(lens), new.0, old.1);
    assert_eq!(outcome.seen, Some(old.0), "future request");
    assert_eq!(outcome.answer, Ok(new.1), "future answer");
}

/// One body rule, both ways, in requests and in answers.
#[track_caller]
pub fn rule(rule: &str, old: &str, new: &str) {
    let text = format!(
        "[[operation]]\nold = \"POST /old\"\nnew = \"POST /new\"\nrequest = [{rule}]\n\
         [[operation.response]]\nstatus = 200\nrules = [{rule}]\n"
    );
    let lens = lens(&text);
    both_ways(
        &lens,
        (wire("POST /old", old), wire("200", old)),
        (wire("POST /new", new), wire("200", new)),
    );
}

/// One body rule that must refuse this body of a caller.
#[track_caller]
pub fn refused(rule: &str, direction: Direction, body: &str) -> Refusal {
    let text = format!("[[operation]]\nold = \"POST /x\"\nnew = \"POST /x\"\nrequest = [{rule}]\n");
    let chain = lens::chain(vec![(lens(&text), direction)]);
    let outcome = send(&chain, wire("POST /x", body), wire("200", ""));
    assert_eq!(
        outcome.seen, None,
        "a refused call never reaches the software"
    );
    outcome.answer.expect_err("refused")
}
