//! Cuts a byte stream into messages, and makes frames of messages, as a service declares it (docs/reference/upgrade-file.md). No input or output
//! happens here, and no byte is copied that can stay where it is.
//!
//! A [`Codec`] is a service's framing; a [`Cutter`] follows one direction of one connection. A message is what adapters see: the frame
//! without what the framing adds. Where a header has more in it than length and checksum, it is part of the message.

mod checksum;
mod cutter;
mod error;
mod resp;
mod seal;

pub use cutter::{Cutter, Frame, Look, Tail};
pub use error::FramingError;
pub use seal::Sealed;

use checksum::{of_frame, read_number, write_number};
use memchr::memmem;
use model::bundle::{
    ChecksumPlace, Counts, Cut, Framing, HEAD_BYTES, LengthField, MESSAGE_BYTES_MAX,
};
use std::ops::Range;

/// A service's framing, ready for use.
#[derive(Debug)]
pub struct Codec {
    framing: Framing,
    /// Finds the delimiter, where there is one.
    finder: Option<memmem::Finder<'static>>,
}

impl PartialEq for Codec {
    fn eq(&self, other: &Self) -> bool {
        self.framing == other.framing
    }
}

impl Codec {
    /// Of a service's declaration.
    pub fn new(framing: Framing) -> Self {
        let finder = match &framing.cut {
            Cut::Delimiter(delimiter) => Some(memmem::Finder::new(delimiter).into_owned()),
            _ => None,
        };
        Self { framing, finder }
    }

    /// Of RESP, which declares nothing.
    pub fn resp() -> Self {
        Self::new(Framing {
            cut: Cut::Resp,
            head_bytes: HEAD_BYTES,
            message_bytes_max: MESSAGE_BYTES_MAX,
        })
    }

    /// The declaration.
    pub fn framing(&self) -> &Framing {
        &self.framing
    }

    /// How long a message's head is, given the message's length.
    fn head_of(&self, message: u64) -> usize {
        let message = usize::try_from(message).unwrap_or(usize::MAX);
        self.framing.head_bytes.min(message)
    }

    /// The head of a message that is all there, as an adapter is shown it, and the length that it is told.
    pub fn head<'m>(&self, message: &'m [u8]) -> (&'m [u8], Option<u64>) {
        let length = message.len() as u64;
        (&message[..self.head_of(length)], self.told(length))
    }

    /// The length that adapters are told: only where the stream says it before the message.
    fn told(&self, length: u64) -> Option<u64> {
        match self.framing.cut {
            Cut::Length(_) | Cut::Netstring => Some(length),
            Cut::Delimiter(_) | Cut::Resp | Cut::Raw => None,
        }
    }

    /// Whether a frame's last bytes show that its length was right.
    pub fn shows_its_end(&self) -> bool {
        self.framing.cut == Cut::Netstring
    }

    /// Looks at a frame's last bytes, where they show something.
    ///
    /// # Errors
    /// They are others than they must be.
    pub fn check_end(&self, end: &[u8]) -> Result<(), FramingError> {
        if self.shows_its_end() && !end.ends_with(b",") {
            Err(FramingError::Netstring("no comma after the message"))
        } else {
            Ok(())
        }
    }

    /// Where the message lies in a frame that is all there.
    ///
    /// # Errors
    /// The frame is damaged.
    pub fn open(&self, frame: &[u8]) -> Result<Range<usize>, FramingError> {
        match &self.framing.cut {
            Cut::Length(field) => {
                check(field, frame)?;
                let end = frame.len() - field.trailer_bytes();
                Ok(before(field)..end)
            }
            Cut::Delimiter(delimiter) => Ok(0..frame.len() - delimiter.len()),
            Cut::Netstring => {
                let Some((b',', digits)) = frame.split_last().map(|(last, rest)| (*last, rest))
                else {
                    return Err(FramingError::Netstring("no comma after the message"));
                };
                let colon = memchr::memchr(b':', digits).unwrap_or(0);
                Ok(colon + 1..digits.len())
            }
            Cut::Resp | Cut::Raw => Ok(0..frame.len()),
        }
    }
}

/// The bytes of a frame that come before what adapters see.
fn before(field: &LengthField) -> usize {
    if field.header_is_framing() {
        field.header_bytes
    } else {
        0
    }
}

/// The length of a frame whose header is there.
fn frame_length(field: &LengthField, header: &[u8], most: u64) -> Result<u64, FramingError> {
    let said = read_number(
        &header[field.offset..field.offset + field.bytes],
        field.order,
    );
    let least = (field.header_bytes + field.trailer_bytes()) as u64;
    let counted_before = match field.counts {
        Counts::All => 0,
        Counts::Rest => (field.offset + field.bytes) as u64,
        Counts::Body => least,
    };
    match said.checked_add(counted_before) {
        Some(length) if length < least => Err(FramingError::TooShort { length: said }),
        Some(length) if length <= most => Ok(length),
        _ => Err(FramingError::TooLong { most }),
    }
}

/// What a frame of this length says in its length field.
fn length_to_say(field: &LengthField, frame: u64) -> Result<u64, FramingError> {
    let uncounted = match field.counts {
        Counts::All => 0,
        Counts::Rest => field.offset + field.bytes,
        Counts::Body => field.header_bytes + field.trailer_bytes(),
    };
    let length = frame - uncounted as u64;
    if field.bytes < 8 && length >> (8 * field.bytes) != 0 {
        return Err(FramingError::DoesNotFit { length });
    }
    Ok(length)
}

fn check(field: &LengthField, frame: &[u8]) -> Result<(), FramingError> {
    let Some(checksum) = &field.checksum else {
        return Ok(());
    };
    let at = match checksum.place {
        ChecksumPlace::Header(at) => at,
        ChecksumPlace::End => frame.len() - checksum.kind.bytes(),
    };
    let said = read_number(&frame[at..at + checksum.kind.bytes()], checksum.order);
    if said == of_frame(field, checksum, &[frame]) {
        Ok(())
    } else {
        Err(FramingError::Checksum)
    }
}
