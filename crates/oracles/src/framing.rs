//! Framing against a reference that is slow and obviously right: it looks at a whole stream at once, byte by byte, and never goes back.

use model::bundle::{
    ByteOrder, Checksum, ChecksumKind, ChecksumPlace, Counts, Covers, Cut, Framing, LengthField,
};
use std::sync::Arc;
use wire::framing::{Codec, Cutter, FramingError, Look};

/// The longest message here: small, so that limits are met.
const MESSAGE_BYTES_MAX: u64 = 300;

/// A message as adapters see it: its head, and all of it.
pub type Message = (Vec<u8>, Vec<u8>);

/// The first bytes say how the rest is framed and cut into pieces.
pub fn check(input: &[u8]) {
    let Some((setup, stream)) = input.split_at_checked(8) else {
        return;
    };
    let Some(framing) = framing(setup) else {
        return;
    };
    let expected = reference(&framing, stream);
    let codec = Arc::new(Codec::new(framing));
    for piece in [usize::from(setup[7]).max(1), 1, usize::MAX] {
        let found = cut(&codec, stream, piece);
        assert_eq!(found.0, expected.0, "in pieces of {piece}: {codec:?}");
        if codec.framing().cut == Cut::Resp {
            // Of several things that are wrong with a value, which is met first depends on the pieces.
            assert_eq!(
                found.1.is_some(),
                expected.1.is_some(),
                "in pieces of {piece}"
            );
        } else {
            assert_eq!(found.1, expected.1, "in pieces of {piece}: {codec:?}");
        }
        let streamed = stream_through(&codec, stream, piece);
        if expected.1.is_none() {
            assert_eq!(streamed, stream, "as a stream in pieces of {piece}");
        }
    }
    for (_, message) in expected.0 {
        round_trip(&codec, message);
    }
    round_trip(&codec, stream.to_vec());
}

/// A framing that the upgrade file could declare.
pub fn framing(setup: &[u8]) -> Option<Framing> {
    let order = |bit: u8| {
        if setup[1] >> bit & 1 == 0 {
            ByteOrder::Big
        } else {
            ByteOrder::Little
        }
    };
    let cut = match setup[0] % 5 {
        0 => {
            let (offset, bytes) = (usize::from(setup[2] % 5), usize::from(setup[3] % 8) + 1);
            let mut field = LengthField {
                offset,
                bytes,
                order: order(0),
                counts: [Counts::All, Counts::Rest, Counts::Body][usize::from(setup[1] >> 4) % 3],
                header_bytes: offset + bytes + usize::from(setup[4] % 4),
                checksum: None,
            };
            field.checksum = checksum(setup, &mut field, order(1));
            Cut::Length(field)
        }
        1 => {
            Cut::Delimiter([&b"\n"[..], b"\r\n", b"aba", b"aa"][usize::from(setup[2] % 4)].to_vec())
        }
        2 => Cut::Netstring,
        3 => Cut::Resp,
        _ => return None,
    };
    let least = match &cut {
        Cut::Length(field) if !field.header_is_framing() => field.header_bytes,
        _ => 0,
    };
    Some(Framing {
        cut,
        head_bytes: usize::from(setup[6] % 40).max(least),
        message_bytes_max: MESSAGE_BYTES_MAX,
    })
}

fn checksum(setup: &[u8], field: &mut LengthField, order: ByteOrder) -> Option<Checksum> {
    let kind = match setup[5] % 8 {
        0 => ChecksumKind::Crc32,
        1 => ChecksumKind::Crc32c,
        2 => ChecksumKind::Crc16Xmodem,
        3 => ChecksumKind::Crc64Redis,
        _ => return None,
    };
    let place = if setup[5] & 8 == 0 {
        ChecksumPlace::End
    } else {
        let at = field.offset + field.bytes;
        field.header_bytes = field.header_bytes.max(at + kind.bytes());
        ChecksumPlace::Header(at)
    };
    let covers = if setup[5] & 16 == 0 {
        Covers::All
    } else {
        Covers::Body
    };
    Some(Checksum {
        kind,
        place,
        order,
        covers,
    })
}

