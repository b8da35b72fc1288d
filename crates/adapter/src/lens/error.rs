//! What is wrong with a lens file, and where.

use std::fmt;

/// What is wrong with a lens file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LensError {
    /// The file, as it was named.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Key, dotted; empty for what concerns the file as a whole.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl fmt::Display for LensError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file, self.line)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for LensError {}

impl LensError {
    /// The same, with what to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> LensError {
        self.hint = Some(hint.into());
        self
    }
}

/// A value that the rules cannot express at the other version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mismatch {
    /// The rule, as places; never a value.
    pub(crate) rule: String,
    /// What is wrong, for people.
    pub(crate) what: String,
    /// A rule that refuses in so many words: its index among the lens' declared refusals.
    pub(crate) declared: Option<usize>,
}

impl Mismatch {
    pub(crate) fn new(what: impl Into<String>) -> Mismatch {
        Mismatch {
            rule: String::new(),
            what: what.into(),
            declared: None,
        }
    }

    /// Names the rule, outermost first.
    pub(crate) fn within(mut self, rule: &str) -> Mismatch {
        self.rule = if self.rule.is_empty() {
            rule.to_owned()
        } else {
            format!("{rule}: {}", self.rule)
        };
        self
    }
}
