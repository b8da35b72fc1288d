//! A connection whose bytes come as framed messages.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::presence::Manners;
use call::{Limits, Share};
use wire::framing::{Codec, Cutter, FramingError, Look, Sealed};

/// One side's connection. Dropped, it looks to the peer as if the process had died, unless it was ended in order.
pub(super) struct MessageStream {
    stream: TcpStream,
    /// How it was before.
    manners: Manners,
    /// What has arrived and was not taken yet.
    there: BytesMut,
    cutter: Cutter,
    /// The longest message, in bytes: calls are held whole.
    most: usize,
    /// What it holds of the node's budget, and of how many bytes in `there` that is.
    share: Share,
    charged: usize,
    has_ended: bool,
}

/// What a connection may hold without asking.
const FREE_BYTES: usize = 64 * 1024;

impl MessageStream {
    pub(super) fn new(stream: TcpStream, codec: Arc<Codec>, limits: &Limits) -> Self {
        let manners = Manners::of(&stream);
        // Messages are complete as they are; waiting would only delay. Without the rest the peer sees the other kind of end; it is
        // gone either way.
        let _ = stream.set_nodelay(true);
        let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        Self {
            stream,
            manners,
            there: BytesMut::new(),
            cutter: Cutter::new(codec),
            most: limits.body_bytes_max,
            share: Share::of(&limits.held, 0),
            charged: 0,
            has_ended: false,
        }
    }

    /// The framing.
    pub(super) fn codec(&self) -> &Arc<Codec> {
        self.cutter.codec()
    }

    /// The peer has ended its side: nothing more comes.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Nothing has arrived that was not taken.
    pub(super) fn is_empty(&self) -> bool {
        self.there.is_empty()
    }

    /// Takes the next message, without what the framing adds, if all of it is there.
    pub(super) fn message(&mut self) -> Result<Option<Bytes>, FramingError> {
        if self.there.is_empty() {
            return Ok(None);
        }
        let length = match self.cutter.look(&self.there)? {
            Look::More(_) => None,
            Look::Head(frame) => self.cutter.whole(&self.there, &frame)?,
        };
        let Some(length) = length else {
            return if self.there.len() > self.most {
                Err(FramingError::TooLong {
                    most: self.most as u64,
                })
            } else {
                Ok(None)
            };
        };
        let frame = self.there.split_to(length).freeze();
        self.cutter.next();
        let message = self.codec().open(&frame)?;
        Ok(Some(frame.slice(message)))
    }

    /// Reads what has arrived, and waits for something if nothing has. Can be given up at any moment.
    pub(super) async fn fill(&mut self) -> io::Result<()> {
        if self.has_ended || self.there.len() > self.most {
            // There is nothing to read, or enough.
            std::future::pending::<()>().await;
        }
        self.has_ended = self.stream.read_buf(&mut self.there).await? == 0;
        self.charge()
    }

    /// Takes what has come in from the node's budget, and gives it back when nothing of it is left.
    fn charge(&mut self) -> io::Result<()> {
        if self.there.is_empty() && self.charged > 0 {
            self.there = BytesMut::new();
            self.charged = 0;
            self.share.give_back();
        }
        let held = self.there.capacity();
        if held > FREE_BYTES && held > self.charged {
            if !self.share.take(held - self.charged) {
                let full = "the node holds as much for calls as it may";
                return Err(io::Error::new(io::ErrorKind::OutOfMemory, full));
            }
            self.charged = held;
        }
        Ok(())
    }

    /// Writes a frame, as [`MessageStream::write`] does.
    pub(super) async fn send(&mut self, frame: Sealed) -> io::Result<()> {
        let mut all = frame.before.chain(frame.message).chain(frame.after);
        self.write_all(&mut all).await
    }

    /// Writes bytes that are framed. What the peer sends meanwhile is taken in: whoever sends many calls before it reads the first
    /// answer would else wait for ever, as this would for it.
    pub(super) async fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.write_all(&mut bytes).await
    }

    async fn write_all(&mut self, bytes: &mut impl Buf) -> io::Result<()> {
        while bytes.has_remaining() {
            let (mut from, mut to) = self.stream.split();
            let reads = !self.has_ended && self.there.len() <= self.most;
            tokio::select! {
                biased;
                written = to.write_buf(bytes) => if written? == 0 {
                    return Err(io::ErrorKind::WriteZero.into());
                },
                read = from.read_buf(&mut self.there), if reads => {
                    self.has_ended = read? == 0;
                    self.charge()?;
                }
            }
        }
        Ok(())
    }

    /// The connection as it was, which no longer ends as in a crash; what has arrived and was not taken is lost.
    pub(super) fn into_stream(self) -> TcpStream {
        // On failure the socket is gone already.
        let _ = self.manners.restore(&self.stream);
        self.stream
    }
}
