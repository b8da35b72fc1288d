//! Calls and answers on their way through a chain.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::body::{Body, BodyLimits};

/// A request.
#[derive(Debug)]
pub struct Call {
    /// Method, target, headers.
    pub head: http::request::Parts,
    /// Body.
    pub body: Body,
    /// How much of a body, its answer's included, may be decoded.
    pub limits: BodyLimits,
}

/// Who made a call, as adapters are told; an extension of its head.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The version on the connection's label.
    pub version: u32,
    /// Its address, as the software would see it.
    pub address: SocketAddr,
    /// The service that was called.
    pub service: Arc<str>,
}

/// What a call and its answer are; an extension of their heads where they are not of HTTP. The body is then all there is of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// A request of HTTP.
    #[default]
    Http,
    /// A command of RESP, and one value; of a subscription all values that confirm it.
    Resp,
    /// A message without its framing.
    Message,
}

impl Form {
    /// What the head with these extensions is of.
    pub fn of(extensions: &http::Extensions) -> Self {
        extensions.get().copied().unwrap_or_default()
    }
}

impl Call {
    /// A call that is a message, or a command as it stands on the wire.
    pub fn message(form: Form, message: Bytes, caller: Option<Caller>, limits: BodyLimits) -> Self {
        let (mut head, ()) = http::Request::new(()).into_parts();
        head.extensions.insert(form);
        if let Some(caller) = caller {
            head.extensions.insert(caller);
        }
        let body = Body::Bytes(message);
        Self { head, body, limits }
    }
}

/// Marks a call whose caller sends the body only when told to go on (`Expect: 100-continue`).
#[derive(Clone, Copy, Debug)]
pub struct AwaitsContinue;

/// Marks a call whose answer passes unchanged, so that what comes before it (1xx) may pass too; whoever translates takes it out.
#[derive(Clone, Copy, Debug)]
pub struct PassesInterims;

/// The answer to a call.
#[derive(Debug)]
pub struct Answer {
    /// Status, headers.
    pub head: http::response::Parts,
    /// Body.
    pub body: Body,
}
