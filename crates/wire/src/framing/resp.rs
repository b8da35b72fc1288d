//! Where a value of RESP ends, the protocol of Redis in its versions 2 and 3
//! (<https://redis.io/docs/latest/develop/reference/protocol-spec/>). A command is such a value, or a line of words; a push is one too.
//! Not a client library: those decode values that are there, and this has to say, piece by piece, where one ends.

use super::FramingError;

/// The deepest nesting of a value. Redis itself sends no more than a dozen levels.
const DEPTH_MAX: usize = 64;

/// The longest line of a value, in bytes: Redis takes no longer one (`PROTO_INLINE_MAX_SIZE`).
const LINE_BYTES_MAX: usize = 64 * 1024;

/// Follows one value, whose pieces it looks at once.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// How much of what is there has been understood.
    pub(super) at: usize,
    /// That was all of the value.
    pub(super) is_done: bool,
    /// How much of the next line is known to hold no end.
    searched: usize,
    /// What is open around what comes next, the outermost first.
    open: Vec<Level>,
    next: RespNext,
}

/// What comes next.
#[derive(Debug, Default)]
enum RespNext {
    /// A line that says what kind of value begins.
    #[default]
    Line,
    /// So many bytes of a string.
    Bytes(u64),
    /// The line end after a string.
    StringEnd,
}

/// A collection that is not complete.
#[derive(Debug)]
struct Level {
    /// Values that are still to come.
    left: u64,
    /// It only describes the value that follows it.
    is_attribute: bool,
}

fn damaged<T>(what: &'static str) -> Result<T, FramingError> {
    Err(FramingError::Resp(what))
}

impl Scan {
    /// Goes on; says where the value ends once that is there.
    pub(super) fn end(&mut self, there: &[u8]) -> Result<Option<usize>, FramingError> {
        loop {
            let rest = &there[self.at..];
            let is_complete = match self.next {
                RespNext::Line => {
                    let Some(length) = self.line(rest)? else {
                        return Ok(None);
                    };
                    let is_complete = self.begin(&rest[..length])?;
                    self.at += length;
                    is_complete
                }
                RespNext::Bytes(left) => {
                    let now = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    self.at += now;
                    let left = left - now as u64;
                    if left > 0 {
                        self.next = RespNext::Bytes(left);
                        return Ok(None);
                    }
                    self.next = RespNext::StringEnd;
                    false
                }
                RespNext::StringEnd => {
                    if rest.len() < 2 {
                        return Ok(None);
                    }
                    if !rest.starts_with(b"\r\n") {
                        return damaged("a string does not end where it says");
                    }
                    self.at += 2;
                    self.next = RespNext::Line;
                    true
                }
            };
            if is_complete && self.complete() {
                self.is_done = true;
                return Ok(Some(self.at));
            }
        }
    }

    /// The length of the line that begins here, its end included.
    fn line(&mut self, rest: &[u8]) -> Result<Option<usize>, FramingError> {
        let found = memchr::memchr(b'\n', &rest[self.searched..]);
        let length = found.map_or(rest.len(), |at| self.searched + at + 1);
        if length > LINE_BYTES_MAX {
            return damaged("a line is too long");
        }
        match found {
            None => {
                self.searched = rest.len();
                Ok(None)
            }
            Some(_) => {
                self.searched = 0;
                Ok(Some(length))
            }
        }
    }

    /// Takes a line; says whether a value is complete with it.
    fn begin(&mut self, line: &[u8]) -> Result<bool, FramingError> {
        let is_string = matches!(line[0], b'$' | b'!' | b'=');
        let is_collection = matches!(line[0], b'*' | b'~' | b'>' | b'%' | b'|');
        let is_simple = matches!(line[0], b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(');
        let [kind, said @ .., b'\r', b'\n'] = line else {
            // Redis takes commands in words with either line end.
            return if self.open.is_empty() && !(is_string || is_collection || is_simple) {
                Ok(true)
            } else {
                damaged("a line does not end with CR LF")
            };
        };
        if is_string {
            match length(said)? {
                None => return Ok(true),
                Some(bytes) => self.next = RespNext::Bytes(bytes),
            }
            return Ok(false);
        }
        if is_collection {
            let Some(values) = length(said)? else {
                return Ok(true);
            };
            let is_attribute = *kind == b'|';
            let left = match kind {
                b'%' | b'|' => values.checked_mul(2),
                _ => Some(values),
            };
            let Some(left) = left else {
                return damaged("a collection is too long");
            };
            if left == 0 {
                return Ok(!is_attribute);
            }
            if self.open.len() == DEPTH_MAX {
                return damaged("values are nested too deep");
            }
            self.open.push(Level { left, is_attribute });
            return Ok(false);
        }
        if is_simple || self.open.is_empty() {
            Ok(true)
        } else {
            damaged("a value of no known kind")
        }
    }

    /// A value is complete, and with it perhaps those around it; says whether the outermost is.
    fn complete(&mut self) -> bool {
        while let Some(level) = self.open.last_mut() {
            level.left -= 1;
            if level.left > 0 {
                return false;
            }
            let is_attribute = level.is_attribute;
            self.open.pop();
            if is_attribute {
                // The value that it describes follows.
                return false;
            }
        }
        true
    }
}

/// A length; none for what is null.
fn length(said: &[u8]) -> Result<Option<u64>, FramingError> {
    if said == b"-1" {
        return Ok(None);
    }
    // Streamed strings and collections (`?`) are in the specification, and sent by nobody.
    let text = std::str::from_utf8(said)
        .ok()
        .filter(|_| said.iter().all(u8::is_ascii_digit));
    match text.and_then(|text| text.parse().ok()) {
        Some(length) => Ok(Some(length)),
        None => damaged("a length is no number"),
    }
}
