//! The software's socket under hyper: bounds what may come before an answer's head is complete. Interim answers (1xx)
//! have no limit in HTTP, and hyper skips any number of them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// How much the software may send beyond a head's limit before its answer is seen: some thousand interim answers, and
/// more than hyper reads ahead of a body (400 KiB) before the head is told.
const INTERIM_BYTES_MAX: usize = 1 << 20;

/// Nothing is awaited: a body has its own limits.
const UNLIMITED: usize = usize::MAX;

/// How much may still come before the answer is seen.
#[derive(Debug)]
pub(super) struct Budget(AtomicUsize);

impl Default for Budget {
    fn default() -> Budget {
        Budget(AtomicUsize::new(UNLIMITED))
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

/// A connection to the software.
pub(super) struct BoundedStream {
    stream: TcpStream,
    budget: Arc<Budget>,
}

impl BoundedStream {
    pub(super) fn new(stream: TcpStream, budget: Arc<Budget>) -> BoundedStream {
        BoundedStream { stream, budget }
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

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