/// All messages of a stream, and what is wrong where they stop.
pub fn reference(framing: &Framing, stream: &[u8]) -> (Vec<Message>, Option<FramingError>) {
    let (mut messages, mut left) = (Vec::new(), stream);
    while !left.is_empty() {
        match one(framing, left) {
            Ok((length, message)) => {
                let head = message[..message.len().min(framing.head_bytes)].to_vec();
                messages.push((head, message));
                left = &left[length..];
            }
            Err(error) => return (messages, Some(error)),
        }
    }
    (messages, None)
}

/// The first frame's length, and its message.
fn one(framing: &Framing, there: &[u8]) -> Result<(usize, Vec<u8>), FramingError> {
    let most = framing.message_bytes_max;
    let too_long = Err(FramingError::TooLong { most });
    match &framing.cut {
        Cut::Delimiter(delimiter) => {
            let end = (0..there.len()).find(|at| there[*at..].starts_with(delimiter));
            match end {
                Some(end) if (end + delimiter.len()) as u64 <= most => {
                    Ok((end + delimiter.len(), there[..end].to_vec()))
                }
                Some(_) => too_long,
                None if there.len() as u64 > most => too_long,
                None => Err(FramingError::Truncated),
            }
        }
        Cut::Netstring => netstring(there, most),
        Cut::Resp => match value(there, 0)? {
            length if length as u64 > most => too_long,
            length => Ok((length, there[..length].to_vec())),
        },
        Cut::Raw => Ok((there.len(), there.to_vec())),
        Cut::Length(field) => by_length(field, there, most),
    }
}

/// The length of the value that stands at the beginning.
fn value(there: &[u8], depth: usize) -> Result<usize, FramingError> {
    let Some(line) = there
        .iter()
        .position(|byte| *byte == b'\n')
        .map(|at| at + 1)
    else {
        return Err(FramingError::Truncated);
    };
    let text = &there[..line];
    let damaged = Err(FramingError::Resp(""));
    if !b"+-:_#,($!=*~>%|".contains(&there[0]) {
        return if depth == 0 { Ok(line) } else { damaged };
    }
    if text.len() < 3 || text[text.len() - 2] != b'\r' {
        return damaged;
    }
    let said = std::str::from_utf8(&text[1..text.len() - 2]).unwrap_or("?");
    if b"+-:_#,(".contains(&there[0]) || said == "-1" {
        return Ok(line);
    }
    let Some(length) = said.parse::<u64>().ok().filter(|_| !said.starts_with('+')) else {
        return damaged;
    };
    if b"$!=".contains(&there[0]) {
        let end = (line as u64).saturating_add(length).saturating_add(2);
        let Some(end) = usize::try_from(end).ok().filter(|end| *end <= there.len()) else {
            return Err(FramingError::Truncated);
        };
        return if there[..end].ends_with(b"\r\n") {
            Ok(end)
        } else {
            damaged
        };
    }
    let values = match there[0] {
        b'%' | b'|' => length.saturating_mul(2),
        _ => length,
    };
    if values == 0 && there[0] != b'|' {
        return Ok(line);
    }
    if values > 0 && depth == 64 {
        return damaged;
    }
    let mut at = line;
    for _ in 0..values {
        at += value(&there[at..], depth + 1)?;
    }
    if there[0] == b'|' {
        at += value(&there[at..], depth.max(usize::from(depth > 0)))?;
    }
    Ok(at)
}

fn netstring(there: &[u8], most: u64) -> Result<(usize, Vec<u8>), FramingError> {
    let mut length: u64 = 0;
    for (at, byte) in there.iter().enumerate() {
        match byte {
            b'0'..=b'9' => {
                if at == 13 {
                    return Err(FramingError::TooLong { most });
                }
                if at > 0 && there[0] == b'0' {
                    return Err(FramingError::Netstring("its length begins with 0"));
                }
                length = length * 10 + u64::from(byte - b'0');
            }
            b':' if at > 0 => {
                let frame = at as u64 + 1 + length + 1;
                if frame > most {
                    return Err(FramingError::TooLong { most });
                }
                let Some(frame) = there.get(..frame as usize) else {
                    return Err(FramingError::Truncated);
                };
                if frame[frame.len() - 1] != b',' {
                    return Err(FramingError::Netstring("no comma after the message"));
                }
                return Ok((frame.len(), frame[at + 1..frame.len() - 1].to_vec()));
            }
            _ => return Err(FramingError::Netstring("no length, then a colon")),
        }
    }
    Err(FramingError::Truncated)
}

