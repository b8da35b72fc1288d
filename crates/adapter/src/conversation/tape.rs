//! Bodies that are written down while they pass: nothing is held back, and nothing grows beyond a limit.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};

use super::recording::Recording;

/// The longest body that is kept; a conversation with a longer one is not told.
pub(crate) const BODY_BYTES_MAX: usize = 1 << 20;

/// What has passed of a body so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tape(Arc<Mutex<Reel>>);

#[derive(Debug, Default)]
struct Reel {
    bytes: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// More may come.
    #[default]
    Running,
    /// All has passed.
    Ended,
    /// It is longer than the limit.
    TooLong,
}

/// Why a body is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// It is longer than the limit.
    TooLong,
    /// It ended before its end, or nobody read it.
    Unread,
}

impl Tape {
    fn reel(&self) -> MutexGuard<'_, Reel> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self, bytes: &[u8]) {
        let mut reel = self.reel();
        if reel.state != State::Running {
            return;
        }
        if reel.bytes.len() + bytes.len() > BODY_BYTES_MAX {
            reel.state = State::TooLong;
            reel.bytes = Vec::new();
        } else {
            reel.bytes.extend_from_slice(bytes);
        }
    }

    fn end(&self) {
        let mut reel = self.reel();
        if reel.state == State::Running {
            reel.state = State::Ended;
        }
    }

    /// The whole body.
    pub(crate) fn whole(&self) -> Result<Vec<u8>, Unknown> {
        let reel = self.reel();
        match reel.state {
            State::Ended => Ok(reel.bytes.clone()),
            State::TooLong => Err(Unknown::TooLong),
            State::Running => Err(Unknown::Unread),
        }
    }
}

/// A stream with a tape beside it.
#[derive(Debug)]
pub struct Taped {
    stream: Incoming,
    tape: Tape,
    /// The recording ends when its last body has.
    _recording: Arc<Recording>,
}

impl Taped {
    pub(crate) fn new(stream: Incoming, recording: Arc<Recording>) -> Taped {
        Taped {
            stream,
            tape: Tape::default(),
            _recording: recording,
        }
    }

    pub(crate) fn tape(&self) -> Tape {
        self.tape.clone()
    }
}

impl HttpBody for Taped {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.stream).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.tape.hear(data);
                }
                // Whoever knows the length does not ask for the end.
                if self.stream.is_end_stream() {
                    self.tape.end();
                }
            }
            Some(Err(_)) => {}
            None => self.tape.end(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.stream.size_hint()
    }
}
