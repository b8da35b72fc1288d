//! Why an agent cannot run, or a command not do what it does in an agent's place.

use super::main_loop::LoopEnded;
use crate::holder::Original;
use crate::holder_client;
use crate::journal::JournalFileError;
use crate::vital::BrokenTask;
use access::Distrust;
use client::ClientError;
use intercept::table::TableError;
use model::machine::RecoverError;
use std::io;
use std::path::{Path, PathBuf};

/// Why an agent cannot run.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// A file or directory of the node cannot be used.
    #[error("cannot use {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No node can have that name.
    #[error("`{0}` is no node's name: one {1}")]
    Name(String, &'static str),
    /// The data directory cannot be one.
    #[error("{} cannot be a data directory: {}", .0.display(), .1)]
    Unfit(PathBuf, &'static str),
    /// The data directory is a folder that has something else in it.
    #[error("{} is not a node's data directory: it contains `{}`, which is not an agent's", .0.display(), .1)]
    NotANodes(PathBuf, &'static str),
    /// Others than the agent's user can change what it runs.
    #[error("the data directory is not safe")]
    Distrust(#[from] Distrust),
    /// The kernel's settings do not allow labels in the handshake.
    #[error(
        "this host's kernel sends no data with the TCP handshake, which labels need; run `sysctl -w net.ipv4.tcp_fastopen=1` and start the agent again"
    )]
    NoHandshakeData,
    /// The preloaded library is missing.
    #[error("the interception library cannot be used")]
    Library(#[source] io::Error),
    /// The threads that serve calls cannot be started.
    #[error(
        "the threads that serve calls; give a lower --call-threads, or raise the limit of tasks"
    )]
    Workers(#[source] io::Error),
    /// The journal cannot be read or written; another agent may own the node.
    #[error("the node's journal")]
    Journal(#[from] JournalFileError),
    /// The journal's records make no sense.
    #[error(
        "the node's journal {path} cannot be followed; keep it and ask for help, the software was not touched"
    )]
    Recover {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: RecoverError,
    },
    /// The holder cannot be reached.
    #[error("the node's holder")]
    Holder(#[from] holder_client::HolderClientError),
    /// Processes of the software that could not be ended.
    #[error("processes of the software are left: {}", numbers(.0))]
    LeftBehind(Vec<i32>),
    /// The directory's original is not out of use.
    #[error("the original of this copy still runs on this machine: process {} is its holder or its software{}", .0.process, place(.0))]
    OriginalLives(Original),
    /// It is the node's own, whose software runs.
    #[error("{} is the node's own directory already, and its holder runs", .0.display())]
    NothingToClaim(PathBuf),
    /// The directory of another holder was in this place.
    #[error("another data directory was in this place, moved away since or covered by a mount, and process {} is its holder", .0.process)]
    AnotherWasHere(Original),
    /// The holder has gone while the agent ran.
    #[error("the node's holder has gone, or a newer agent has taken the node over")]
    HolderGone,
    /// The server knows the node by another number now.
    #[error("the server has given the node another number")]
    Renumbered,
    /// A task without which it cannot go on has broken.
    #[error("the {task} has broken down ({why}); the software runs on")]
    Broken {
        /// Which.
        task: &'static str,
        /// Why.
        why: String,
    },
    /// The server refuses the node, or its address is wrong.
    #[error("the upgrade server refuses this node")]
    Server(#[from] ClientError),
    /// The member table cannot be used.
    #[error("the member table")]
    Table(#[from] TableError),
}

fn place(original: &Original) -> String {
    let data = original.data.as_ref();
    data.map_or_else(String::new, |data| format!(", in {}", data.display()))
}

fn numbers(processes: &[i32]) -> String {
    let numbers: Vec<String> = processes.iter().map(ToString::to_string).collect();
    numbers.join(", ")
}

impl From<BrokenTask> for AgentError {
    fn from(BrokenTask { task, why }: BrokenTask) -> Self {
        Self::Broken { task, why }
    }
}

impl LoopEnded {
    /// What that is to whoever started the agent.
    pub(super) fn into_result(self) -> Result<(), AgentError> {
        match self {
            Self::Asked => Ok(()),
            Self::HolderGone => Err(AgentError::HolderGone),
            Self::Renumbered => Err(AgentError::Renumbered),
            Self::Journal(error) => Err(error.into()),
        }
    }
}

/// A file or directory that cannot be used.
pub(super) fn at(path: &Path) -> impl Fn(io::Error) -> AgentError {
    let path = path.to_owned();
    move |source| AgentError::File {
        path: path.clone(),
        source,
    }
}