fn by_length(
    field: &LengthField,
    there: &[u8],
    most: u64,
) -> Result<(usize, Vec<u8>), FramingError> {
    if there.len() < field.header_bytes {
        return Err(FramingError::Truncated);
    }
    let said = number(&there[field.offset..][..field.bytes], field.order);
    let trailer = field.trailer_bytes();
    let frame = u128::from(said)
        + match field.counts {
            Counts::All => 0,
            Counts::Rest => field.offset + field.bytes,
            Counts::Body => field.header_bytes + trailer,
        } as u128;
    if frame > u128::from(most) {
        return Err(FramingError::TooLong { most });
    }
    let frame = frame as usize;
    if frame < field.header_bytes + trailer {
        return Err(FramingError::TooShort { length: said });
    }
    let Some(frame) = there.get(..frame) else {
        return Err(FramingError::Truncated);
    };
    if let Some(checksum) = &field.checksum {
        let (at, width) = (checksum.place, checksum.kind.bytes());
        let (covered, at) = match at {
            ChecksumPlace::End => (frame[..frame.len() - width].to_vec(), frame.len() - width),
            ChecksumPlace::Header(at) => {
                let mut covered = frame.to_vec();
                covered[at..at + width].fill(0);
                (covered, at)
            }
        };
        let covered = match checksum.covers {
            Covers::All => &covered[..],
            Covers::Body => &covered[field.header_bytes..],
        };
        if number(&frame[at..at + width], checksum.order) != crc(checksum.kind, covered) {
            return Err(FramingError::Checksum);
        }
    }
    let begin = if field.header_is_framing() {
        field.header_bytes
    } else {
        0
    };
    Ok((frame.len(), frame[begin..frame.len() - trailer].to_vec()))
}

fn number(bytes: &[u8], order: ByteOrder) -> u64 {
    let mut value = 0;
    for at in 0..bytes.len() {
        let at = match order {
            ByteOrder::Big => at,
            ByteOrder::Little => bytes.len() - 1 - at,
        };
        value = value * 256 + u64::from(bytes[at]);
    }
    value
}

/// Bit by bit, as the catalogue of parametrised CRC algorithms defines them (<https://reveng.sourceforge.io/crc-catalogue/>).
fn crc(kind: ChecksumKind, bytes: &[u8]) -> u64 {
    match kind {
        ChecksumKind::Crc16Xmodem => {
            let mut rest: u16 = 0;
            for byte in bytes {
                rest ^= u16::from(*byte) << 8;
                for _ in 0..8 {
                    rest = if rest >> 15 == 1 {
                        rest << 1 ^ 0x1021
                    } else {
                        rest << 1
                    };
                }
            }
            u64::from(rest)
        }
        ChecksumKind::Crc32 => reflected(bytes, 0xedb8_8320, 0xffff_ffff, 0xffff_ffff),
        ChecksumKind::Crc32c => reflected(bytes, 0x82f6_3b78, 0xffff_ffff, 0xffff_ffff),
        ChecksumKind::Crc64Redis => reflected(bytes, 0x95ac_9329_ac4b_c9b5, 0, 0),
    }
}

fn reflected(bytes: &[u8], polynomial: u64, first: u64, last: u64) -> u64 {
    let mut rest = first;
    for byte in bytes {
        rest ^= u64::from(*byte);
        for _ in 0..8 {
            rest = if rest & 1 == 1 {
                rest >> 1 ^ polynomial
            } else {
                rest >> 1
            };
        }
    }
    rest ^ last
}

