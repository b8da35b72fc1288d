//! What is wrong with a file that declares something, and where; and with a message that does not fit what is declared.

use std::fmt;

/// What is wrong with a file: a lens, the declaration of a component, a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclarationError {
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

impl fmt::Display for DeclarationError {
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

impl std::error::Error for DeclarationError {}

impl DeclarationError {
    /// The same, with what to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Why a text in a file is not what its key needs, in one line: without the file and the place, which whoever reads the file knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Complaint(String);

impl From<String> for Complaint {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<Complaint> for String {
    fn from(complaint: Complaint) -> Self {
        complaint.0
    }
}

/// A value that the rules cannot express at the other version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The rule, as places; never a value.
    pub rule: String,
    /// What is wrong, for people.
    pub what: String,
    /// A rule that refuses in so many words: its index among the lens' declared refusals.
    pub declared: Option<usize>,
}

impl Mismatch {
    /// One that no rule is named for yet; `what` is wrong, for people.
    pub fn new(what: impl Into<String>) -> Self {
        Self {
            rule: String::new(),
            what: what.into(),
            declared: None,
        }
    }

    /// Names the rule, outermost first.
    pub fn within(mut self, rule: &str) -> Self {
        self.rule = if self.rule.is_empty() {
            rule.to_owned()
        } else {
            format!("{rule}: {}", self.rule)
        };
        self
    }
}
