//! Bytes to JSON (RFC 8259), strictly, with a limit on depth.

use std::sync::Arc;

use bytes::Bytes;

use super::Json;
use super::scan::plain_length;
use super::undecoded::Undecoded;

/// Where and why bytes are not JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub struct JsonError {
    /// Offset in bytes.
    pub at: usize,
    /// What is wrong there.
    pub what: &'static str,
}

impl Json {
    /// Decodes one value that is the whole input, nested at most `depth_max` deep.
    ///
    /// # Errors
    /// It is not JSON, or nested more deeply.
    pub fn parse(bytes: &[u8], depth_max: usize) -> Result<Self, JsonError> {
        parse(bytes, depth_max, None)
    }

    /// The same, but of what the outermost object or array contains, objects and arrays are only
    /// checked and stay [`Json::Undecoded`].
    ///
    /// # Errors
    /// It is not JSON, or nested more deeply.
    pub fn parse_outside(bytes: Bytes, depth_max: usize) -> Result<Self, JsonError> {
        // Places in it are kept in 32 bits.
        if u32::try_from(bytes.len()).is_err() {
            return Self::parse(&bytes, depth_max);
        }
        let whole = Arc::new(bytes);
        parse(&whole, depth_max, Some(&whole))
    }
}

fn parse(bytes: &[u8], depth_max: usize, outside: Option<&Arc<Bytes>>) -> Result<Json, JsonError> {
    let text = std::str::from_utf8(bytes).map_err(|error| JsonError {
        at: error.valid_up_to(),
        what: "not UTF-8",
    })?;
    let mut parser = Parser {
        text,
        at: 0,
        outside,
    };
    parser.skip_space();
    let value = parser.value(depth_max)?;
    parser.skip_space();
    if parser.at < bytes.len() {
        return Err(parser.error("something follows the value"));
    }
    Ok(value)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    /// What the text lies in, where only its outside is to be decoded.
    outside: Option<&'a Arc<Bytes>>,
}

