//! Answers that come before the answer: `100 (Continue)`, for which a caller may wait before it sends a body, and the other 1xx, which
//! an intermediary passes on (RFC 9110, sections 10.1.1 and 15.2).
//!
//! Hyper's server writes no 1xx of others. They are put between its writes: before the head of the answer that they come before, which
//! is held back until they have left.

use parking_lot::Mutex;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use tokio::sync::Notify;
use tokio::time::timeout;

use call::Body;
use call::strip_hops;

/// How long a body waits for software that does not answer `Expect: 100-continue`, as it need not: the time that callers wait too.
const CONTINUE_WAIT: Duration = Duration::from_secs(1);

/// The 1xx of one caller's connection on their way; an extension of its calls.
#[derive(Clone, Debug, Default)]
pub(super) struct Interims(Arc<Way>);

#[derive(Debug, Default)]
struct Way {
    /// What was not written yet.
    pending: Mutex<Vec<u8>>,
    /// Part of it was written.
    has_begun: AtomicBool,
    arrived: Notify,
    left: Notify,
}

impl Interims {
    fn pending(&self) -> parking_lot::MutexGuard<'_, Vec<u8>> {
        self.0.pending.lock()
    }

    /// Takes one of the software's.
    pub(super) fn push(&self, status: StatusCode, headers: &HeaderMap) {
        let mut headers = headers.clone();
        strip_hops(&mut headers);
        let mut pending = self.pending();
        let reason = status.canonical_reason().unwrap_or_default();
        pending.extend_from_slice(format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).as_bytes());
        for (name, value) in &headers {
            pending.extend_from_slice(name.as_str().as_bytes());
            pending.extend_from_slice(b": ");
            pending.extend_from_slice(value.as_bytes());
            pending.extend_from_slice(b"\r\n");
        }
        pending.extend_from_slice(b"\r\n");
        drop(pending);
        self.0.arrived.notify_one();
    }

    /// Writes what there is between the writes of others; `may_begin` where nothing of theirs is half written.
    pub(super) fn poll_write(
        &self,
        may_begin: bool,
        mut write: impl FnMut(&[u8]) -> Poll<std::io::Result<usize>>,
    ) -> Poll<std::io::Result<()>> {
        if !may_begin && !self.0.has_begun.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        let mut pending = self.pending();
        if pending.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while !pending.is_empty() {
            match write(&pending) {
                Poll::Ready(Ok(0)) => {
                    return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into()));
                }
                Poll::Ready(Ok(length)) => drop(pending.drain(..length)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.0.has_begun.store(true, Ordering::Relaxed);
                    return Poll::Pending;
                }
            }
        }
        self.0.has_begun.store(false, Ordering::Relaxed);
        drop(pending);
        self.0.left.notify_one();
        Poll::Ready(Ok(()))
    }

    /// Waits for an answer while what comes before it is written. It is the task of the caller's connection that waits, which writes
    /// whenever it is polled.
    pub(super) async fn before<T>(&self, answer: impl Future<Output = T>) -> T {
        let mut answer = std::pin::pin!(answer);
        let answer = loop {
            tokio::select! {
                biased;
                answer = &mut answer => break answer,
                () = self.0.arrived.notified() => {}
            }
        };
        while !self.pending().is_empty() {
            self.0.left.notified().await;
        }
        answer
    }
}

/// A body whose caller waits to be told that it is wanted.
#[derive(Clone, Debug)]
pub(super) struct Expectation(Arc<ExpectedBody>);

#[derive(Debug)]
struct ExpectedBody {
    body: Mutex<Option<Body>>,
    wanted: Notify,
}

impl Expectation {
    pub(super) fn new(body: Body) -> Self {
        Self(Arc::new(ExpectedBody {
            body: Mutex::new(Some(body)),
            wanted: Notify::new(),
        }))
    }

    fn take(&self) -> Option<Body> {
        let mut body = self.0.body.lock();
        body.take()
    }

    /// The software wants it.
    pub(super) fn go_on(&self) {
        self.0.wanted.notify_one();
    }

    /// The software has answered: says whether it has not wanted the body, which then is never read.
    pub(super) fn is_declined(&self) -> bool {
        self.take().is_some()
    }

    /// Waits until the body is wanted, or the software is silent about it; never ends where it has been declined.
    pub(super) fn wanted(self) -> WantedBody {
        Box::pin(async move {
            // Its end says that the software does not know the question.
            let _ = timeout(CONTINUE_WAIT, self.0.wanted.notified()).await;
            match self.take() {
                Some(body) => body,
                None => poll_fn(never).await,
            }
        })
    }
}

fn never(_: &mut Context<'_>) -> Poll<Body> {
    Poll::Pending
}

/// A body that is waited for.
pub(super) type WantedBody = Pin<Box<dyn Future<Output = Body> + Send>>;
