//! Direct connections while they are recorded: bytes pass as they are in both directions, and an ear hears copies of them.

use super::record::Recorder;
use conversation::HttpTap;
use model::ids::Version;
use parking_lot::Mutex;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Who speaks on a tapped stream.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Speaker {
    Caller,
    Software,
}

/// What the two sides of a connection share.
struct TapShared {
    ear: Mutex<HttpTap>,
    recorder: Arc<Recorder>,
    version: Version,
    node: Version,
}

impl TapShared {
    fn hear(&self, speaker: Speaker, bytes: &[u8]) {
        let mut ear = self.ear.lock();
        if ear.is_deaf() || !self.recorder.is_on() {
            return;
        }
        match (speaker, bytes) {
            (Speaker::Caller, bytes) => ear.hear_caller(bytes),
            (Speaker::Software, []) => ear.end_of_software(),
            (Speaker::Software, bytes) => ear.hear_software(bytes),
        }
        for conversation in ear.told() {
            self.recorder.tell(conversation, self.version, self.node);
        }
        if ear.is_deaf() {
            self.recorder.incomplete.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// One end of a tapped connection.
struct TappedEnd<'s> {
    stream: &'s mut TcpStream,
    speaker: Speaker,
    shared: Arc<TapShared>,
}

/// Passes bytes between a caller and the software until both have ended, or one fails.
pub(super) async fn pass(
    caller: &mut TcpStream,
    software: &mut TcpStream,
    recorder: Arc<Recorder>,
    version: Version,
    node: Version,
) -> io::Result<()> {
    let shared = Arc::new(TapShared {
        ear: Mutex::default(),
        recorder,
        version,
        node,
    });
    let mut caller = TappedEnd {
        stream: caller,
        speaker: Speaker::Caller,
        shared: shared.clone(),
    };
    let mut software = TappedEnd {
        stream: software,
        speaker: Speaker::Software,
        shared,
    };
    tokio::io::copy_bidirectional(&mut caller, &mut software)
        .await
        .map(|_| ())
}

impl AsyncRead for TappedEnd<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut *self.stream).poll_read(cx, buffer))?;
        self.shared.hear(self.speaker, &buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TappedEnd<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_shutdown(cx)
    }
}
