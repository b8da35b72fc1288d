//! A service of a class, as proved: its port, its interface, its adapters.

use super::Framing;
use crate::expression::{Expression, ExpressionError, ExpressionScope, Template};
use crate::ids::Version;
use serde::{Deserialize, Serialize};

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
    /// Where a message ends; none for HTTP.
    pub framing: Option<Framing>,
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
    /// Networks whose labels its nodes honour besides members' addresses.
    pub networks: Vec<Template>,
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
    ///
    /// # Errors
    /// Its expression fails at this node, or gives no port.
    pub fn resolve(&self, scope: &ExpressionScope) -> Result<u16, ExpressionError> {
        match self {
            Self::Fixed(port) => Ok(*port),
            Self::Computed(expression) => expression.port(scope),
        }
    }
}

/// What is spoken on a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http,
    /// The protocol of Redis, in its versions 2 and 3.
    Resp,
    /// Messages with a length field.
    Framed,
    /// Messages that end with a delimiter.
    Lines,
    /// Messages as netstrings.
    Netstring,
    /// Bytes in which nobody sees an end.
    Raw,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Http,
        Self::Resp,
        Self::Framed,
        Self::Lines,
        Self::Netstring,
        Self::Raw,
    ];

    /// Whether it is certain that callers speak first.
    pub fn callers_begin(self) -> bool {
        matches!(self, Self::Http | Self::Resp)
    }

    /// As written in the upgrade file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Resp => "resp",
            Self::Framed => "framed",
            Self::Lines => "lines",
            Self::Netstring => "netstring",
            Self::Raw => "raw",
        }
    }
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
    /// They pass the agent, which tells the adapters of them.
    Observed,
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

/// Which of an upgrade's two adapters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdapterDirection {
    /// Serves callers still at the version before.
    Past,
    /// Serves callers already at the version that the upgrade leads to.
    Future,
}

/// What stands between two interfaces, in one direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Adapter {
    /// Nothing is needed: the interface is the same, or new.
    None,
    /// Such callers are refused, on purpose.
    Refuse,
    /// A file of the bundle, by its path in it: a lens, or the declaration of a component.
    File(String),
}

impl AdapterDirection {
    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::Past => Self::Future,
            Self::Future => Self::Past,
        }
    }
}

impl Service {
    /// Whether calls are translated in either direction.
    pub fn translates(&self) -> bool {
        [&self.past, &self.future]
            .into_iter()
            .any(|adapter| matches!(adapter, Adapter::File(_)))
    }

    /// The adapter of one direction.
    pub fn adapter(&self, direction: AdapterDirection) -> &Adapter {
        match direction {
            AdapterDirection::Past => &self.past,
            AdapterDirection::Future => &self.future,
        }
    }
}
