//! The component: between the node's words and the adapter's.

#![expect(unsafe_code, reason = "wit-bindgen writes the exported functions")]
#![allow(
    missing_docs,
    unreachable_pub,
    reason = "what wit-bindgen writes is documented in wit/"
)]

use crate::form::{self, Form};
use crate::sequence::{self, Node};
use exports::upstart::adapter::calls::{Guest, Observation, Unfinished};
use upstart::adapter::messages::{Call, Failure, Header, HttpReply, HttpRequest, Refusal, Reply};
use upstart::adapter::types::{Caller, Direction, Start};
use upstart::adapter::{next, state};

wit_bindgen::generate!({ path: "../../../wit", world: "calls-adapter" });
export!(Adapter);

struct Adapter;

impl Guest for Adapter {
    /// Begins with nothing, or with what the transform has written: both is as it should be.
    fn init(_: Start) -> Result<(), String> {
        Ok(())
    }

    fn handle(call: Call, caller: Caller) -> Result<Reply, Failure> {
        let mut here = Here::default();
        let reply = sequence::handle(&mut here, form(caller.direction), &request(&call));
        reply.map(answer).map_err(|failure| here.told(failure))
    }

    fn on_recover(unfinished: Unfinished) -> Result<(), String> {
        let form = form(unfinished.caller.direction);
        let (observed, request) = (unfinished.observed, request(&unfinished.call));
        sequence::recover(&mut Here::default(), form, observed, &request).map_err(in_words)
    }

    fn observe(seen: Observation) -> Result<Vec<Observation>, String> {
        let Reply::Http(reply) = &seen.reply else {
            return Ok(Vec::new());
        };
        let (form, request) = (form(seen.direction), request(&seen.call));
        let outer = sequence::observe(&mut Here::default(), form, &request, &read(reply));
        let outer = outer.map_err(in_words)?.into_iter();
        let told = outer.map(|(request, reply)| Observation {
            direction: seen.direction,
            call: call(request),
            reply: answer(reply),
        });
        Ok(told.collect())
    }
}

/// The form that callers speak.
fn form(direction: Direction) -> Form {
    match direction {
        Direction::Past => Form::Colours,
        Direction::Future => Form::Flavours,
    }
}

/// The node, and how its last failure was told.
#[derive(Default)]
struct Here {
    failure: Option<Failure>,
}

impl Here {
    /// A failure in the node's words: one that it has told itself as it was told.
    fn told(self, failure: sequence::Failure) -> Failure {
        match (self.failure, failure) {
            (_, sequence::Failure::Refused(reason, reply)) => Failure::Refused(Refusal {
                reason,
                reply: Some(answer(reply)),
            }),
            (Some(failure), _) => failure,
            (None, sequence::Failure::Node(what)) => Failure::Refused(Refusal {
                reason: what,
                reply: None,
            }),
        }
    }
}

impl Node for Here {
    fn delegate(&mut self, request: form::Request) -> Result<form::Reply, sequence::Failure> {
        match next::delegate(&call(request)) {
            Ok(Reply::Http(reply)) => Ok(read(&reply)),
            Ok(_) => Err(sequence::Failure::Node("no HTTP came back".to_owned())),
            Err(failure) => {
                self.failure = Some(failure);
                Err(sequence::Failure::Node(
                    "the software did not answer".to_owned(),
                ))
            }
        }
    }

    fn get(&mut self, key: &str) -> Option<String> {
        String::from_utf8(state::get(key.as_bytes())?).ok()
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), sequence::Failure> {
        state::set(key.as_bytes(), value.as_bytes()).map_err(unkept)
    }

    fn remove(&mut self, key: &str) -> Result<(), sequence::Failure> {
        state::remove(key.as_bytes()).map_err(unkept)
    }
}

fn unkept(error: state::Error) -> sequence::Failure {
    sequence::Failure::Node(format!("the adapter's state cannot be changed: {error:?}"))
}

fn in_words(failure: sequence::Failure) -> String {
    match failure {
        sequence::Failure::Refused(why, _) | sequence::Failure::Node(why) => why,
    }
}

fn request(call: &Call) -> form::Request {
    match call {
        Call::Http(request) => form::Request {
            method: request.method.clone(),
            target: request.target.clone(),
            body: request.body.clone(),
        },
        // Neither version has a path that is empty.
        _ => form::Request {
            method: String::new(),
            target: String::new(),
            body: Vec::new(),
        },
    }
}

fn call(request: form::Request) -> Call {
    let headers = json_header(&request.body);
    Call::Http(HttpRequest {
        method: request.method,
        target: request.target,
        headers,
        body: request.body,
    })
}

fn read(reply: &HttpReply) -> form::Reply {
    let etag = reply.headers.iter().find(|header| header.name == "etag");
    form::Reply {
        status: reply.status,
        etag: etag.map(|header| header.value.clone()),
        body: reply.body.clone(),
    }
}

fn answer(reply: form::Reply) -> Reply {
    let mut headers = json_header(&reply.body);
    headers.extend(reply.etag.map(|value| header("etag", value)));
    Reply::Http(HttpReply {
        status: reply.status,
        headers,
        body: reply.body,
    })
}

fn json_header(body: &[u8]) -> Vec<Header> {
    let json = (!body.is_empty()).then(|| header("content-type", "application/json".to_owned()));
    json.into_iter().collect()
}

fn header(name: &str, value: String) -> Header {
    Header {
        name: name.to_owned(),
        value,
    }
}
