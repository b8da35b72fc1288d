//! Calls and answers on their way through a chain.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as HttpBody, Incoming};
use serde::{Deserialize, Serialize};

use crate::conversation::Taped;
use crate::json::{Json, JsonError};

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
    pub(crate) fn of(extensions: &http::Extensions) -> Form {
        extensions.get().copied().unwrap_or_default()
    }
}

impl Call {
    /// A call that is a message, or a command as it stands on the wire.
    pub fn message(form: Form, message: Bytes, caller: Option<Caller>, limits: BodyLimits) -> Call {
        let (mut head, ()) = http::Request::new(()).into_parts();
        head.extensions.insert(form);
        if let Some(caller) = caller {
            head.extensions.insert(caller);
        }
        let body = Body::Bytes(message);
        Call { head, body, limits }
    }
}

/// Marks a call whose caller sends the body only when told to go on (`Expect: 100-continue`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct AwaitsContinue;

/// Limits of decoded bodies.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    /// Length in bytes.
    pub bytes_max: usize,
    /// Nesting.
    pub depth_max: usize,
}

/// The answer to a call.
#[derive(Debug)]
pub struct Answer {
    /// Status, headers.
    pub head: http::response::Parts,
    /// Body.
    pub body: Body,
}

/// A body, decoded no further than its chain needs.
#[derive(Debug, Default)]
pub enum Body {
    /// None.
    #[default]
    Empty,
    /// Whole, not decoded.
    Bytes(Bytes),
    /// Decoded.
    Json(Json),
    /// Still arriving.
    Stream(Incoming),
    /// Still arriving, and written down on the way.
    Taped(Box<Taped>),
}

/// A body that is still arriving.
trait Streamed: HttpBody<Data = Bytes, Error = hyper::Error> + Unpin + Send {}

impl<B: HttpBody<Data = Bytes, Error = hyper::Error> + Unpin + Send> Streamed for B {}

/// Why a body cannot be decoded.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It is longer than the limit.
    #[error("the body is longer than {0} bytes")]
    TooLarge(usize),
    /// It is not JSON.
    #[error("the body is not JSON: {0}")]
    Json(JsonError),
    /// It is not text.
    #[error("the body is not UTF-8")]
    Text,
    /// Its connection failed.
    #[error("the connection failed while the body was read")]
    Connection(#[source] hyper::Error),
}

impl Body {
    /// Reads and decodes the body in place; `None` where there is none.
    pub async fn decode(&mut self, limits: BodyLimits) -> Result<Option<&mut Json>, BodyError> {
        let bytes = match std::mem::take(self) {
            Body::Empty => return Ok(None),
            Body::Json(json) => return Ok(Some(self.hold(json))),
            Body::Bytes(bytes) => bytes,
            Body::Stream(stream) => collect(stream, limits.bytes_max).await?,
            Body::Taped(stream) => collect(*stream, limits.bytes_max).await?,
        };
        if bytes.is_empty() {
            return Ok(None);
        }
        let json = Json::parse_outside(bytes, limits.depth_max).map_err(BodyError::Json)?;
        Ok(Some(self.hold(json)))
    }

    /// Reads the body in place as text, which then is a JSON string.
    pub(crate) async fn decode_text(&mut self, limits: BodyLimits) -> Result<(), BodyError> {
        let bytes = match std::mem::take(self) {
            Body::Empty => return Ok(()),
            Body::Json(json) => {
                *self = Body::Json(json);
                return Ok(());
            }
            Body::Bytes(bytes) => bytes,
            Body::Stream(stream) => collect(stream, limits.bytes_max).await?,
            Body::Taped(stream) => collect(*stream, limits.bytes_max).await?,
        };
        if !bytes.is_empty() {
            let text = String::from_utf8(bytes.into()).map_err(|_| BodyError::Text)?;
            *self = Body::Json(Json::String(text));
        }
        Ok(())
    }

    /// The whole body, as it is written.
    pub(crate) async fn into_bytes(self, limits: BodyLimits) -> Result<Bytes, BodyError> {
        match self {
            Body::Bytes(bytes) if bytes.len() > limits.bytes_max => {
                Err(BodyError::TooLarge(limits.bytes_max))
            }
            Body::Stream(stream) => collect(stream, limits.bytes_max).await,
            Body::Taped(stream) => collect(*stream, limits.bytes_max).await,
            here => Ok(here.into_written().into()),
        }
    }

    /// What is here of the body, as it is written: of one that still arrives nothing.
    pub(crate) fn into_written(self) -> Vec<u8> {
        match self {
            Body::Empty | Body::Stream(_) | Body::Taped(_) => Vec::new(),
            Body::Bytes(bytes) => bytes.into(),
            Body::Json(json) => {
                let mut bytes = Vec::with_capacity(json.length_hint());
                json.write(&mut bytes);
                bytes
            }
        }
    }

    /// Reads what is left of a body and forgets it, so that its connection can go on after an
    /// answer that did not need it; gives up beyond the limit.
    pub(crate) async fn drain(self, bytes_max: usize) {
        match self {
            Body::Stream(stream) => read_out(stream, bytes_max).await,
            Body::Taped(stream) => read_out(*stream, bytes_max).await,
            Body::Empty | Body::Bytes(_) | Body::Json(_) => {}
        }
    }

    fn hold(&mut self, json: Json) -> &mut Json {
        *self = Body::Json(json);
        match self {
            Body::Json(json) => json,
            _ => unreachable!("just stored"),
        }
    }
}

async fn read_out(stream: impl Streamed, bytes_max: usize) {
    let mut stream = Limited::new(stream, bytes_max);
    while let Some(Ok(_)) = stream.frame().await {}
}

async fn collect(stream: impl Streamed, bytes_max: usize) -> Result<Bytes, BodyError> {
    if stream.size_hint().lower() > bytes_max as u64 {
        return Err(BodyError::TooLarge(bytes_max));
    }
    match Limited::new(stream, bytes_max).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge(bytes_max)),
        Err(error) => match error.downcast::<hyper::Error>() {
            Ok(error) => Err(BodyError::Connection(*error)),
            Err(_) => Err(BodyError::TooLarge(bytes_max)),
        },
    }
}
