//! What adapters tell each other that follow calls, between the contract and the chain.

use crate::bindings::exports::upstart::adapter::calls::Observation as Seen;
use crate::bindings::upstart::adapter::messages as wit;
use call::{Observation, ObservedCall, ObservedReply};

fn pairs(headers: Vec<wit::Header>) -> Vec<(String, String)> {
    let pair = |header: wit::Header| (header.name, header.value);
    headers.into_iter().map(pair).collect()
}

fn headers(pairs: Vec<(String, String)>) -> Vec<wit::Header> {
    let header = |(name, value)| wit::Header { name, value };
    pairs.into_iter().map(header).collect()
}

/// What an adapter tells.
pub(crate) fn from(seen: Seen) -> Observation {
    Observation {
        call: match seen.call {
            wit::Call::Http(request) => ObservedCall::Http {
                method: request.method,
                target: request.target,
                headers: pairs(request.headers),
                body: request.body,
            },
            wit::Call::Resp(words) => ObservedCall::Resp(words),
            wit::Call::Message(message) => ObservedCall::Message(message),
        },
        reply: match seen.reply {
            wit::Reply::Http(reply) => ObservedReply::Http {
                status: reply.status,
                headers: pairs(reply.headers),
                body: reply.body,
            },
            wit::Reply::Resp(values) => ObservedReply::Resp(values),
            wit::Reply::Message(message) => ObservedReply::Message(message),
        },
    }
}

/// The call that an adapter is told.
pub(crate) fn call_to(call: ObservedCall) -> wit::Call {
    match call {
        ObservedCall::Http {
            method,
            target,
            headers: all,
            body,
        } => wit::Call::Http(wit::HttpRequest {
            method,
            target,
            headers: headers(all),
            body,
        }),
        ObservedCall::Resp(words) => wit::Call::Resp(words),
        ObservedCall::Message(message) => wit::Call::Message(message),
    }
}

/// The reply that an adapter is told.
pub(crate) fn reply_to(reply: ObservedReply) -> wit::Reply {
    match reply {
        ObservedReply::Http {
            status,
            headers: all,
            body,
        } => wit::Reply::Http(wit::HttpReply {
            status,
            headers: headers(all),
            body,
        }),
        ObservedReply::Resp(values) => wit::Reply::Resp(values),
        ObservedReply::Message(message) => wit::Reply::Message(message),
    }
}
