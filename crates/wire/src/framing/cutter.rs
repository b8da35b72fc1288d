//! Finds messages in what has arrived. Nothing is looked at twice, however small the pieces are in which it comes.

use super::resp::Scan;
use super::{Codec, FramingError, before, frame_length};
use model::bundle::Cut;
use std::sync::Arc;

/// The most digits of a netstring's length: more than any limit of a message's length has.
const NETSTRING_DIGITS_MAX: usize = 13;

/// Follows one direction of one connection.
#[derive(Debug)]
pub struct Cutter {
    codec: Arc<Codec>,
    /// How much of what is there is known to hold no end of the present message.
    searched: usize,
    /// How much of the present message's value is understood, where values are messages.
    scan: Scan,
    /// How much of the present message has been passed on already, by [`Cutter::tail`].
    passed: u64,
}

/// What is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// Not enough: a message's head needs at least so many bytes in all.
    More(usize),
    /// A message's head.
    Head(Frame),
}

/// A frame whose message's head is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// How many bytes of framing come before the message.
    pub before: usize,
    /// How many bytes the head has.
    pub head: usize,
    /// The message's length, as adapters are told it.
    pub told: Option<u64>,
    /// The frame's length, where it is known by now.
    pub length: Option<u64>,
    /// How many bytes of framing come after the message.
    pub after: usize,
}

/// How much of a message whose end was not known is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail {
    /// So many bytes belong to it, what ends it included.
    pub bytes: usize,
    /// They are the last.
    pub ends: bool,
}

impl Cutter {
    /// At a connection's beginning.
    pub fn new(codec: Arc<Codec>) -> Self {
        Self {
            codec,
            searched: 0,
            scan: Scan::default(),
            passed: 0,
        }
    }

    /// The framing.
    pub fn codec(&self) -> &Arc<Codec> {
        &self.codec
    }

    /// Looks for the head of the message that begins where `there` does.
    ///
    /// # Errors
    /// It begins like no message, or like one that is too long.
    pub fn look(&mut self, there: &[u8]) -> Result<Look, FramingError> {
        match &self.codec.framing.cut {
            Cut::Length(field) => {
                if there.len() < field.header_bytes {
                    return Ok(Look::More(field.header_bytes));
                }
                let most = self.codec.framing.message_bytes_max;
                let length = frame_length(field, there, most)?;
                let (before, after) = (before(field), field.trailer_bytes());
                Ok(self.known(there, before, length, after))
            }
            Cut::Netstring => self.look_at_netstring(there),
            Cut::Delimiter(delimiter) => {
                let delimiter = delimiter.len();
                self.look_for_end(there, delimiter)
            }
            Cut::Resp => self.look_for_end(there, 0),
            Cut::Raw if there.is_empty() => Ok(Look::More(1)),
            Cut::Raw => Ok(Look::Head(Frame {
                before: 0,
                head: self.codec.head_of(there.len() as u64),
                told: None,
                length: Some(there.len() as u64),
                after: 0,
            })),
        }
    }

    /// A frame whose length stands at its beginning.
    fn known(&self, there: &[u8], before: usize, length: u64, after: usize) -> Look {
        let message = length - (before + after) as u64;
        let head = self.codec.head_of(message);
        if there.len() < before + head {
            return Look::More(before + head);
        }
        Look::Head(Frame {
            before,
            head,
            told: Some(message),
            length: Some(length),
            after,
        })
    }

    fn look_at_netstring(&self, there: &[u8]) -> Result<Look, FramingError> {
        let digits = there
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        if digits > 1 && there[0] == b'0' {
            return Err(FramingError::Netstring("its length begins with 0"));
        }
        if digits > NETSTRING_DIGITS_MAX {
            let most = self.codec.framing.message_bytes_max;
            return Err(FramingError::TooLong { most });
        }
        match there.get(digits) {
            None => return Ok(Look::More(there.len() + 1)),
            Some(b':') if digits > 0 => {}
            Some(_) => return Err(FramingError::Netstring("no length, then a colon")),
        }
        let message = there[..digits]
            .iter()
            .fold(0, |value, digit| value * 10 + u64::from(digit - b'0'));
        let (before, most) = (digits + 1, self.codec.framing.message_bytes_max);
        let length = before as u64 + message + 1;
        if length > most {
            return Err(FramingError::TooLong { most });
        }
        Ok(self.known(there, before, length, 1))
    }

    /// A frame that ends with something, `delimiter` bytes of which are not of the message.
    fn look_for_end(&mut self, there: &[u8], delimiter: usize) -> Result<Look, FramingError> {
        let end = self.end(there)?;
        let head = self.codec.framing.head_bytes;
        let message = match end {
            Some(frame) => frame - delimiter,
            // Further on than the message could end within its head: what is known of it cannot change any more.
            None if there.len() >= head.max(1) + delimiter => head,
            None => return Ok(Look::More(there.len() + 1)),
        };
        Ok(Look::Head(Frame {
            before: 0,
            head: head.min(message),
            told: None,
            length: end.map(|frame| frame as u64),
            after: delimiter,
        }))
    }

    /// Where the frame ends that begins where `there` does; looks only at what it has not seen.
    fn end(&mut self, there: &[u8]) -> Result<Option<usize>, FramingError> {
        let end = match (&self.codec.finder, &self.codec.framing.cut) {
            (Some(finder), Cut::Delimiter(delimiter)) => {
                let from = self.searched.min(there.len());
                let found = finder.find(&there[from..]).map(|at| from + at);
                // A delimiter may have begun within the last bytes.
                let unseen = (there.len() + 1).saturating_sub(delimiter.len());
                self.searched = found.unwrap_or(unseen);
                found.map(|at| at + delimiter.len())
            }
            (_, Cut::Resp) => {
                let end = if self.scan.is_done {
                    Some(self.scan.at)
                } else {
                    self.scan.end(there)?
                };
                self.searched = self.scan.at;
                end
            }
            _ => None,
        };
        let most = self.codec.framing.message_bytes_max;
        if self.passed + end.unwrap_or(there.len()) as u64 > most {
            return Err(FramingError::TooLong { most });
        }
        Ok(end)
    }

    /// The frame's length once all of it is there.
    ///
    /// # Errors
    /// It is too long.
    pub fn whole(&mut self, there: &[u8], frame: &Frame) -> Result<Option<usize>, FramingError> {
        match frame.length {
            Some(length) => {
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                Ok((length <= there.len()).then_some(length))
            }
            None => self.end(there),
        }
    }

    /// How much of a frame of unknown length is there, for those who pass it on, or skip it; they take it out of `there`.
    ///
    /// # Errors
    /// The frame is too long.
    pub fn tail(&mut self, there: &[u8]) -> Result<Tail, FramingError> {
        let end = self.end(there)?;
        let bytes = end.unwrap_or(self.searched);
        self.passed += bytes as u64;
        self.searched -= bytes.min(self.searched);
        self.scan.at -= bytes.min(self.scan.at);
        Ok(Tail {
            bytes,
            ends: end.is_some(),
        })
    }

    /// The next message begins.
    pub fn next(&mut self) {
        self.searched = 0;
        self.scan = Scan::default();
        self.passed = 0;
    }
}
