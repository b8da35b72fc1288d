//! Typed reading of TOML that goes on after an error, so that people see everything that is wrong at once.
//!
//! A [`KeyTable`] remembers which keys it was asked for: what is left over when it is finished is unknown.

mod table;

pub(super) use table::KeyTable;

use super::{BundleError, BundleFiles};
use crate::expression::{Allowed, Expression, ExpressionError, ExpressionScope, Template};
use crate::ids::Version;
use crate::manifest::UPGRADE_FILE;
use std::cell::RefCell;
use std::ops::Range;

/// The most errors that are told at once: beyond that the first ones are what matters.
const ERRORS_MAX: usize = 100;

/// The file that is read, the files beside it, and what was found wrong so far.
pub(super) struct FileReading<'a> {
    pub(super) files: &'a BundleFiles,
    /// The version that the upgrade leads to and the one that it starts from, once they are known.
    pub(super) version: Version,
    pub(super) from: Version,
    /// It is surely the system's first: not when its numbers are wrong.
    pub(super) first: bool,
    /// It was published before: what is refused since is left to where it is evaluated.
    pub(super) again: bool,
    text: &'a str,
    errors: RefCell<Vec<BundleError>>,
}

/// A value and where it is written.
#[derive(Clone, Debug)]
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) key: String,
    pub(super) span: Range<usize>,
}

impl<'a> FileReading<'a> {
    pub(super) fn new(text: &'a str, files: &'a BundleFiles) -> Self {
        let errors = RefCell::default();
        Self {
            files,
            version: Version(0),
            from: Version(0),
            first: false,
            again: false,
            text,
            errors,
        }
    }

    pub(super) fn report(
        &self,
        span: Option<Range<usize>>,
        key: &str,
        problem: impl Into<String>,
        help: impl Into<String>,
    ) {
        let place = span.map(|span| line_and_column(self.text, span.start));
        let mut errors = self.errors.borrow_mut();
        if errors.len() < ERRORS_MAX {
            errors.push(BundleError {
                file: UPGRADE_FILE.to_owned(),
                line: place.map(|(line, _)| line),
                column: place.map(|(_, column)| column),
                key: key.to_owned(),
                problem: problem.into(),
                help: help.into(),
            });
        }
    }

    /// Reports something about a value.
    pub(super) fn wrong<T>(
        &self,
        at: &Located<T>,
        problem: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.report(Some(at.span.clone()), &at.key, problem, help);
    }

    /// What was found wrong, in the order of the file.
    pub(super) fn into_errors(self) -> Vec<BundleError> {
        let mut errors = self.errors.into_inner();
        errors.sort_by(|a, b| {
            (a.line, a.column, &a.key, &a.problem).cmp(&(b.line, b.column, &b.key, &b.problem))
        });
        // Some tables are read twice.
        errors.dedup();
        errors
    }

    fn compiled<T, U>(&self, at: &Located<T>, result: Result<U, ExpressionError>) -> Option<U> {
        result
            .map_err(|error| {
                let shown = shortened(&error.expression);
                self.wrong(at, format!("`{shown}`: {}", error.problem), "");
            })
            .ok()
    }

    pub(super) fn template(&self, at: &Located<String>, allowed: &Allowed) -> Option<Template> {
        if at.value.contains('\0') {
            self.wrong(at, "contains a NUL character", "");
            return None;
        }
        let compiled = Template::compile(&at.key, &at.value, allowed);
        let judged = compiled.and_then(|compiled| {
            if !self.again {
                compiled.judge()?;
            }
            Ok(compiled)
        });
        self.compiled(at, judged)
    }

    /// An expression that is read by `give`; one that gives the same everywhere is tried at once.
    pub(super) fn expression<T>(
        &self,
        at: &Located<String>,
        allowed: &Allowed,
        give: impl FnOnce(&Expression, &ExpressionScope) -> Result<T, ExpressionError>,
    ) -> Option<Expression> {
        let compiled = Expression::compile(&at.key, &at.value, allowed);
        let tried = compiled.and_then(|compiled| {
            if !self.again {
                compiled.judge()?;
            }
            if !self.again && compiled.is_constant() {
                give(&compiled, &ExpressionScope::default())?;
            }
            Ok(compiled)
        });
        self.compiled(at, tried)
    }
}

/// The longest expression that is shown whole in a message, in characters.
const SHOWN_MAX: usize = 100;

fn shortened(expression: &str) -> String {
    match expression.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}...", &expression[..end]),
        None => expression.to_owned(),
    }
}

/// Where a byte of the text is, both from 1; columns count characters.
pub(super) fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let at = (0..=at.min(text.len()))
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0);
    let before = &text[..at];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (
        before.matches('\n').count() + 1,
        before[line_start..].chars().count() + 1,
    )
}
