//! Makes frames of messages.

use super::resp::Scan;
use super::{Codec, FramingError, before as before_message, length_to_say, of_frame, write_number};
use bytes::Bytes;
use model::bundle::{ChecksumPlace, Cut, LengthField};

/// A message in its frame; written one after the other, the parts are the frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sealed {
    /// What comes before the message.
    pub before: Bytes,
    /// The message, with what its header says of itself brought up to date.
    pub message: Bytes,
    /// What comes after it.
    pub after: Bytes,
}

impl Sealed {
    /// The frame's length in bytes.
    pub fn len(&self) -> usize {
        self.before.len() + self.message.len() + self.after.len()
    }

    /// Whether nothing is to be written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The frame in one piece.
    pub fn concat(&self) -> Vec<u8> {
        [&self.before[..], &self.message, &self.after].concat()
    }
}

impl Codec {
    /// Makes a frame of a message; the message itself is not copied.
    ///
    /// # Errors
    /// The message cannot be framed so.
    pub fn seal(&self, message: Vec<u8>) -> Result<Sealed, FramingError> {
        let sealed = match &self.framing.cut {
            Cut::Length(field) => seal_length(field, message)?,
            Cut::Delimiter(delimiter) => {
                self.check_free(&message)?;
                Sealed {
                    before: Bytes::new(),
                    message: message.into(),
                    after: Bytes::copy_from_slice(delimiter),
                }
            }
            Cut::Netstring => Sealed {
                before: format!("{}:", message.len()).into(),
                message: message.into(),
                after: Bytes::from_static(b","),
            },
            Cut::Resp => {
                check_value(&message)?;
                Sealed {
                    message: message.into(),
                    ..Sealed::default()
                }
            }
            Cut::Raw => Sealed {
                message: message.into(),
                ..Sealed::default()
            },
        };
        let most = self.framing.message_bytes_max;
        if sealed.len() as u64 > most {
            return Err(FramingError::TooLong { most });
        }
        Ok(sealed)
    }

    /// A delimited message must not hold its delimiter, nor begin one that what follows would complete.
    fn check_free(&self, message: &[u8]) -> Result<(), FramingError> {
        let (Some(finder), Cut::Delimiter(delimiter)) = (&self.finder, &self.framing.cut) else {
            return Ok(());
        };
        // With the delimiter behind it, the first one found must be that one.
        let overlap = message.len().saturating_sub(delimiter.len() - 1);
        let seam = [&message[overlap..], delimiter].concat();
        let at_seam = finder.find(&seam).map(|at| overlap + at);
        if finder.find(message).is_some() || at_seam != Some(message.len()) {
            return Err(FramingError::Delimiter);
        }
        Ok(())
    }

    /// Whether a message may get another head while its body streams through: not where a checksum covers both.
    pub fn streams_new_heads(&self) -> bool {
        match &self.framing.cut {
            Cut::Length(field) => field.checksum.is_none(),
            // What the body begins with could make a delimiter of the head's end.
            Cut::Delimiter(delimiter) => delimiter.len() == 1,
            Cut::Netstring | Cut::Raw => true,
            // Nobody knows how the value goes on.
            Cut::Resp => false,
        }
    }

    /// The beginning of a frame whose message has this head and then `rest` bytes more, where a frame says its length, of which
    /// nothing has arrived yet; only where [`Codec::streams_new_heads`].
    ///
    /// # Errors
    /// The message cannot be framed so.
    pub fn begin(&self, head: Vec<u8>, rest: u64) -> Result<Sealed, FramingError> {
        let message = head.len() as u64 + rest;
        let (mut before, mut head) = (Vec::new(), head);
        let length = match &self.framing.cut {
            Cut::Length(field) => {
                before.resize(before_message(field), 0);
                let frame = before.len() as u64 + message + field.trailer_bytes() as u64;
                let header = if before.is_empty() {
                    &mut head
                } else {
                    &mut before
                };
                say_length(field, header, frame)?;
                frame
            }
            Cut::Netstring => {
                before = format!("{message}:").into();
                before.len() as u64 + message + 1
            }
            Cut::Delimiter(delimiter) => {
                self.check_free(&head)?;
                message + delimiter.len() as u64
            }
            Cut::Resp | Cut::Raw => message,
        };
        let most = self.framing.message_bytes_max;
        if length > most {
            return Err(FramingError::TooLong { most });
        }
        Ok(Sealed {
            before: before.into(),
            message: head.into(),
            after: Bytes::new(),
        })
    }
}

/// A message must be one value, no less and no more.
fn check_value(message: &[u8]) -> Result<(), FramingError> {
    match Scan::default().end(message)? {
        Some(end) if end == message.len() => Ok(()),
        Some(_) => Err(FramingError::Resp("a message is more than one value")),
        None => Err(FramingError::Truncated),
    }
}

/// Writes the length into a header, which is the message's own beginning where adapters see it.
fn say_length(field: &LengthField, header: &mut [u8], frame: u64) -> Result<(), FramingError> {
    if header.len() < field.header_bytes {
        return Err(FramingError::NoHeader {
            length: header.len() as u64,
            header: field.header_bytes,
        });
    }
    let length = length_to_say(field, frame)?;
    let place = field.offset..field.offset + field.bytes;
    write_number(&mut header[place], length, field.order);
    Ok(())
}

fn seal_length(field: &LengthField, message: Vec<u8>) -> Result<Sealed, FramingError> {
    let mut before = vec![0; before_message(field)];
    let mut after = vec![0; field.trailer_bytes()];
    let mut message = message;
    let frame = before.len() + message.len() + after.len();
    let header = if before.is_empty() {
        &mut message
    } else {
        &mut before
    };
    say_length(field, header, frame as u64)?;
    if let Some(checksum) = &field.checksum {
        let sum = of_frame(field, checksum, &[&before, &message, &after]);
        let place = match checksum.place {
            ChecksumPlace::End => &mut after[..],
            ChecksumPlace::Header(at) => {
                let header = if before.is_empty() {
                    &mut message
                } else {
                    &mut before
                };
                &mut header[at..at + checksum.kind.bytes()]
            }
        };
        write_number(place, sum, checksum.order);
    }
    Ok(Sealed {
        before: before.into(),
        message: message.into(),
        after: after.into(),
    })
}
