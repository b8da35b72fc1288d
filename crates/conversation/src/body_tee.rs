//! Bodies that are written down while they pass: nothing is held back, and nothing grows beyond a limit.

use parking_lot::{Mutex, MutexGuard};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};

use call::WatchedBody;

/// The longest body that is kept; a conversation with a longer one is not told.
pub(crate) const BODY_BYTES_MAX: usize = 1 << 20;

/// What has passed of a body so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct BodyCopy(Arc<Mutex<CopiedBytes>>);

#[derive(Debug, Default)]
struct CopiedBytes {
    bytes: Vec<u8>,
    state: TeeState,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum TeeState {
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

impl BodyCopy {
    fn copied(&self) -> MutexGuard<'_, CopiedBytes> {
        self.0.lock()
    }

    fn hear(&self, bytes: &[u8]) {
        let mut copied = self.copied();
        if copied.state != TeeState::Running {
            return;
        }
        if copied.bytes.len() + bytes.len() > BODY_BYTES_MAX {
            copied.state = TeeState::TooLong;
            copied.bytes = Vec::new();
        } else {
            copied.bytes.extend_from_slice(bytes);
        }
    }

    fn end(&self) {
        let mut copied = self.copied();
        if copied.state == TeeState::Running {
            copied.state = TeeState::Ended;
        }
    }

    /// The whole body.
    pub(crate) fn whole(&self) -> Result<Vec<u8>, Unknown> {
        let copied = self.copied();
        match copied.state {
            TeeState::Ended => Ok(copied.bytes.clone()),
            TeeState::TooLong => Err(Unknown::TooLong),
            TeeState::Running => Err(Unknown::Unread),
        }
    }
}

/// What must not go before a body has passed.
pub(crate) trait KeptAlive: std::fmt::Debug + Send + Sync {}

/// A stream that leaves a copy of what passes.
#[derive(Debug)]
pub(crate) struct TeeBody {
    stream: Incoming,
    copy: BodyCopy,
    /// Goes when the body has passed.
    _kept: Arc<dyn KeptAlive>,
}

impl TeeBody {
    pub(crate) fn new(stream: Incoming, kept: Arc<dyn KeptAlive>) -> Self {
        Self {
            stream,
            copy: BodyCopy::default(),
            _kept: kept,
        }
    }

    pub(crate) fn copy(&self) -> BodyCopy {
        self.copy.clone()
    }
}

impl WatchedBody for TeeBody {}

impl HttpBody for TeeBody {
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
                    self.copy.hear(data);
                }
                // Whoever knows the length does not ask for the end.
                if self.stream.is_end_stream() {
                    self.copy.end();
                }
            }
            Some(Err(_)) => {}
            None => self.copy.end(),
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
