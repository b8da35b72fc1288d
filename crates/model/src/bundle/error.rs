//! What is wrong with a bundle, where, and what to do about it.

use std::fmt;

/// One thing that is wrong with a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleError {
    /// The file, relative to the bundle; empty where the bundle as a whole is meant.
    pub file: String,
    /// Its line, from 1; absent where the file as a whole is meant.
    pub line: Option<usize>,
    /// The column in that line, from 1, in characters.
    pub column: Option<usize>,
    /// The key path (`class.storage.service.data.port`); empty where no key is meant.
    pub key: String,
    /// What is wrong.
    pub problem: String,
    /// What to do next; empty where the problem says it already.
    pub help: String,
}

impl BundleError {
    /// An error that concerns a file as a whole.
    pub fn of_file(file: &str, problem: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line: None,
            column: None,
            key: String::new(),
            problem: problem.into(),
            help: help.into(),
        }
    }
}

impl fmt::Display for BundleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.file.is_empty() {
            f.write_str("bundle")?;
        }
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(column) = self.column {
            write!(f, ":{column}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.problem)?;
        if !self.help.is_empty() {
            write!(f, "; {}", self.help)?;
        }
        Ok(())
    }
}

impl std::error::Error for BundleError {}
