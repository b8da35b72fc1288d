//! How a command ends: an exit code, and on failure a message that says what to do next.

use crate::output;
use std::fmt;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;

/// How a command that worked ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CommandEnd {
    /// Done, or yes.
    Yes,
    /// A negative answer: a check failed, a thing is not there.
    No,
    /// Ended by this signal, after what had to be tidied up.
    Signal(u8),
}

/// What every command gives back.
pub(crate) type CommandOutcome = anyhow::Result<CommandEnd>;

/// A failure in words, with what to do next.
#[derive(Debug)]
pub(crate) struct CommandFailure {
    /// What went wrong.
    pub(crate) what: String,
    /// What to do next; empty where the message says it.
    pub(crate) next: String,
    /// The other side understood and said no: exit code 1 instead of 2.
    pub(crate) refused: bool,
}

impl fmt::Display for CommandFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for CommandFailure {}

/// An error with its advice.
pub(crate) fn failure(what: impl Into<String>, next: impl Into<String>) -> anyhow::Error {
    CommandFailure {
        what: what.into(),
        next: next.into(),
        refused: false,
    }
    .into()
}

/// A refusal with its advice.
pub(crate) fn refusal(what: impl Into<String>, next: impl Into<String>) -> anyhow::Error {
    CommandFailure {
        what: what.into(),
        next: next.into(),
        refused: true,
    }
    .into()
}

/// Adds advice to errors of other kinds.
pub(crate) trait Advise<T> {
    /// Says what was tried and what to do next.
    fn advise(self, what: impl fmt::Display, next: impl Into<String>) -> anyhow::Result<T>;
}

impl<T, E: fmt::Display> Advise<T> for Result<T, E> {
    fn advise(self, what: impl fmt::Display, next: impl Into<String>) -> anyhow::Result<T> {
        self.map_err(|error| failure(format!("{what}: {error}"), next))
    }
}

/// What to do about a file below a directory: where it is a matter of who may look, its user's name is the whole answer.
pub(crate) fn advice_on(
    error: &(dyn std::error::Error + 'static),
    directory: &Path,
    otherwise: impl Into<String>,
) -> String {
    let mut causes = std::iter::successors(Some(error), |cause| cause.source());
    let is_denied = causes.any(|cause| {
        let cause = cause.downcast_ref::<std::io::Error>();
        cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::PermissionDenied)
    });
    // Whoever may not look into a directory may still see whose it is, or whose the one above it is.
    let mut seen = directory.ancestors().filter_map(|folder| {
        let about = std::fs::metadata(folder).ok()?;
        Some((folder.display().to_string(), about.uid()))
    });
    match seen.next().filter(|_| is_denied) {
        Some((folder, user)) => {
            format!(
                "{folder} belongs to user {user}: run the command again as that user or as root"
            )
        }
        None => otherwise.into(),
    }
}

/// Prints what is to be said of the outcome and gives the process's exit code: 0 yes, 1 no, 2 error.
pub(crate) fn exit_code(outcome: CommandOutcome, json: bool) -> ExitCode {
    let error = match outcome {
        Ok(CommandEnd::Yes) => return ExitCode::SUCCESS,
        Ok(CommandEnd::No) => return ExitCode::from(1),
        Ok(CommandEnd::Signal(number)) => return ExitCode::from(128 + number),
        Err(error) => error,
    };
    let (what, next, refused) = match error.downcast_ref::<CommandFailure>() {
        Some(failure) => (failure.what.clone(), failure.next.clone(), failure.refused),
        None => (
            sentence(&error),
            "run the command again with -v to see more".to_owned(),
            false,
        ),
    };
    let mut stderr = std::io::stderr().lock();
    // A closed stderr leaves nobody to tell; the exit code still says it.
    let (said, advice) = (output::within(&what), output::within(&next));
    let _ = writeln!(stderr, "upstart: {said}");
    if !next.is_empty() {
        let _ = writeln!(stderr, "  next: {advice}");
    }
    if json {
        let line = serde_json::json!({ "error": what, "next": next, "refused": refused });
        let _ = writeln!(std::io::stdout().lock(), "{line}");
    }
    ExitCode::from(if refused { 1 } else { 2 })
}

/// The error and its sources on one line.
pub(crate) fn sentence(error: &anyhow::Error) -> String {
    let parts: Vec<String> = error.chain().map(ToString::to_string).collect();
    parts.join(": ")
}
