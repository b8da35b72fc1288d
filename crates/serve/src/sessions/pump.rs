//! One direction of a session: reads what one side says, asks the adapters, and passes on what they let pass.

use super::connection::Wire;
use super::error::SessionError;
use super::events::{Events, Judged};
use super::splice;
use bytes::{Buf, Bytes, BytesMut};
use call::{MessageHead, Party};
use std::io::{self, IoSlice};
use wire::framing::{Cutter, Frame, FramingError, Look, Sealed};

/// How much is read at once at least, in bytes: small enough for thousands of sessions that speak at the same time.
const READ_BYTES: usize = 16 * 1024;

/// How much is read at once at most, in bytes, where a long message is on its way.
const READ_BYTES_MAX: usize = 256 * 1024;

/// From how many bytes on a body is moved inside the kernel: below, a few reads and writes cost less.
const SPLICE_BYTES_MIN: u64 = 128 * 1024;

/// One direction.
pub(super) struct Pump<'s, W> {
    events: &'s Events,
    /// Who speaks.
    from: Party,
    wire: &'s W,
    other: &'s W,
    cutter: Cutter,
    buffer: BytesMut,
    whole_bytes_max: usize,
}

impl<'s, W: Wire> Pump<'s, W> {
    /// What `from` says on `wire` goes to `other`.
    pub(super) fn new(
        events: &'s Events,
        from: Party,
        wire: &'s W,
        other: &'s W,
        whole_bytes_max: usize,
    ) -> Self {
        let chain = events.chain();
        let link = match from {
            Party::Caller => 0,
            Party::Next => chain.len(),
        };
        Self {
            events,
            from,
            wire,
            other,
            cutter: Cutter::new(chain.links[link].clone()),
            buffer: BytesMut::new(),
            whole_bytes_max,
        }
    }

    /// Runs until the side has ended.
    pub(super) async fn run(mut self) -> Result<(), SessionError> {
        loop {
            match self.cutter.look(&self.buffer)? {
                Look::Head(frame) => self.message(frame).await?,
                Look::More(wanted) => {
                    if self.fill(wanted).await? == 0 {
                        return self.end();
                    }
                }
            }
        }
    }

    /// The side has said its last.
    fn end(self) -> Result<(), SessionError> {
        if !self.buffer.is_empty() {
            return Err(FramingError::Truncated.into());
        }
        self.events.outlet(self.from.other()).send_end();
        Ok(())
    }