impl<'a> Parser<'a> {
    fn error(&self, what: &'static str) -> JsonError {
        JsonError { at: self.at, what }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn value(&mut self, depth: usize) -> Result<Json, JsonError> {
        match self.peek() {
            Some(b'{') => {
                let mut members = Vec::new();
                self.object(depth, |parser, depth| {
                    let name = parser.string()?;
                    parser.colon()?;
                    members.push((name, parser.inner(depth)?));
                    Ok(())
                })?;
                Ok(Json::Object(members))
            }
            Some(b'[') => {
                let mut items = Vec::new();
                self.array(depth, |parser, depth| {
                    items.push(parser.inner(depth)?);
                    Ok(())
                })?;
                Ok(Json::Array(items))
            }
            Some(b'"') => self.string().map(Json::String),
            Some(b'-' | b'0'..=b'9') => self.number().map(Json::number),
            Some(b't') => self.word("true", Json::Bool(true)),
            Some(b'f') => self.word("false", Json::Bool(false)),
            Some(b'n') => self.word("null", Json::Null),
            Some(_) => Err(self.error("a value was expected")),
            None => Err(self.error("the input ends early")),
        }
    }

    /// A value inside an object or array.
    fn inner(&mut self, depth: usize) -> Result<Json, JsonError> {
        match (self.outside, self.peek()) {
            (Some(whole), Some(b'{' | b'[')) => {
                let start = self.at;
                self.check(depth)?;
                Ok(Json::Undecoded(Undecoded::new(whole, start..self.at)))
            }
            _ => self.value(depth),
        }
    }

    /// Passes over a value that must be as strictly JSON as any other.
    fn check(&mut self, depth: usize) -> Result<(), JsonError> {
        match self.peek() {
            Some(b'{') => self.object(depth, |parser, depth| {
                parser.check_string()?;
                parser.colon()?;
                parser.check(depth)
            }),
            Some(b'[') => self.array(depth, Self::check),
            Some(b'"') => self.check_string(),
            Some(b'-' | b'0'..=b'9') => self.number().map(drop),
            // A word: nothing is allocated for it.
            _ => self.value(depth).map(drop),
        }
    }

    fn word(&mut self, word: &str, value: Json) -> Result<Json, JsonError> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(self.error("a value was expected"));
        }
        self.at += word.len();
        Ok(value)
    }

    fn deeper(&self, depth: usize) -> Result<usize, JsonError> {
        depth
            .checked_sub(1)
            .ok_or_else(|| self.error("nested too deeply"))
    }

    fn colon(&mut self) -> Result<(), JsonError> {
        self.skip_space();
        if !self.eat(b':') {
            return Err(self.error("':' was expected"));
        }
        self.skip_space();
        Ok(())
    }

    fn object(
        &mut self,
        depth: usize,
        mut member: impl FnMut(&mut Self, usize) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        let depth = self.deeper(depth)?;
        self.at += 1;
        self.skip_space();
        if self.eat(b'}') {
            return Ok(());
        }
        loop {
            self.skip_space();
            if self.peek() != Some(b'"') {
                return Err(self.error("a member's name was expected"));
            }
            member(self, depth)?;
            self.skip_space();
            if self.eat(b'}') {
                return Ok(());
            }
            if !self.eat(b',') {
                return Err(self.error("',' or '}' was expected"));
            }
        }
    }

    fn array(
        &mut self,
        depth: usize,
        mut item: impl FnMut(&mut Self, usize) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        let depth = self.deeper(depth)?;
        self.at += 1;
        self.skip_space();
        if self.eat(b']') {
            return Ok(());
        }
        loop {
            self.skip_space();
            item(self, depth)?;
            self.skip_space();
            if self.eat(b']') {
                return Ok(());
            }
            if !self.eat(b',') {
                return Err(self.error("',' or ']' was expected"));
            }
        }
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start {
            Err(self.error("a digit was expected"))
        } else {
            Ok(())
        }
    }

    /// The text of a number.
    fn number(&mut self) -> Result<&'a str, JsonError> {
        let start = self.at;
        self.eat(b'-');
        if !self.eat(b'0') {
            self.digits()?;
        }
        if self.eat(b'.') {
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(&self.text[start..self.at])
    }

    /// Passes over the characters of a string that stand for themselves, and gives them.
    fn plain(&mut self) -> &'a str {
        let start = self.at;
        self.at += plain_length(&self.text.as_bytes()[start..]);
        &self.text[start..self.at]
    }

    /// A string; most have no escapes and are copied at once.
    fn string(&mut self) -> Result<String, JsonError> {
        self.at += 1;
        let mut text = self.plain().to_owned();
        while let Some(escaped) = self.after_plain()? {
            text.push(escaped);
            text.push_str(self.plain());
        }
        Ok(text)
    }

    fn check_string(&mut self) -> Result<(), JsonError> {
        self.at += 1;
        self.plain();
        while self.after_plain()?.is_some() {
            self.plain();
        }
        Ok(())
    }

    /// What stands behind plain characters: an escaped one, or the end of the string.
    fn after_plain(&mut self) -> Result<Option<char>, JsonError> {
        match self.peek() {
            Some(b'"') => {
                self.at += 1;
                Ok(None)
            }
            Some(b'\\') => {
                self.at += 1;
                self.escape().map(Some)
            }
            Some(_) => Err(self.error("a control character in a string")),
            None => Err(self.error("the input ends early")),
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let byte = self
            .peek()
            .ok_or_else(|| self.error("the input ends early"))?;
        self.at += 1;
        Ok(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(),
            _ => return Err(self.error("an unknown escape")),
        })
    }

    /// The rest of a `\u` escape, with the second half of a surrogate pair. A half alone has no
    /// Unicode meaning and could not be written again as it came.
    fn unicode(&mut self) -> Result<char, JsonError> {
        let first = self.hex()?;
        let code = if (0xd800..0xdc00).contains(&first) {
            if !(self.eat(b'\\') && self.eat(b'u')) {
                return Err(self.error("half of a surrogate pair"));
            }
            let second = self.hex()?;
            if !(0xdc00..0xe000).contains(&second) {
                return Err(self.error("half of a surrogate pair"));
            }
            0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
        } else {
            first
        };
        char::from_u32(code).ok_or_else(|| self.error("half of a surrogate pair"))
    }

    fn hex(&mut self) -> Result<u32, JsonError> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            code = code * 16 + digit.ok_or_else(|| self.error("four hex digits were expected"))?;
            self.at += 1;
        }
        Ok(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(text: &str) -> String {
        Json::parse(text.as_bytes(), 8).expect("valid").to_string()
    }

    #[test]
    fn what_is_not_touched_leaves_as_it_came() {
        for text in [
            r#"{"b":1.0,"a":[1e5,-0,12345678901234567890123,-9223372036854775808],"":""}"#,
            r#"["\"\\\u0001\n","é𝄞"]"#,
            "null",
        ] {
            assert_eq!(round(text), text);
        }
        assert_eq!(
            round(" [ true , \"\\u00e9\\ud834\\udd1e\\/\" ] "),
            "[true,\"é𝄞/\"]"
        );
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in [
            "",
            "01",
            "1.",
            "+1",
            "[1,]",
            "{\"a\":1,}",
            "{a:1}",
            "\"\\x\"",
            "\"\\ud800\"",
            "tru",
            "\"\u{1}\"",
            "1 2",
            "[[[[[[[[[1]]]]]]]]]",
            "-",
            "1e",
            "\"",
        ] {
            assert!(Json::parse(text.as_bytes(), 8).is_err(), "{text}");
        }
    }

    #[test]
    fn the_last_of_namesakes_counts() {
        let mut json = Json::parse(br#"{"a":1,"b":2,"a":3}"#, 8).expect("valid");
        assert_eq!(json.get("a"), Some(&Json::Integer(3)));
        assert_eq!(json.remove("a"), Some(Json::Integer(3)));
        assert_eq!(json.to_string(), r#"{"b":2}"#);
    }
}
