//! What is to be written to one side, in order: whole frames, and places for bodies that stream through.

use super::connection::Wire;
use bytes::{Buf, Bytes};
use parking_lot::{Mutex, MutexGuard};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::pin;
use tokio::sync::Notify;
use wire::framing::Sealed;

/// How much may wait to be written to one side before those who add to it wait too, in bytes. An adapter's messages must not
/// be held up by a body that streams the same way, or two peers could wait for each other.
const WAITING_BYTES_MAX: usize = 256 * 1024;

/// How many parts are written at once; the kernel takes 1,024 (IOV_MAX).
const PARTS_MAX: usize = 64;

/// The way to one side.
#[derive(Default)]
pub(super) struct Outlet {
    waiting: Mutex<Waiting>,
    /// Rung when there is something to write.
    work: Notify,
    /// Rung when something was written.
    written: Notify,
    /// Rung when it is the streaming body's turn.
    turn: Notify,
    /// Rung when it has been written.
    streamed: Notify,
}

#[derive(Default)]
struct Waiting {
    items: VecDeque<Item>,
    bytes: usize,
    /// Nothing is added after an end.
    has_end: bool,
}

enum Item {
    Bytes(Bytes),
    /// Others write now.
    Stream,
    End,
}

impl Outlet {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock()
    }

    /// Adds a frame.
    pub(super) fn send(&self, frame: Sealed) {
        for part in [frame.before, frame.message, frame.after] {
            self.send_bytes(part);
        }
    }

    /// Adds bytes.
    pub(super) fn send_bytes(&self, bytes: Bytes) {
        if !bytes.is_empty() {
            let length = bytes.len();
            self.add(Item::Bytes(bytes), length);
        }
    }

    /// Takes a place for a body: see [`Outlet::turn`].
    pub(super) fn send_stream(&self) {
        self.add(Item::Stream, 0);
    }

    /// Nothing follows.
    pub(super) fn send_end(&self) {
        self.add(Item::End, 0);
    }

    fn add(&self, item: Item, bytes: usize) {
        let mut waiting = self.waiting();
        if waiting.has_end {
            // The one who spoke last on this way has ended it: nobody listens there.
            return;
        }
        waiting.has_end = matches!(item, Item::End);
        waiting.bytes += bytes;
        waiting.items.push_back(item);
        self.work.notify_one();
    }

    /// Waits until there is room for more.
    pub(super) async fn room(&self) {
        loop {
            let mut written = pin!(self.written.notified());
            written.as_mut().enable();
            if self.waiting().bytes <= WAITING_BYTES_MAX {
                return;
            }
            written.await;
        }
    }

    /// Waits until all before the body's place is written. Then the body may be, by whoever asked; [`Outlet::end_turn`] follows.
    pub(super) async fn turn(&self) {
        self.turn.notified().await;
    }

    /// The body is written.
    pub(super) fn end_turn(&self) {
        self.streamed.notify_one();
    }

    /// Whether a body is half written.
    pub(super) fn is_streaming(&self) -> bool {
        matches!(self.waiting().items.front(), Some(Item::Stream))
    }

    /// Writes until the end. It may be dropped and begun anew between two frames' parts, but not within a body.
    pub(super) async fn write(&self, wire: &impl Wire) -> io::Result<()> {
        loop {
            match self.write_some(wire)? {
                OutletNext::Go => {}
                OutletNext::Nothing => self.work.notified().await,
                OutletNext::Blocked => wire.writable().await?,
                OutletNext::Stream => {
                    self.turn.notify_one();
                    self.streamed.notified().await;
                    self.waiting().items.pop_front();
                }
                OutletNext::End => return wire.end(),
            }
        }
    }

    fn write_some(&self, wire: &impl Wire) -> io::Result<OutletNext> {
        let mut waiting = self.waiting();
        let parts: Vec<IoSlice<'_>> = waiting
            .items
            .iter()
            .map_while(|item| match item {
                Item::Bytes(bytes) => Some(IoSlice::new(bytes)),
                Item::Stream | Item::End => None,
            })
            .take(PARTS_MAX)
            .collect();
        if parts.is_empty() {
            return Ok(match waiting.items.front() {
                Some(Item::Stream) => OutletNext::Stream,
                Some(Item::End) => OutletNext::End,
                _ => OutletNext::Nothing,
            });
        }
        match wire.try_write(&parts) {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                drop(parts);
                waiting.advance(written);
                self.written.notify_waiters();
                Ok(OutletNext::Go)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(OutletNext::Blocked),
            Err(error) => Err(error),
        }
    }
}

enum OutletNext {
    Go,
    Nothing,
    Blocked,
    Stream,
    End,
}

impl Waiting {
    /// Forgets what was written.
    fn advance(&mut self, written: usize) {
        let mut left = written;
        self.bytes -= written;
        while left > 0
            && let Some(Item::Bytes(bytes)) = self.items.front_mut()
        {
            if bytes.len() > left {
                bytes.advance(left);
                return;
            }
            left -= bytes.len();
            self.items.pop_front();
        }
        if self.items.is_empty() {
            // Thousands of sessions are idle at once.
            self.items = VecDeque::new();
        }
    }
}
