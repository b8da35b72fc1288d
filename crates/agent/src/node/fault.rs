//! Faults on purpose, for tests of recovery: the agent kills itself at a journal record.

use model::machine::Record;

/// The environment variable that names the place: `RECORD:before` or `RECORD:after`, such as `committed:after`.
pub(super) const KILL_AT: &str = "UPSTART_KILL_AT";

/// Where the agent is to die: right after a record is durable and before its action, or when the action has ended and
/// nothing says so yet.
#[derive(Debug, Default)]
pub(super) struct Fault {
    kind: String,
    after: bool,
    reached: bool,
}

impl Fault {
    /// What the environment says; nothing by default.
    pub(super) fn from_environment() -> Self {
        let text = std::env::var(KILL_AT).unwrap_or_default();
        match text.split_once(':') {
            Some((kind, when)) if Record::KINDS.contains(&kind) => Self {
                kind: kind.to_owned(),
                after: when == "after",
                reached: false,
            },
            _ => Self::default(),
        }
    }

    /// A record is durable; its action has not begun.
    pub(super) fn recorded(&mut self, record: &Record) {
        if self.reached {
            die();
        }
        if record.kind() == self.kind {
            self.reached = true;
            if !self.after {
                die();
            }
        }
    }

    /// An action has ended; nothing has been recorded of it.
    pub(super) fn acted(&self) {
        if self.reached {
            die();
        }
    }
}

/// Ends this process as the kernel would, without a word.
fn die() {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
}