/// All messages of a stream that comes in pieces, and what is wrong where they stop.
pub fn cut(
    codec: &Arc<Codec>,
    stream: &[u8],
    piece: usize,
) -> (Vec<Message>, Option<FramingError>) {
    let mut messages = Vec::new();
    let error = each(codec, stream, piece, |cutter, buffer| {
        let frame = match cutter.look(buffer)? {
            Look::More(wanted) => {
                assert!(wanted > buffer.len());
                return Ok(0);
            }
            Look::Head(frame) => frame,
        };
        assert!(
            frame
                .length
                .is_none_or(|length| length <= MESSAGE_BYTES_MAX)
        );
        let head = buffer[frame.before..frame.before + frame.head].to_vec();
        let Some(length) = cutter.whole(buffer, &frame)? else {
            return Ok(0);
        };
        let message = buffer[codec.open(&buffer[..length])?].to_vec();
        if let Some(told) = frame.told {
            assert_eq!(told, message.len() as u64);
        }
        messages.push((head, message));
        cutter.next();
        Ok(length)
    });
    (messages, error)
}

/// Passes a stream on in pieces as a session does with messages whose end it does not know; returns what was passed.
fn stream_through(codec: &Arc<Codec>, stream: &[u8], piece: usize) -> Vec<u8> {
    let (mut passed, mut within) = (Vec::new(), false);
    let delimited = matches!(codec.framing().cut, Cut::Delimiter(_) | Cut::Resp);
    // Errors come where `cut` has them.
    let _ = each(codec, stream, piece, |cutter, buffer| {
        let taken = if within {
            let tail = cutter.tail(buffer)?;
            within = !tail.ends;
            tail.bytes
        } else {
            let Look::Head(frame) = cutter.look(buffer)? else {
                return Ok(0);
            };
            if delimited {
                within = true;
                let tail = cutter.tail(buffer)?;
                within = !tail.ends;
                tail.bytes
            } else {
                cutter.whole(buffer, &frame)?.unwrap_or(0)
            }
        };
        passed.extend_from_slice(&buffer[..taken]);
        if !within {
            cutter.next();
        }
        Ok(taken)
    });
    passed
}

/// Gives a stream to `take` in pieces; it says how much it has taken. An error, or an end within a message, is returned.
fn each(
    codec: &Arc<Codec>,
    stream: &[u8],
    piece: usize,
    mut take: impl FnMut(&mut Cutter, &[u8]) -> Result<usize, FramingError>,
) -> Option<FramingError> {
    let mut cutter = Cutter::new(codec.clone());
    let (mut buffer, mut left) = (Vec::new(), stream);
    loop {
        loop {
            match take(&mut cutter, &buffer) {
                Ok(0) => break,
                Ok(taken) => drop(buffer.drain(..taken)),
                Err(error) => return Some(error),
            }
        }
        if left.is_empty() {
            return (!buffer.is_empty()).then_some(FramingError::Truncated);
        }
        let (now, later) = left.split_at(piece.min(left.len()));
        buffer.extend_from_slice(now);
        left = later;
    }
}

/// What is sealed is read as the same message again.
fn round_trip(codec: &Arc<Codec>, message: Vec<u8>) {
    let Ok(sealed) = codec.seal(message.clone()) else {
        return;
    };
    let frame = sealed.concat();
    let (messages, error) = reference(codec.framing(), &frame);
    assert_eq!(error, None, "{codec:?}");
    let [(_, again)] = &messages[..] else {
        panic!("{} messages of one: {codec:?}", messages.len());
    };
    let own = match &codec.framing().cut {
        // Length and checksum are written anew where adapters see them.
        Cut::Length(field) if !field.header_is_framing() => field.header_bytes,
        _ => 0,
    };
    assert_eq!(again.len(), message.len());
    assert_eq!(again[own..], message[own..]);
    if codec.streams_new_heads() {
        begin_agrees(codec, &message, &frame);
    }
}

/// A frame that begins before its body is there begins as the whole one does.
fn begin_agrees(codec: &Codec, message: &[u8], frame: &[u8]) {
    let head = message.len().min(codec.framing().head_bytes);
    let rest = (message.len() - head) as u64;
    let begun = codec.begin(message[..head].to_vec(), rest);
    let begun = begun.expect("as the whole message").concat();
    assert!(frame.starts_with(&begun), "{codec:?}");
}
