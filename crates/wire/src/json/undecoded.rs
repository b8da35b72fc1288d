//! Parts of a message that no rule has asked for: checked, but left as they came.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::Json;

/// An object or array as its text, which has been checked to be JSON.
#[derive(Clone)]
pub struct Undecoded {
    whole: Arc<Bytes>,
    start: u32,
    end: u32,
}

impl Undecoded {
    /// The part of `whole` in this range, which fits 32 bits.
    pub(super) fn new(whole: &Arc<Bytes>, range: Range<usize>) -> Self {
        Self {
            whole: whole.clone(),
            start: range.start as u32,
            end: range.end as u32,
        }
    }

    /// Its text.
    pub fn text(&self) -> &[u8] {
        &self.whole[self.start as usize..self.end as usize]
    }

    /// What it is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self.text().first() {
            Some(b'{') => "an object",
            _ => "an array",
        }
    }

    /// The value.
    pub(super) fn decode(&self) -> Json {
        let decoded = Json::parse(self.text(), usize::MAX);
        debug_assert!(decoded.is_ok(), "it was checked");
        decoded.unwrap_or(Json::Null)
    }

    /// The value, what it contains being left undecoded.
    pub(super) fn decode_outside(&self) -> Json {
        let text = self.whole.slice(self.start as usize..self.end as usize);
        let decoded = Json::parse_outside(text, usize::MAX);
        debug_assert!(decoded.is_ok(), "it was checked");
        decoded.unwrap_or(Json::Null)
    }
}

impl fmt::Debug for Undecoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Undecoded({})", String::from_utf8_lossy(self.text()))
    }
}
