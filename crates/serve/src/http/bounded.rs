//! The software's socket under hyper: bounds what may come before an answer's head is complete, since interim answers (1xx)
//! have no limit in HTTP and hyper skips any number of them; and tells the software that its caller has ended its side.

use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use parking_lot::Mutex;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::message::BodyEnd;

/// How much the software may send beyond a head's limit before its answer is seen: some thousand interim answers, and
/// more than hyper reads ahead of a body (400 KiB) before the head is told.
const INTERIM_BYTES_MAX: usize = 1 << 20;

/// Nothing is awaited: a body has its own limits.
const UNLIMITED: usize = usize::MAX;

/// How much may still come before the answer is seen.
#[derive(Debug)]
pub(super) struct Budget(AtomicUsize);

impl Default for Budget {
    fn default() -> Self {
        Self(AtomicUsize::new(UNLIMITED))
    }
}

impl Budget {
    /// An answer is awaited.
    pub(super) fn begin(&self, head_bytes_max: usize) {
        let bytes = head_bytes_max.saturating_add(INTERIM_BYTES_MAX);
        self.0.store(bytes, Ordering::Relaxed);
    }

    /// The answer's head has come.
    pub(super) fn end(&self) {
        self.0.store(UNLIMITED, Ordering::Relaxed);
    }

    fn spend(&self, bytes: usize) -> bool {
        let left = self.0.load(Ordering::Relaxed);
        if left == UNLIMITED {
            return true;
        }
        // Where `end` or `begin` comes in between, theirs is the newer word.
        let after = left.saturating_sub(bytes);
        let _ = (self.0).compare_exchange(left, after, Ordering::Relaxed, Ordering::Relaxed);
        after > 0
    }
}

/// The caller's side of a connection to the software.
#[derive(Debug, Default)]
pub(super) struct CallerSide {
    state: Mutex<SideState>,
    told: Notify,
}

#[derive(Debug, Default)]
struct SideState {
    has_ended: bool,
    /// A request is on its way: its body may come long after its head.
    is_sending: bool,
    /// The software has been told the end.
    is_shut: bool,
}

impl CallerSide {
    /// The caller sends nothing more: the software is to see that, as it would without anybody between them, behind the
    /// request that is on its way.
    pub(super) fn end(&self) {
        let before = std::mem::replace(&mut self.state.lock().has_ended, true);
        if !before {
            self.told.notify_one();
        }
    }

    /// Waits until it has ended; at most one waits.
    pub(super) async fn ended(&self) {
        self.told.notified().await;
    }

    /// A request is to be sent; `None` where the software has been told that none follows.
    pub(super) fn send(self: &Arc<Self>) -> Option<Sending> {
        let mut state = self.state.lock();
        if state.is_shut {
            return None;
        }
        state.is_sending = true;
        drop(state);
        Some(Sending(self.clone()))
    }

    /// Whether the software is to be told now; says so once.
    fn shuts(&self) -> bool {
        let mut state = self.state.lock();
        let shuts = state.has_ended && !state.is_sending && !state.is_shut;
        state.is_shut |= shuts;
        shuts
    }
}

/// A request on its way; dropped with its body, when all of it has been taken.
#[derive(Debug)]
pub(super) struct Sending(Arc<CallerSide>);

impl BodyEnd for Sending {
    fn failed(&mut self) {}
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.state.lock().is_sending = false;
    }
}

/// A connection to the software.
pub(super) struct BoundedStream {
    stream: TcpStream,
    budget: Arc<Budget>,
    side: Arc<CallerSide>,
}

impl BoundedStream {
    pub(super) fn new(stream: TcpStream, budget: Arc<Budget>, side: Arc<CallerSide>) -> Self {
        Self {
            stream,
            budget,
            side,
        }
    }
}

impl AsyncRead for BoundedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if self.budget.spend(buffer.filled().len() - before) {
            return polled;
        }
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the software sends without end and does not answer",
        )))
    }
}

impl AsyncWrite for BoundedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Hyper flushes whenever it is polled, when all that it has got to say by then is written.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.side.shuts() {
            // The software may be gone already.
            let _ = SockRef::from(&self.stream).shutdown(Shutdown::Write);
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
