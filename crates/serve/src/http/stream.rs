//! The caller's socket under hyper: counts what passes, and is reset if dropped before its end.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::interim::Interims;
use crate::presence::{self, Presence};

/// What has passed a caller's socket.
#[derive(Debug, Default)]
pub(super) struct StreamTraffic {
    /// Bytes written to the caller.
    pub(super) written: AtomicU64,
    /// Whether anything has been read since this was cleared.
    pub(super) has_read: AtomicBool,
    /// A look at the caller is wanted.
    look: AtomicBool,
    /// It has ended its side.
    has_ended: AtomicBool,
    /// It is gone.
    is_gone: AtomicBool,
    /// What the software says before its answers.
    pub(super) interims: Interims,
}

impl StreamTraffic {
    /// Has the socket looked at when its connection is polled next. Hyper has the socket, and reads nothing of it while a call runs.
    pub(super) fn look(&self) {
        self.look.store(true, Ordering::Relaxed);
    }

    /// Whether the caller had ended its side when it was looked after.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Relaxed)
    }

    /// Whether the caller was gone.
    pub(super) fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::Relaxed)
    }

    fn look_after(&self, stream: &TcpStream) {
        match presence::of(stream) {
            Presence::There => {}
            Presence::Gone => self.is_gone.store(true, Ordering::Relaxed),
            found => {
                presence::ask(stream);
                let has_ended = found == Presence::Ended;
                self.has_ended.store(has_ended, Ordering::Relaxed);
            }
        }
    }
}

/// A caller's socket, with bytes that were already read in front of it.
pub(super) struct CallerStream {
    stream: Option<TcpStream>,
    prefix: Bytes,
    traffic: Arc<StreamTraffic>,
}

impl CallerStream {
    pub(super) fn new(stream: TcpStream, traffic: Arc<StreamTraffic>) -> Self {
        Self {
            stream: Some(stream),
            prefix: Bytes::new(),
            traffic,
        }
    }

    /// Puts bytes back in front.
    pub(super) fn rewind(&mut self, bytes: Bytes) {
        debug_assert!(
            self.prefix.is_empty(),
            "hyper reads all of the prefix first"
        );
        self.prefix = bytes;
    }

    pub(super) fn has_prefix(&self) -> bool {
        !self.prefix.is_empty()
    }

    /// The socket, no longer reset when dropped.
    pub(super) fn into_stream(mut self) -> Option<TcpStream> {
        self.stream.take()
    }
}

/// Dropped before its end, a connection looks to the caller as if the process had died.
impl Drop for CallerStream {
    fn drop(&mut self) {
        if let Some(stream) = &self.stream {
            // On failure the socket is gone already.
            let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
    }
}

fn gone() -> io::Error {
    io::Error::from(io::ErrorKind::NotConnected)
}

impl AsyncRead for CallerStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.has_prefix() {
            let length = self.prefix.len().min(buffer.remaining());
            buffer.put_slice(&self.prefix[..length]);
            self.prefix.advance(length);
            self.traffic.has_read.store(true, Ordering::Relaxed);
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(Err(gone()));
        };
        let polled = Pin::new(stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.traffic.has_read.store(true, Ordering::Relaxed);
        }
        polled
    }
}

impl CallerStream {
    fn write_interims(&mut self, cx: &mut Context<'_>, may_begin: bool) -> Poll<io::Result<()>> {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(Err(gone()));
        };
        (self.traffic.interims).poll_write(may_begin, |bytes| {
            Pin::new(&mut *stream).poll_write(cx, bytes)
        })
    }

    fn count(&self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(length)) = &polled {
            self.traffic
                .written
                .fetch_add(*length as u64, Ordering::Relaxed);
        }
        polled
    }
}

impl AsyncWrite for CallerStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.write_interims(cx, false))?;
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(Err(gone()));
        };
        let polled = Pin::new(stream).poll_write(cx, bytes);
        self.count(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.write_interims(cx, false))?;
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(Err(gone()));
        };
        let polled = Pin::new(stream).poll_write_vectored(cx, slices);
        self.count(polled)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Hyper flushes whenever it is polled, when all that it had to say is written.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.write_interims(cx, true))?;
        let this = &mut *self;
        let Some(stream) = &mut this.stream else {
            return Poll::Ready(Err(gone()));
        };
        if this.traffic.look.swap(false, Ordering::Relaxed) {
            this.traffic.look_after(stream);
        }
        Pin::new(stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(Err(gone()));
        };
        Pin::new(stream).poll_shutdown(cx)
    }
}
