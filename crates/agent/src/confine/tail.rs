//! The end of a text of any length.

use std::collections::VecDeque;

/// Keeps the last bytes of what it is given.
#[derive(Debug)]
pub(super) struct OutputTail {
    bytes: VecDeque<u8>,
    limit: usize,
    cut: bool,
}

impl OutputTail {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            bytes: VecDeque::with_capacity(limit),
            limit,
            cut: false,
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        let kept = &bytes[bytes.len().saturating_sub(self.limit)..];
        let over = (self.bytes.len() + kept.len()).saturating_sub(self.limit);
        self.cut |= over > 0 || kept.len() < bytes.len();
        self.bytes.drain(..over);
        self.bytes.extend(kept);
    }

    /// The text; where its beginning is missing, from the first whole line on. It becomes part of journal records and
    /// terminals' screens: what no text holds is marked.
    pub(super) fn text(self) -> String {
        let bytes: Vec<u8> = self.bytes.into();
        let text = String::from_utf8_lossy(&bytes);
        let is_none = |letter: char| letter.is_control() && !matches!(letter, '\n' | '\t');
        let text = text.replace(is_none, "\u{fffd}");
        match text.split_once('\n') {
            Some((_, rest)) if self.cut && !rest.is_empty() => format!("...\n{rest}"),
            _ => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::OutputTail;

    fn tail(limit: usize, pieces: &[&str]) -> String {
        let mut tail = OutputTail::new(limit);
        for piece in pieces {
            tail.push(piece.as_bytes());
        }
        tail.text()
    }

    #[test]
    fn a_short_text_stays_whole_and_a_long_one_loses_its_first_lines() {
        assert_eq!(tail(16, &["one\n", "two\n"]), "one\ntwo\n");
        assert_eq!(tail(8, &["one\n", "two\n", "3\n"]), "...\ntwo\n3\n");
        assert_eq!(tail(4, &["a long line without an end"]), " end");
        assert_eq!(tail(4, &["12", "345"]), "2345");
    }

    #[test]
    fn what_no_text_holds_is_marked() {
        assert_eq!(tail(8, &["a\0\x1b[1m\tb"]), "a\u{fffd}\u{fffd}[1m\tb");
    }
}
