//! What an adapter must have: the functions that the node calls, and what they ask of it. `rename` has what changes between the versions.

use crate::rename::{self, Refused, Version};
use exports::upstart::adapter::calls::{Guest, Observation, Unfinished};
use upstart::adapter::messages::{Call, Failure, HttpReply, Refusal, Reply};
use upstart::adapter::next;
use upstart::adapter::types::{Caller, Direction, Start};

wit_bindgen::generate!({ path: "wit", world: "calls-adapter" });
export!(Adapter);

struct Adapter;

impl Guest for Adapter {
    // Nothing is kept between calls: there is no state to begin with, to recover or to follow.
    fn init(_: Start) -> Result<(), String> {
        Ok(())
    }

    fn handle(call: Call, caller: Caller) -> Result<Reply, Failure> {
        let (ours, theirs) = match caller.direction {
            Direction::Past => (Version::One, Version::Two),
            Direction::Future => (Version::Two, Version::One),
        };
        let Call::Http(mut request) = call else {
            return Err(refused(Refused("only HTTP is spoken here".to_owned())));
        };
        request.target = rename::target(&request.target, ours, theirs).map_err(refused)?;
        if !request.body.is_empty() {
            request.body = rename::body(&request.body, ours, theirs).map_err(refused)?;
        }
        let mut reply = next::delegate(&Call::Http(request))?;
        if let Reply::Http(reply) = &mut reply
            && is_json(reply)
        {
            reply.body = rename::body(&reply.body, theirs, ours).map_err(refused)?;
        }
        Ok(reply)
    }

    fn on_recover(_: Unfinished) -> Result<(), String> {
        Ok(())
    }

    fn observe(_: Observation) -> Result<Vec<Observation>, String> {
        Ok(Vec::new())
    }
}

/// An answer that is no JSON object, such as an error's text, stays as it is.
fn is_json(reply: &HttpReply) -> bool {
    let mut headers = reply.headers.iter();
    !reply.body.is_empty()
        && headers.any(|header| {
            header.name == "content-type" && header.value.starts_with("application/json")
        })
}

fn refused(why: Refused) -> Failure {
    Failure::Refused(Refusal {
        reason: why.0,
        reply: None,
    })
}
