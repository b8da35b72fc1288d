//! Why something is not trusted, and what to do about it.

use crate::system::SystemIdentity;
use std::path::PathBuf;

/// Why what a repository holds is not trusted.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// It is not what it should be.
    #[error("the {document} is no metadata: {problem}")]
    Malformed {
        /// Which document.
        document: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Nobody who may has signed it.
    #[error("the {document} is signed by no key that may sign it")]
    UnknownKey {
        /// Which document.
        document: String,
    },
    /// Fewer have signed it than must.
    #[error("the {document} is signed by {valid} of the {threshold} keys that it needs")]
    TooFewKeys {
        /// Which document.
        document: String,
        /// How many signatures count.
        valid: u64,
        /// How many must.
        threshold: u64,
    },
    /// A root that does not follow on the trusted one.
    #[error("root {found} does not follow on root {trusted}")]
    RootSkipped {
        /// The root that is trusted.
        trusted: u64,
        /// The root that came.
        found: u64,
    },
    /// It is of another system.
    #[error("the {document} is of {}, not of system {expected}", found.as_ref().map_or_else(|| "no system".to_owned(), |found| format!("system {found}")))]
    OtherSystem {
        /// Which document.
        document: String,
        /// The system that is trusted.
        expected: SystemIdentity,
        /// The system that it names.
        found: Option<SystemIdentity>,
    },
    /// It is older than what is trusted already.
    #[error("the {document} is version {found}, but version {trusted} was there before")]
    Rollback {
        /// Which document.
        document: String,
        /// The version that is trusted.
        trusted: u64,
        /// The version that came.
        found: u64,
    },
    /// Two documents have one number.
    #[error("there are two different documents {document} with version {version}")]
    Contradiction {
        /// Which document.
        document: String,
        /// Their version.
        version: u64,
    },
    /// Parts of two states.
    #[error("the {document} does not belong to the other signed documents: {problem}")]
    Mixed {
        /// Which document.
        document: String,
        /// What differs.
        problem: String,
    },
    /// It was good for a time that is over.
    #[error("the {document} has expired at {expired}")]
    Expired {
        /// Which document.
        document: String,
        /// When.
        expired: jiff::Timestamp,
    },
    /// There is more of it than is read.
    #[error("{name} has more than {bytes_max} bytes")]
    TooLarge {
        /// Its name in the repository.
        name: String,
        /// How much is read.
        bytes_max: u64,
    },
    /// It does not come to its end.
    #[error("{name} was not there after {seconds} s")]
    TooSlow {
        /// Its name in the repository.
        name: String,
        /// How long was waited.
        seconds: u64,
    },
    /// It is not there.
    #[error("{name} is not in the repository")]
    Missing {
        /// Its name in the repository.
        name: String,
    },
    /// It is not what was signed.
    #[error("{name} is not what was signed: {problem}")]
    Altered {
        /// Its name in the repository.
        name: String,
        /// What differs.
        problem: String,
    },
    /// It could not be fetched.
    #[error("{name} cannot be read: {source}")]
    Transport {
        /// Its name in the repository.
        name: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// What is trusted cannot be kept; it stays as it was.
    #[error("what is trusted cannot be kept in {}: {source}", path.display())]
    Unkept {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// What is trusted cannot be read.
    #[error("the trusted state {}: {problem}", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// Why.
        problem: String,
    },
}

impl TrustError {
    /// What to do next.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Malformed { .. } | Self::Altered { .. } => {
                "nothing of it was taken; fetch it from another copy of the repository, and find out who changed this one"
            }
            Self::UnknownKey { .. } => {
                "nothing of it was taken; if the keys were rotated, bring the new root along (metadata/N.root.json, each N); if not, somebody else wrote it"
            }
            Self::TooFewKeys { .. } => "have the others who hold keys of this role sign it too",
            Self::RootSkipped { .. } => {
                "bring every root along, from the one after the trusted on: each is signed by the one before"
            }
            Self::OtherSystem { .. } => "use the repository of this system",
            Self::Rollback { .. } => {
                "this copy of the repository is older than what was seen before: use the current one; if it was restored from a backup, publish on top of it until its numbers are higher (`upstart keys renew`)"
            }
            Self::Contradiction { .. } => {
                "two histories were written: keep the one that was trusted, and renew it (`upstart keys renew`) so that its numbers are higher"
            }
            Self::Mixed { .. } => {
                "fetch the repository again as a whole; whoever copies it must copy metadata/timestamp.json last"
            }
            Self::Expired { .. } => {
                "nothing new is taken, what was trusted before stays; fetch the current repository, or have its keys' holders run `upstart keys renew`; see also that the clock is right"
            }
            Self::TooLarge { .. } => {
                "this is no repository that Upstart wrote: use another copy of it"
            }
            Self::TooSlow { .. } => "try again, or use another copy of the repository",
            Self::Missing { .. } => "copy the repository again as a whole",
            Self::Transport { .. } => "see that it can be read, and try again",
            Self::Unkept { .. } => {
                "nothing was changed there; make room on its disk, or see to who may write there, and run the command again"
            }
            Self::State { .. } => {
                "see to the disk; if the file is damaged, remove it and pin the root anew, as at first (old versions are then no longer known as such)"
            }
        }
    }
}

/// Why something is not signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// A key file cannot be used.
    #[error("{}: {problem}", path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// Why.
        problem: String,
        /// What to do next.
        advice: &'static str,
    },
    /// A command that signs does not.
    #[error("the command `{command}` {problem}")]
    Command {
        /// The command.
        command: String,
        /// What went wrong.
        problem: String,
    },
    /// Not enough keys were given.
    #[error("the {document} needs signatures of {threshold} of these keys, and got {valid}: {}", wanted.join(", "))]
    KeysMissing {
        /// Which document.
        document: String,
        /// How many signatures count.
        valid: u64,
        /// How many must.
        threshold: u64,
        /// Which keys may sign, by the beginnings of their numbers.
        wanted: Vec<String>,
    },
    /// What was asked for cannot be.
    #[error("{problem}")]
    Refused {
        /// Why.
        problem: String,
        /// What to do instead.
        advice: &'static str,
    },
    /// Somebody else has changed the repository meanwhile.
    #[error("{problem}")]
    Outdated {
        /// What does not follow on what.
        problem: String,
    },
    /// What is there already cannot be trusted.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The repository cannot be written.
    #[error("{}: {source}", path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl SignError {
    /// What to do next.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::KeyFile { advice, .. } | Self::Refused { advice, .. } => advice,
            Self::Command { .. } => {
                "it gets the bytes to sign on stdin and writes the signature alone to stdout; try it by hand"
            }
            Self::KeysMissing { .. } => {
                "give more keys: `--key FILE` or `--sign-with COMMAND`, as often as needed; `upstart keys list` shows whose they are"
            }
            Self::Outdated { .. } => {
                "run the command again: it then goes on from what is there now"
            }
            Self::Trust(error) => error.advice(),
            Self::Disk { .. } => "see to the disk and to who may write there, and try again",
        }
    }
}
