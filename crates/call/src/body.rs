//! Bodies on their way through a chain: read and decoded no further than somebody needs them.

use std::any::Any;
use std::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body as HttpBody, Frame, Incoming};
use tokio::time::{Instant, timeout_at};

use crate::budget::{self, Pace};
use wire::json::{Json, JsonError};

/// Limits of decoded bodies.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    /// Length in bytes.
    pub bytes_max: usize,
    /// Nesting.
    pub depth_max: usize,
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
    /// Still arriving, and somebody looks on.
    Watched(Box<dyn WatchedBody>),
}

/// A body that is still arriving while somebody looks on: it is passed on as it comes, and who looks on knows it again.
pub trait WatchedBody:
    HttpBody<Data = Bytes, Error = hyper::Error> + Any + fmt::Debug + Unpin + Send + Sync
{
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
    /// All calls together hold as much as the node may.
    #[error("the node holds as much for calls as it may; try again later")]
    Busy,
    /// It comes too slowly.
    #[error("the body comes more slowly than {0} bytes a second")]
    Slow(usize),
    /// Its connection failed.
    #[error("the connection failed while the body was read")]
    Connection(#[source] hyper::Error),
}

impl Body {
    /// Reads and decodes the body in place; `None` where there is none.
    ///
    /// # Errors
    /// It cannot be read whole, or is not JSON.
    pub async fn decode(&mut self, limits: BodyLimits) -> Result<Option<&mut Json>, BodyError> {
        let bytes = match std::mem::take(self) {
            Self::Empty => return Ok(None),
            Self::Json(json) => return Ok(Some(self.hold(json))),
            undecoded => undecoded.into_bytes(limits).await?,
        };
        if bytes.is_empty() {
            return Ok(None);
        }
        if !budget::hold(budget::decoded_bytes(&bytes)) {
            return Err(BodyError::Busy);
        }
        let json = Json::parse_outside(bytes, limits.depth_max).map_err(BodyError::Json)?;
        Ok(Some(self.hold(json)))
    }

    /// Reads the body in place as text, which then is a JSON string.
    ///
    /// # Errors
    /// It cannot be read whole, or is not text.
    pub async fn decode_text(&mut self, limits: BodyLimits) -> Result<(), BodyError> {
        let bytes = match std::mem::take(self) {
            Self::Empty => return Ok(()),
            Self::Json(json) => {
                *self = Self::Json(json);
                return Ok(());
            }
            undecoded => undecoded.into_bytes(limits).await?,
        };
        if !bytes.is_empty() {
            let text = String::from_utf8(bytes.into()).map_err(|_| BodyError::Text)?;
            *self = Self::Json(Json::String(text));
        }
        Ok(())
    }

    /// The whole body, as it is written.
    ///
    /// # Errors
    /// It is longer than the limit, comes too slowly or breaks off, or the node holds as much as it may.
    pub async fn into_bytes(self, limits: BodyLimits) -> Result<Bytes, BodyError> {
        match self {
            Self::Bytes(bytes) if bytes.len() > limits.bytes_max => {
                Err(BodyError::TooLarge(limits.bytes_max))
            }
            Self::Stream(stream) => collect(stream, limits.bytes_max).await,
            Self::Watched(stream) => collect(stream, limits.bytes_max).await,
            here => Ok(here.into_written().into()),
        }
    }

    /// What is here of the body, as it is written: of one that still arrives nothing.
    pub fn into_written(self) -> Vec<u8> {
        match self {
            Self::Empty | Self::Stream(_) | Self::Watched(_) => Vec::new(),
            Self::Bytes(bytes) => bytes.into(),
            Self::Json(json) => {
                let mut bytes = Vec::with_capacity(json.length_hint());
                json.write(&mut bytes);
                bytes
            }
        }
    }

    /// The first bytes of a body, as far as they come soon.
    pub async fn beginning(self, bytes_max: usize) -> Vec<u8> {
        let mut begun = match self {
            Self::Stream(stream) => begin(stream, bytes_max).await,
            Self::Watched(stream) => begin(stream, bytes_max).await,
            here => here.into_written(),
        };
        begun.truncate(bytes_max);
        begun
    }

    /// Reads what is left of a body and forgets it, so that its connection can go on after an
    /// answer that did not need it; gives up beyond the limit.
    pub async fn drain(self, bytes_max: usize) {
        match self {
            Self::Stream(stream) => read_out(stream, bytes_max).await,
            Self::Watched(stream) => read_out(stream, bytes_max).await,
            Self::Empty | Self::Bytes(_) | Self::Json(_) => {}
        }
    }

    fn hold(&mut self, json: Json) -> &mut Json {
        *self = Self::Json(json);
        match self {
            Self::Json(json) => json,
            _ => unreachable!("just stored"),
        }
    }
}

/// How long is waited for the words of an answer that nobody gets.
const WORDS_WAIT: Duration = Duration::from_secs(1);

async fn begin(mut stream: impl Streamed, bytes_max: usize) -> Vec<u8> {
    let mut begun = Vec::new();
    let until = Instant::now() + WORDS_WAIT;
    while begun.len() < bytes_max
        && let Ok(Some(Ok(frame))) = timeout_at(until, stream.frame()).await
    {
        if let Some(data) = frame.data_ref() {
            begun.extend_from_slice(data);
        }
    }
    begun
}

async fn read_out(stream: impl Streamed, bytes_max: usize) {
    let mut stream = Limited::new(stream, bytes_max);
    while let Some(Ok(_)) = stream.frame().await {}
}

async fn collect(mut stream: impl Streamed, bytes_max: usize) -> Result<Bytes, BodyError> {
    if stream.size_hint().lower() > bytes_max as u64 {
        return Err(BodyError::TooLarge(bytes_max));
    }
    let mut pace = Pace::begin();
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = next_frame(&mut stream, &mut pace).await? {
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if let Some(pace) = &mut pace {
            pace.add(data.len());
        }
        if first.len() + all.len() + data.len() > bytes_max {
            return Err(BodyError::TooLarge(bytes_max));
        }
        if !budget::hold(data.len()) {
            return Err(BodyError::Busy);
        }
        // Most bodies come in one piece, which then need not be copied.
        if first.is_empty() && all.is_empty() {
            first = data
        } else {
            all.extend_from_slice(&std::mem::take(&mut first));
            all.extend_from_slice(&data);
        }
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

/// The next frame of a body, as long as it comes fast enough.
async fn next_frame(
    stream: &mut impl Streamed,
    pace: &mut Option<Pace>,
) -> Result<Option<Frame<Bytes>>, BodyError> {
    loop {
        let frame = match &pace {
            None => stream.frame().await,
            Some(judged) => match timeout_at(judged.judged_at(), stream.frame()).await {
                Ok(frame) => frame,
                Err(_) => match pace.as_mut().map(Pace::judge) {
                    Some(Err(rate_min)) => return Err(BodyError::Slow(rate_min)),
                    _ => continue,
                },
            },
        };
        return frame.transpose().map_err(BodyError::Connection);
    }
}
