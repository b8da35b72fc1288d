//! An upgrade as proved: every value checked, every expression compiled. Only this form travels inside.

pub use crate::expression::Template;
use crate::expression::{Expression, ExpressionError, Scope};
use crate::ids::Version;
use crate::machine::ProbeMode;
use crate::routing::Direction;
pub use crate::schedule::Schedule;
use std::collections::{BTreeMap, BTreeSet};

/// The step from one version of the system to the next.
#[derive(Clone, Debug, PartialEq)]
pub struct Upgrade {
    /// The system's name.
    pub system: String,
    /// The version that it leads to.
    pub version: Version,
    /// The version that it starts from; zero for the system's first.
    pub from: Version,
    /// What it brings, for people.
    pub description: String,
    /// What holds for the whole system during this upgrade.
    pub settings: Settings,
    /// The classes that it mentions; the others take the new number without a restart.
    pub classes: BTreeMap<String, ClassUpgrade>,
    /// The classes that end with it.
    pub removed: BTreeSet<String>,
}

/// What holds for the whole system during one upgrade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// No node flips before every reachable node has staged.
    pub require_staged: bool,
    /// How long one call is held at most while no software runs, or while the node stages its version, milliseconds.
    pub hold_ms: u64,
    /// How many calls a node holds at most at once.
    pub held_calls_max: u32,
    /// How long a node waits for running adapter operations before it stops the software, milliseconds.
    pub drain_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            require_staged: true,
            hold_ms: 30_000,
            held_calls_max: 4096,
            drain_ms: 5_000,
        }
    }
}

/// What an upgrade says about one class.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassUpgrade {
    /// The class from this version on.
    pub name: String,
    /// It is new: it has no nodes yet.
    pub added: bool,
    /// The class whose nodes it takes over, when that has another name.
    pub was: Option<String>,
    /// Which of these nodes, where a class splits.
    pub filter: Option<Expression>,
    /// When a node of it may upgrade.
    pub schedule: Schedule,
    /// What its nodes run; absent where it is only renamed or split and runs on as before.
    pub definition: Option<Class>,
}

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
    pub fn ports(&self, scope: &Scope) -> Result<BTreeMap<String, u16>, ExpressionError> {
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
    /// Environment variables, in addition to the agent's own.
    pub environment: BTreeMap<String, Template>,
    /// The working directory.
    pub directory: Template,
    /// The user that it runs as; the agent's own when absent.
    pub user: Option<Template>,
    /// `io_uring_setup` is let through: its connects and accepts are not intercepted.
    pub allow_io_uring: bool,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SoftwareKind {
    /// A folder, used as it is.
    Folder,
    /// A `.tar` file.
    Tar,
    /// A `.tar.gz` or `.tgz` file.
    TarGz,
}

/// A named port of a class.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Where it is in the upgrade file (`class.storage.service.data`), for messages.
    pub key: String,
    /// The port on which the software listens.
    pub port: Port,
    /// What is spoken on it.
    pub protocol: Protocol,
    /// How its interface relates to the version before.
    pub interface: Interface,
    /// Whether connections carry state.
    pub connections: Connections,
    /// Whether calls at the node's own version pass the adapters.
    pub dispatch: Dispatch,
    /// At which version callers without a label are served, until the operator moves it.
    pub public: PublicPolicy,
    /// Where peers reach it: `ADDRESS` or `ADDRESS:PORT`; empty means the node's own address.
    pub advertise: Vec<Template>,
    /// The adapter for callers still at the version before.
    pub past: Adapter,
    /// The adapter for callers already at this version on nodes at the version before.
    pub future: Adapter,
}

/// A service's port.
#[derive(Clone, Debug, PartialEq)]
pub enum Port {
    /// The same everywhere.
    Fixed(u16),
    /// Computed at the node.
    Computed(Expression),
}

impl Port {
    /// The port at a node.
    pub fn resolve(&self, scope: &Scope) -> Result<u16, ExpressionError> {
        match self {
            Port::Fixed(port) => Ok(*port),
            Port::Computed(expression) => expression.port(scope),
        }
    }
}

/// What is spoken on a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http,
    /// Bytes that adapters do not understand.
    Raw,
}

/// How a service's interface relates to earlier versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interface {
    /// The service is new with this version.
    New,
    /// As in the version before.
    Same,
    /// Another than in the version before.
    Changed,
    /// Another than in the version before: that of an older version again.
    AsVersion(Version),
}

/// Whether a connection carries state of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connections {
    /// Each call stands alone: a connection may outlive the software's restart.
    Stateless,
    /// What a caller has set up on its connection lives in the software's process.
    Stateful,
}

/// Whether calls at the node's own version pass the adapters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dispatch {
    /// They go straight to the software.
    Direct,
}

/// At which version callers without a label are served, until the operator moves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublicPolicy {
    /// The version at which the service was first published.
    First,
    /// Whatever version the node runs.
    Latest,
    /// None: such connections are reset.
    Nobody,
}

/// What stands between two interfaces, in one direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Adapter {
    /// Nothing is needed: the interface is the same, or new.
    None,
    /// Such callers are refused, on purpose.
    Refuse,
    /// A lens file, relative to the bundle.
    Lens(String),
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
    /// How long it may take to end before it is killed, milliseconds.
    pub stop_grace_ms: u64,
    /// Run before the software is stopped for an upgrade; may run twice.
    pub before_stop: Option<Command>,
    /// Run after the new software was started; may run twice.
    pub after_start: Option<Command>,
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
    pub const ALL: [Signal; 7] = [
        Signal {
            name: "TERM",
            number: 15,
        },
        Signal {
            name: "INT",
            number: 2,
        },
        Signal {
            name: "QUIT",
            number: 3,
        },
        Signal {
            name: "HUP",
            number: 1,
        },
        Signal {
            name: "USR1",
            number: 10,
        },
        Signal {
            name: "USR2",
            number: 12,
        },
        Signal {
            name: "KILL",
            number: 9,
        },
    ];
    /// The default.
    pub const TERM: Signal = Signal::ALL[0];
}

impl Upgrade {
    /// Every lens file that it names, once.
    pub fn lenses(&self) -> BTreeSet<&str> {
        let classes = self
            .classes
            .values()
            .filter_map(|class| class.definition.as_ref());
        let services = classes.flat_map(|class| class.services.values());
        services
            .flat_map(|service| [&service.past, &service.future])
            .filter_map(|adapter| match adapter {
                Adapter::Lens(path) => Some(path.as_str()),
                Adapter::None | Adapter::Refuse => None,
            })
            .collect()
    }
}

impl Service {
    /// The adapter of one direction.
    pub fn adapter(&self, direction: Direction) -> &Adapter {
        match direction {
            Direction::Past => &self.past,
            Direction::Future => &self.future,
        }
    }
}
