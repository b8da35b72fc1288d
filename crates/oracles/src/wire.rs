//! A connection in memory: what comes is known, what goes is kept, and both come to pieces.

use bytes::{BufMut, BytesMut};
use serve::Wire;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex};
use tokio::net::TcpStream;

/// What became of a connection.
#[derive(Debug, Default)]
pub struct Seen {
    /// What was written to it.
    pub written: Vec<u8>,
    /// It was ended in order.
    pub has_ended: bool,
    /// It was reset.
    pub was_reset: bool,
}

/// A connection whose peer says this and then ends its side.
pub struct Memory {
    incoming: Mutex<Vec<u8>>,
    /// How much is read or written at once.
    piece: usize,
    /// Every other attempt has to wait.
    reads: Mutex<bool>,
    writes: Mutex<bool>,
    seen: Arc<Mutex<Seen>>,
}

impl Memory {
    /// Says this, in pieces of at most so many bytes.
    pub fn new(incoming: Vec<u8>, piece: usize) -> (Self, Arc<Mutex<Seen>>) {
        let seen = Arc::<Mutex<Seen>>::default();
        let memory = Self {
            incoming: Mutex::new(incoming),
            piece: piece.max(1),
            reads: Mutex::default(),
            writes: Mutex::default(),
            seen: seen.clone(),
        };
        (memory, seen)
    }
}

/// Blocks every other time.
fn turn(blocked: &Mutex<bool>) -> io::Result<()> {
    let mut blocked = blocked.lock().expect("no panic");
    *blocked = !*blocked;
    if *blocked {
        Err(io::ErrorKind::WouldBlock.into())
    } else {
        Ok(())
    }
}

impl Wire for Memory {
    async fn readable(&self) -> io::Result<()> {
        tokio::task::yield_now().await;
        Ok(())
    }

    fn try_read(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        turn(&self.reads)?;
        let mut incoming = self.incoming.lock().expect("no panic");
        let spare = buffer.capacity() - buffer.len();
        let length = incoming.len().min(self.piece).min(spare);
        buffer.put_slice(&incoming[..length]);
        incoming.drain(..length);
        Ok(length)
    }

    async fn writable(&self) -> io::Result<()> {
        tokio::task::yield_now().await;
        Ok(())
    }

    fn try_write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        turn(&self.writes)?;
        let mut seen = self.seen.lock().expect("no panic");
        assert!(!seen.has_ended, "nothing is written after the end");
        let before = seen.written.len();
        for part in parts {
            let left = self.piece - (seen.written.len() - before);
            seen.written
                .extend_from_slice(&part[..part.len().min(left)]);
        }
        Ok(seen.written.len() - before)
    }

    fn end(&self) -> io::Result<()> {
        self.seen.lock().expect("no panic").has_ended = true;
        Ok(())
    }

    fn will_reset(&self) {
        self.seen.lock().expect("no panic").was_reset = true;
    }

    fn socket(&self) -> Option<&TcpStream> {
        None
    }
}