    /// Reads more; `wanted` bytes in all would be enough. 0 is the end.
    async fn fill(&mut self, wanted: usize) -> io::Result<usize> {
        let room = wanted.saturating_sub(self.buffer.len());
        loop {
            if self.buffer.is_empty() {
                // Whoever only waits holds no memory for it.
                self.buffer = BytesMut::new();
            }
            self.wire.readable().await?;
            self.buffer.reserve(room.clamp(READ_BYTES, READ_BYTES_MAX));
            match self.wire.try_read(&mut self.buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
        }
    }

    /// The same within a message, which the end must not cut.
    async fn fill_on(&mut self, wanted: usize) -> Result<(), SessionError> {
        match self.fill(wanted).await? {
            0 => Err(FramingError::Truncated.into()),
            _ => Ok(()),
        }
    }

    /// Treats the message whose head is there.
    async fn message(&mut self, frame: Frame) -> Result<(), SessionError> {
        if !self.events.chain().is_uniform {
            // It changes its frame on the way: all of it is needed.
            let bytes = self.collect(&frame).await?;
            let place = self.cutter.codec().open(&bytes)?;
            let message = Sealed {
                message: bytes.slice(place),
                ..Sealed::default()
            };
            let sent = self.events.arrived(self.from, message).await?;
            self.events.room(sent).await;
            return Ok(());
        }
        match self.cutter.whole(&self.buffer, &frame)? {
            Some(length) => self.complete(&frame, length).await,
            None => self.incomplete(frame).await,
        }
    }

    /// The whole message is there.
    async fn complete(&mut self, frame: &Frame, length: usize) -> Result<(), SessionError> {
        let bytes = self.buffer.split_to(length).freeze();
        self.cutter.next();
        let outlet = self.events.outlet(self.from.other());
        let codec = self.cutter.codec();
        let head = MessageHead {
            bytes: &bytes[frame.before..][..frame.head],
            length: frame.told,
        };
        let then = |judged| {
            match &judged {
                Judged::Pass(None) => {
                    codec.check_end(&bytes)?;
                    outlet.send_bytes(bytes.clone());
                }
                Judged::Pass(Some(head)) => {
                    let message = with_head(codec.open(&bytes)?, &bytes, frame.head, head);
                    outlet.send(codec.seal(message)?);
                }
                // Where one ends that nobody gets, the next begins.
                Judged::Drop => codec.check_end(&bytes)?,
                Judged::Whole(..) => {}
            }
            Ok(judged)
        };
        match self.events.head(self.from, head, then).await? {
            Judged::Pass(_) => outlet.room().await,
            Judged::Whole(at, head) => self.whole(at, frame, &bytes, head.as_deref()).await?,
            Judged::Drop => {}
        }
        Ok(())
    }

    /// Gives an adapter the message that it wanted whole.
    async fn whole(
        &self,
        at: usize,
        frame: &Frame,
        bytes: &[u8],
        head: Option<&[u8]>,
    ) -> Result<(), SessionError> {
        let place = self.cutter.codec().open(bytes)?;
        if place.len() > self.whole_bytes_max {
            return Err(SessionError::TooLongForWhole(self.whole_bytes_max));
        }
        let sent = match head {
            None => self.events.message(at, self.from, &bytes[place]).await?,
            Some(head) => {
                let message = with_head(place, bytes, frame.head, head);
                self.events.message(at, self.from, &message).await?
            }
        };
        self.events.room(sent).await;
        Ok(())
    }

    /// Some of the message is still to come.
    async fn incomplete(&mut self, frame: Frame) -> Result<(), SessionError> {
        let outlet = self.events.outlet(self.from.other());
        let streams = self.cutter.codec().streams_new_heads();
        let head = MessageHead {
            bytes: &self.buffer[frame.before..][..frame.head],
            length: frame.told,
        };
        let then = |judged| {
            if matches!(&judged, Judged::Pass(head) if streams || head.is_none()) {
                outlet.send_stream();
            }
            Ok(judged)
        };
        match self.events.head(self.from, head, then).await? {
            Judged::Pass(head) if streams || head.is_none() => {
                outlet.turn().await;
                self.stream(&frame, head).await?;
                outlet.end_turn();
            }
            Judged::Pass(head) => {
                let bytes = self.collect(&frame).await?;
                let codec = self.cutter.codec();
                let place = codec.open(&bytes)?;
                let head = head.unwrap_or_default();
                outlet.send(codec.seal(with_head(place, &bytes, frame.head, &head))?);
                outlet.room().await;
            }
            Judged::Whole(at, head) => {
                let bytes = self.collect(&frame).await?;
                self.whole(at, &frame, &bytes, head.as_deref()).await?;
            }
            Judged::Drop => self.skip(&frame).await?,
        }
        self.cutter.next();
        Ok(())
    }

    /// Waits for the whole frame and takes it.
    async fn collect(&mut self, frame: &Frame) -> Result<Bytes, SessionError> {
        let most = self.whole_bytes_max + frame.before + frame.after;
        let known = frame
            .length
            .map(|length| usize::try_from(length).unwrap_or(usize::MAX));
        loop {
            let whole = self.cutter.whole(&self.buffer, frame)?;
            if whole.or(known).unwrap_or(self.buffer.len()) > most {
                return Err(SessionError::TooLongForWhole(self.whole_bytes_max));
            }
            if let Some(length) = whole {
                self.cutter.next();
                return Ok(self.buffer.split_to(length).freeze());
            }
            self.fill_on(known.unwrap_or(0)).await?;
        }
    }

    /// Writes a frame while it arrives.
    async fn stream(&mut self, frame: &Frame, head: Option<Vec<u8>>) -> Result<(), SessionError> {
        let mut leave_out = 0;
        if let Some(head) = head {
            leave_out = frame.before + frame.head;
            let rest = frame.told.map(|told| told - frame.head as u64);
            let begun = self.cutter.codec().begin(head, rest.unwrap_or(0))?;
            write_all(self.other, &begun.before).await?;
            write_all(self.other, &begun.message).await?;
        }
        let Some(length) = frame.length else {
            return self.stream_to_delimiter(leave_out).await;
        };
        // What shows that the length was right is looked at before it is passed on.
        let end = self.shown_end(frame);
        let body = length - end as u64;
        let there = self.take_there(body);
        write_all(self.other, &there[leave_out..]).await?;
        let left = body - there.len() as u64;
        drop(there);
        self.move_on(left).await?;
        let end = self.checked_end(end).await?;
        Ok(write_all(self.other, &end).await?)
    }

    /// How many bytes at a frame's end show whether its length was right.
    fn shown_end(&self, frame: &Frame) -> usize {
        if self.cutter.codec().shows_its_end() {
            frame.after
        } else {
            0
        }
    }

    /// Takes the last bytes of a frame, which are right.
    async fn checked_end(&mut self, bytes: usize) -> Result<BytesMut, SessionError> {
        while self.buffer.len() < bytes {
            self.fill_on(bytes).await?;
        }
        let end = self.buffer.split_to(bytes);
        self.cutter.codec().check_end(&end)?;
        Ok(end)
    }

    /// Moves so many bytes on as they arrive.
    async fn move_on(&mut self, left: u64) -> Result<(), SessionError> {
        let mut left = left;
        if left >= SPLICE_BYTES_MIN
            && let (Some(from), Some(to)) = (self.wire.socket(), self.other.socket())
        {
            left -= splice::move_bytes(from, to, left).await?;
            return match left {
                0 => Ok(()),
                _ => Err(FramingError::Truncated.into()),
            };
        }
        while left > 0 {
            self.fill_on(usize::try_from(left).unwrap_or(usize::MAX))
                .await?;
            let there = self.take_there(left);
            write_all(self.other, &there).await?;
            left -= there.len() as u64;
        }
        Ok(())
    }

    async fn stream_to_delimiter(&mut self, leave_out: usize) -> Result<(), SessionError> {
        let mut leave_out = leave_out;
        loop {
            let tail = self.cutter.tail(&self.buffer)?;
            let there = self.buffer.split_to(tail.bytes);
            // A head that is left out has no more bytes than are known to be before the delimiter.
            write_all(self.other, &there[leave_out.min(there.len())..]).await?;
            leave_out -= leave_out.min(there.len());
            drop(there);
            if tail.ends {
                return Ok(());
            }
            self.fill_on(0).await?;
        }
    }

    /// Takes what is there of `left` bytes.
    fn take_there(&mut self, left: u64) -> BytesMut {
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        self.buffer.split_to(self.buffer.len().min(left))
    }

    /// Forgets a frame while it arrives.
    async fn skip(&mut self, frame: &Frame) -> Result<(), SessionError> {
        let Some(length) = frame.length else {
            loop {
                let tail = self.cutter.tail(&self.buffer)?;
                self.buffer.advance(tail.bytes);
                if tail.ends {
                    return Ok(());
                }
                self.fill_on(0).await?;
            }
        };
        let end = self.shown_end(frame);
        let mut left = length - end as u64;
        loop {
            left -= self.take_there(left).len() as u64;
            if left == 0 {
                return self.checked_end(end).await.map(drop);
            }
            self.fill_on(0).await?;
        }
    }
}

/// The message at a place of a frame, with another head.
fn with_head(place: std::ops::Range<usize>, frame: &[u8], old_head: usize, head: &[u8]) -> Vec<u8> {
    [head, &frame[place][old_head..]].concat()
}

async fn write_all(wire: &impl Wire, bytes: &[u8]) -> io::Result<()> {
    let mut left = bytes;
    while !left.is_empty() {
        match wire.try_write(&[IoSlice::new(left)]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => left = &left[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => wire.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
