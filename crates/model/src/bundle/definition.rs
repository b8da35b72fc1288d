//! What a node of a class runs, as proved: software, state, lifecycle.

use super::Service;
use crate::expression::{ExpressionError, ExpressionScope, Template};
use crate::machine::ProbeMode;
use std::collections::BTreeMap;

/// What a node of a class runs at a version.
#[derive(Clone, Debug, PartialEq)]
pub struct Class {
    /// The program and how it is started.
    pub software: Software,
    /// Its ports, by service name.
    pub services: BTreeMap<String, Service>,
    /// Its persistent state.
    pub state: State,
    /// How it is started, judged and stopped.
    pub lifecycle: Lifecycle,
}

impl Class {
    /// The port of each service at a node; `scope.ports` is not looked at.
    ///
    /// # Errors
    /// A port's expression fails at this node, or two services have the same port there.
    pub fn ports(&self, scope: &ExpressionScope) -> Result<BTreeMap<String, u16>, ExpressionError> {
        let mut ports = BTreeMap::new();
        for (name, service) in &self.services {
            let port = service.port.resolve(scope)?;
            if let Some((other, _)) = ports.iter().find(|(_, taken)| **taken == port) {
                return Err(ExpressionError {
                    key: service.key.clone(),
                    expression: port.to_string(),
                    problem: format!("service `{other}` has the same port at this node"),
                });
            }
            ports.insert(name.clone(), port);
        }
        Ok(ports)
    }
}

/// The program and how it is started.
#[derive(Clone, Debug, PartialEq)]
pub struct Software {
    /// Where it is in the bundle; absent when the command names a program of the machine.
    pub source: Option<SoftwareSource>,
    /// The program and its arguments; never empty, no shell.
    pub command: Vec<Template>,
    /// Environment variables, besides those that all software gets.
    pub environment: BTreeMap<String, Template>,
    /// The working directory.
    pub directory: Template,
    /// The user that it runs as; the agent's own when absent.
    pub user: Option<Template>,
    /// `io_uring_setup` is let through: its connects and accepts are not intercepted.
    pub allow_io_uring: bool,
    /// Rights that programs gain by being executed may be given up, where interception takes that: on nodes whose agent is not
    /// privileged.
    pub no_new_privileges: bool,
}

/// Software inside a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SoftwareSource {
    /// The folder or archive, relative to the bundle.
    pub path: String,
    /// What it is.
    pub kind: SoftwareKind,
}

/// How software is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SoftwareKind {
    /// A folder, used as it is.
    Folder,
    /// A `.tar` file.
    Tar,
    /// A `.tar.gz` or `.tgz` file.
    TarGz,
}

/// The persistent state of a class.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// An existing directory that becomes version 1's state where it is.
    pub adopt: Option<Template>,
    /// Converts the state from the version before; a plain copy when absent.
    pub transform: Option<Transform>,
    /// Converts it back, for `revert`.
    pub reverse: Option<Transform>,
    /// Links that may lead out of the state, and folders whose links may, relative to it: what is behind them all versions share.
    pub shared: Vec<String>,
    /// Copies of the state keep set-user-ID and set-group-ID bits of files, and their capabilities.
    pub set_user_id: bool,
}

/// A program that converts state.
#[derive(Clone, Debug, PartialEq)]
pub struct Transform {
    /// The program and its arguments.
    pub command: Vec<Template>,
    /// How long it may take, milliseconds.
    pub timeout_ms: u64,
}

/// How software is started, judged and stopped.
#[derive(Clone, Debug, PartialEq)]
pub struct Lifecycle {
    /// How its health is judged.
    pub probe: Probe,
    /// The signal that asks it to end.
    pub stop_signal: Signal,
    /// Who gets it first.
    pub stop_signal_to: StopTo,
    /// How long it may take to end before it is killed, milliseconds.
    pub stop_grace_ms: u64,
    /// Run before the software is stopped for an upgrade; may run twice.
    pub before_stop: Option<Command>,
    /// Run after the new software was started; may run twice.
    pub after_start: Option<Command>,
}

/// Which of the software's processes get the stop signal when it is to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StopTo {
    /// The main process; what is left when it has ended gets it then.
    #[default]
    Main,
    /// All at once: for a main process that swallows it.
    All,
}

/// How the health of software is judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// What is asked.
    pub question: ProbeQuestion,
    /// Whether it can be judged without its peers.
    pub mode: ProbeMode,
    /// How long after its start it may take until it is healthy, milliseconds.
    pub timeout_ms: u64,
    /// How long one question may take, milliseconds.
    pub attempt_timeout_ms: u64,
    /// The pause between two questions, milliseconds.
    pub interval_ms: u64,
}

/// What a probe asks.
#[derive(Clone, Debug, PartialEq)]
pub enum ProbeQuestion {
    /// A GET of this path on this service answers with a status from 200 to 299.
    Http {
        /// The service.
        service: String,
        /// The path and query, beginning with `/`.
        path: Template,
    },
    /// This program ends with exit code 0.
    Command(Vec<Template>),
    /// The software itself has accepted a connection on this service.
    Tcp {
        /// The service.
        service: String,
    },
    /// The software still runs after this time.
    Alive {
        /// Milliseconds after its start.
        alive_ms: u64,
    },
}

/// A program with a time limit.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// The program and its arguments; never empty, no shell.
    pub command: Vec<Template>,
    /// How long it may take, milliseconds.
    pub timeout_ms: u64,
}

/// A signal that ends software.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal {
    /// Its name without SIG.
    pub name: &'static str,
    /// Its number on Linux.
    pub number: i32,
}

impl Signal {
    /// Those that make sense, and TERM, the default, first.
    pub const ALL: [Self; 7] = [
        Self {
            name: "TERM",
            number: 15,
        },
        Self {
            name: "INT",
            number: 2,
        },
        Self {
            name: "QUIT",
            number: 3,
        },
        Self {
            name: "HUP",
            number: 1,
        },
        Self {
            name: "USR1",
            number: 10,
        },
        Self {
            name: "USR2",
            number: 12,
        },
        Self {
            name: "KILL",
            number: 9,
        },
    ];
    /// The default.
    pub const TERM: Self = Self::ALL[0];
}
