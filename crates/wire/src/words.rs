//! Commands of RESP as lists of words, and the beginnings of its values
//! (<https://redis.io/docs/latest/develop/reference/protocol-spec/>).

/// The words of a command that is all there: an array of strings, or a line in words.
///
/// # Errors
/// Why it is none.
pub fn words(command: &[u8]) -> Result<Vec<Vec<u8>>, &'static str> {
    if command.first() != Some(&b'*') {
        return in_words(command);
    }
    let (header, mut rest) = line(command).ok_or(NO_COMMAND)?;
    let count = number(&header[1..]).ok_or(NO_COMMAND)?;
    let mut words = Vec::new();
    for _ in 0..count {
        let (word, after) = string(rest).ok_or(NO_COMMAND)?;
        words.push(word.to_vec());
        rest = after;
    }
    if words.is_empty() {
        Err("the command is empty")
    } else {
        Ok(words)
    }
}

const NO_COMMAND: &str = "a command is an array of strings";

/// A command as people type it.
fn in_words(line: &[u8]) -> Result<Vec<Vec<u8>>, &'static str> {
    if line.iter().any(|byte| matches!(byte, b'"' | b'\'')) {
        return Err("a command in words cannot have quotes here; send it as an array of strings");
    }
    let words: Vec<Vec<u8>> = line
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty())
        .map(<[u8]>::to_vec)
        .collect();
    if words.is_empty() {
        Err("the command is empty")
    } else {
        Ok(words)
    }
}

/// A command as an array of strings.
pub fn command(words: &[Vec<u8>]) -> Vec<u8> {
    let length: usize = words.iter().map(|word| word.len() + 16).sum();
    let mut bytes = Vec::with_capacity(length + 16);
    bytes.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// An error in the protocol's words; what would end it too early is left out.
pub fn error(reason: &str) -> Vec<u8> {
    let reason: String = reason
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    format!("-ERR {reason}\r\n").into_bytes()
}

/// The first strings of an array or a push, at most so many; numbers are taken as they stand.
pub fn beginning(value: &[u8], most: usize) -> Vec<&[u8]> {
    let mut found = Vec::new();
    let Some((header, mut rest)) = line(value) else {
        return found;
    };
    if !matches!(header.first(), Some(b'*' | b'>')) {
        return found;
    }
    let count = number(&header[1..]).unwrap_or(0).min(most);
    while found.len() < count {
        let next = match rest.first() {
            Some(b'$') => string(rest),
            Some(b':' | b'+' | b'_') => line(rest).map(|(line, after)| (&line[1..], after)),
            _ => None,
        };
        let Some((item, after)) = next else {
            break;
        };
        found.push(item);
        rest = after;
    }
    found
}

fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b'\n', bytes)?;
    let line = bytes[..end].strip_suffix(b"\r")?;
    (!line.is_empty()).then_some((line, &bytes[end + 1..]))
}

fn number(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// A string at the beginning; the null string is empty.
fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (header, rest) = line(bytes)?;
    let length = header.strip_prefix(b"$")?;
    if length == b"-1" {
        return Some((&[], rest));
    }
    let length = number(length)?;
    let after = rest.get(length..)?.strip_prefix(b"\r\n")?;
    Some((&rest[..length], after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_come_as_arrays_and_in_words() {
        let both = [
            &b"*2\r\n$3\r\nGET\r\n$3\r\na\nb\r\n"[..],
            b"  GET   a\r\n",
            b"GET a\n",
        ];
        let read = both.map(|command| words(command).expect("a command"));
        assert_eq!(read[0], [b"GET".to_vec(), b"a\nb".to_vec()]);
        assert_eq!(read[1], [b"GET".to_vec(), b"a".to_vec()]);
        assert_eq!(read[2], read[1]);
        assert_eq!(words(&command(&read[0])), Ok(read[0].clone()));
    }

    #[test]
    fn what_is_no_command_says_why() {
        for bytes in [
            &b"*1\r\n:1\r\n"[..],
            b"*-1\r\n",
            b"*0\r\n",
            b"\r\n",
            b"SET a \"b c\"\r\n",
            b"*2\r\n$3\r\nGET\r\n",
        ] {
            assert!(words(bytes).is_err(), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn an_error_is_one_line() {
        assert_eq!(error("no\r\n+OK\r\n"), b"-ERR no  +OK  \r\n");
    }

    #[test]
    fn the_beginning_of_a_push_is_seen() {
        let push = b">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n";
        assert_eq!(beginning(push, 3), [&b"subscribe"[..], b"a", b"1"]);
        let none = b"*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n";
        assert_eq!(beginning(none, 2), [&b"unsubscribe"[..], b""]);
        assert!(beginning(b"+OK\r\n", 2).is_empty());
    }
}
