//! How far the characters of a string stand for themselves, eight bytes at a time.

const ONES: u64 = u64::MAX / 255;
const HIGHS: u64 = ONES * 0x80;

/// Number of bytes before the first one that a JSON string cannot hold as it is: a quote, a
/// backslash, a control character.
pub(super) fn plain_length(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let special = special(u64::from_le_bytes(*word));
        if special != 0 {
            return index * 8 + special.trailing_zeros() as usize / 8;
        }
    }
    let found = rest.iter().position(|byte| is_special(*byte));
    words.len() * 8 + found.unwrap_or(rest.len())
}

fn is_special(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// The highest bit of each byte that is special; behind the first of them others may be marked too.
/// "Determine if a word has a byte less than n" and "a zero byte" (Sean Eron Anderson, Bit Twiddling Hacks).
fn special(word: u64) -> u64 {
    let zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    let quote = zero(word ^ (ONES * b'"' as u64));
    let backslash = zero(word ^ (ONES * b'\\' as u64));
    (control | quote | backslash) & HIGHS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_special_byte_is_found_wherever_it_stands() {
        for length in 0..40 {
            for special in [b'"', b'\\', 0, 0x1f] {
                for at in 0..length {
                    for plain in [b'a', b' ', b'!', b'#', b'[', b']', 0x7f, 0x80, 0xff] {
                        let mut bytes = vec![plain; length];
                        assert_eq!(plain_length(&bytes), length);
                        bytes[at] = special;
                        bytes[length - 1] = special;
                        assert_eq!(plain_length(&bytes), at, "{bytes:?}");
                    }
                }
            }
        }
    }
}
