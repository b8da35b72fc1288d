//! The requests of a file: a feature's name, then a line for each request.

use anyhow::{Context, bail};
use std::fmt;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What it is an example of.
    pub feature: String,
    /// `GET` and so on.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Sent as JSON, whether it is some or not.
    pub body: Option<String>,
}

impl Request {
    /// A plain question.
    pub fn get(target: &str) -> Self {
        Self {
            feature: String::new(),
            method: "GET".to_owned(),
            target: target.to_owned(),
            body: None,
        }
    }

    /// Whether it may change what is stored.
    pub fn writes(&self) -> bool {
        self.method != "GET"
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.target)?;
        match &self.body {
            Some(body) => write!(f, " {body}"),
            None => Ok(()),
        }
    }
}

/// Reads a file's text.
///
/// # Errors
/// Names the line that is no request.
pub(super) fn parse(text: &str) -> anyhow::Result<Vec<Request>> {
    let mut feature = None;
    let mut all = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if let Some(name) = line.strip_prefix("## ") {
            feature = Some(name.trim().to_owned());
            continue;
        }
        if line.trim().is_empty() || line.starts_with("# ") {
            continue;
        }
        let mut parts = line.splitn(3, ' ');
        let (Some(method), Some(target)) = (parts.next(), parts.next()) else {
            bail!("line {}: a method and a target were expected", number + 1);
        };
        all.push(Request {
            feature: feature
                .clone()
                .with_context(|| format!("line {}: no feature", number + 1))?,
            method: method.to_owned(),
            target: target.to_owned(),
            body: parts.next().map(str::to_owned),
        });
    }
    Ok(all)
}
