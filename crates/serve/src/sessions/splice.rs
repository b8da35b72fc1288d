//! Moves bytes from one socket to another through a pipe: they never enter the process (splice(2)).

use parking_lot::Mutex;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use std::io;
use std::os::fd::OwnedFd;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// How much a pipe holds, in bytes: what an unprivileged process may ask for (`fs.pipe-max-size`).
const PIPE_BYTES: usize = 1 << 20;

/// How many pipes are kept for the next large message, in this process: making one costs less than a small message saves.
const KEPT_MAX: usize = 8;

static KEPT: Mutex<Vec<Pipe>> = Mutex::new(Vec::new());

/// An empty pipe.
struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
    bytes: usize,
}

impl Pipe {
    fn take() -> io::Result<Self> {
        if let Some(kept) = KEPT.lock().pop() {
            return Ok(kept);
        }
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // A user's pipes together may hold only so much: then it is as large as it is.
        let bytes = fcntl_setpipe_size(&writer, PIPE_BYTES)
            .or_else(|_| rustix::pipe::fcntl_getpipe_size(&writer))?;
        Ok(Self {
            reader,
            writer,
            bytes,
        })
    }

    fn keep(self) {
        let mut kept = KEPT.lock();
        if kept.len() < KEPT_MAX {
            kept.push(self);
        }
    }
}

fn would_block(result: rustix::io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(Errno::AGAIN) => Err(io::ErrorKind::WouldBlock.into()),
        other => other.map_err(io::Error::from),
    }
}

/// Moves so many bytes, or fewer where the sender ends before; says how many.
pub(super) async fn move_bytes(from: &TcpStream, to: &TcpStream, bytes: u64) -> io::Result<u64> {
    let pipe = Pipe::take()?;
    let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
    let mut left = bytes;
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(pipe.bytes);
        let into_pipe = || would_block(splice(from, None, &pipe.writer, None, most, flags));
        let mut inside = from.async_io(Interest::READABLE, into_pipe).await?;
        if inside == 0 {
            break;
        }
        left -= inside as u64;
        while inside > 0 {
            let more = match left {
                0 => SpliceFlags::empty(),
                _ => SpliceFlags::MORE,
            };
            let out = || would_block(splice(&pipe.reader, None, to, None, inside, flags | more));
            inside -= to.async_io(Interest::WRITABLE, out).await?;
        }
    }
    // What failed half way is dropped with what is in it.
    pipe.keep();
    Ok(bytes - left)
}
