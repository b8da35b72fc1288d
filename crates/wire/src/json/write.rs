//! JSON to bytes, compact.

use super::Json;
use super::scan::plain_length;

const HEX: &[u8; 16] = b"0123456789abcdef";

impl Json {
    /// Appends the value as compact JSON.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Bool(true) => out.extend_from_slice(b"true"),
            Self::Bool(false) => out.extend_from_slice(b"false"),
            Self::Integer(value) => write_integer(*value, out),
            Self::Number(text) => out.extend_from_slice(text.as_bytes()),
            Self::String(text) => write_string(text, out),
            Self::Array(items) => {
                out.push(b'[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    item.write(out);
                }
                out.push(b']');
            }
            Self::Object(members) => {
                out.push(b'{');
                for (index, (name, value)) in members.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    write_string(name, out);
                    out.push(b':');
                    value.write(out);
                }
                out.push(b'}');
            }
            Self::Undecoded(undecoded) => out.extend_from_slice(undecoded.text()),
        }
    }

    /// About how long the value is when it is written: at least what its undecoded parts and its texts need.
    pub fn length_hint(&self) -> usize {
        match self {
            Self::Null | Self::Bool(_) => 6,
            Self::Integer(_) => 12,
            Self::Number(text) => text.len() + 1,
            Self::String(text) => text.len() + 3,
            Self::Array(items) => 2 + items.iter().map(Self::length_hint).sum::<usize>(),
            Self::Object(members) => {
                let lengths = members
                    .iter()
                    .map(|(name, value)| name.len() + 4 + value.length_hint());
                2 + lengths.sum::<usize>()
            }
            Self::Undecoded(undecoded) => undecoded.text().len() + 1,
        }
    }
}

fn write_integer(value: i64, out: &mut Vec<u8>) {
    let mut digits = [0u8; 20];
    let mut start = digits.len();
    let mut rest = value.unsigned_abs();
    loop {
        start -= 1;
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[start..]);
}

fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    loop {
        let (plain, after) = rest.split_at(plain_length(rest));
        out.extend_from_slice(plain);
        let Some((&special, after)) = after.split_first() else {
            break;
        };
        write_escaped(special, out);
        rest = after;
    }
    out.push(b'"');
}

fn write_escaped(byte: u8, out: &mut Vec<u8>) {
    match byte {
        b'"' => out.extend_from_slice(b"\\\""),
        b'\\' => out.extend_from_slice(b"\\\\"),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        _ => {
            out.extend_from_slice(b"\\u00");
            out.push(HEX[usize::from(byte >> 4)]);
            out.push(HEX[usize::from(byte & 15)]);
        }
    }
}
