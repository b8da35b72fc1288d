//! What the agent and the holder say to each other.
//!
//! One `SOCK_SEQPACKET` Unix connection (`<data>/holder.sock`, mode 0600), one JSON message a packet, at most
//! [`PACKET_BYTES_MAX`]; descriptors ride along as `SCM_RIGHTS`. Only one agent is attached at a time: a newer one
//! replaces the older. The agent sends [`HolderRequest`]s; the holder answers each with a [`HolderReply`] of the same `id`, and
//! pushes [`HolderEvent`]s between them.

use crate::keyring::Keyring;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// The version of this protocol, which both sides state in `Hello`.
pub const PROTOCOL: u16 = 3;

/// The first one whose holders keep keys for labels.
pub const PROTOCOL_KEYRING: u16 = 3;

/// The oldest version of the protocol that is still understood.
pub const PROTOCOL_MIN: u16 = 2;

/// The longest packet: a command line and an environment fit, a flood does not.
pub const PACKET_BYTES_MAX: usize = 256 * 1024;

/// The most processes that are told of by number and name when software had to be killed: a message stays short.
pub const KILLED_TOLD_MAX: usize = 8;

/// A request with its number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HolderRequest {
    /// Chosen by the agent, returned in the reply.
    pub id: u64,
    /// What is asked.
    pub body: RequestBody,
}

/// What an agent asks of the holder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestBody {
    /// First message: the newest and the oldest protocol that the agent speaks. Answered by [`ReplyBody::Hello`].
    Hello {
        /// Newest.
        protocol: u16,
        /// Oldest.
        protocol_min: u16,
    },
    /// Start the software. Refused while its cgroup is not empty.
    Start(ChildSpec),
    /// Ask the software to end. The child's main process gets the signal; whatever is left when it has ended gets it then, and what
    /// appears later when its parent has. What has not ended after the grace is killed. All of it happens whether an agent
    /// is attached or not. A stop that is under way is not begun again: the grace that ends first counts.
    Stop {
        /// The signal's number.
        signal: i32,
        /// Everybody gets it at once.
        to_all: bool,
        /// How long the software may take.
        grace_ms: u64,
    },
    /// Kill everything in the child's cgroup (`cgroup.kill`, or every descendant under a subreaper).
    Kill,
    /// Duplicate the child's listening sockets at these local ports (`pidfd_getfd`) and keep them. Answered by
    /// [`ReplyBody::Kept`] with everything that is kept now. Idempotent.
    Keep {
        /// The ports of the services.
        ports: Vec<u16>,
    },
    /// Open a listening socket of the holder's own at this address (a port that an upgrade adds, or that an old
    /// version had). It is kept like a duplicate. Idempotent. Answered by [`ReplyBody::Kept`].
    Listen {
        /// Where to listen.
        address: SocketAddr,
    },
    /// The software gets its callers itself at these ports from now on: as soon as it listens there, and when `limit_ms` are over
    /// at the latest. What is kept there is closed when nobody can come to it any more. Answered by [`ReplyBody::Kept`].
    LetGo {
        /// The ports of the services.
        ports: Vec<u16>,
        /// For how long the software may take to listen.
        limit_ms: u64,
    },
    /// A connection of the agent's own will come from this local port: it reaches the software though callers are held.
    LetThrough {
        /// The source port.
        port: u16,
    },
    /// Close a kept listener (it goes to nobody).
    Drop {
        /// Which.
        listener: u64,
    },
    /// Send the descriptor of a kept listener, so that the agent can accept from it. Answered by [`ReplyBody::Listener`] with one descriptor.
    Fetch {
        /// Which.
        listener: u64,
    },
    /// Hand this connection (one descriptor) to the software when its accept hook shows this token, within `ttl_ms`. Then it is closed.
    Offer {
        /// The token of the token dial, 32 hex digits.
        token: String,
        /// For how long.
        ttl_ms: u64,
    },
    /// Give the connection back that is offered under this token; refused when it is not offered any more.
    Withdraw {
        /// The token of the token dial, 32 hex digits.
        token: String,
    },
    /// Keep this keyring, in the place of the one before, and give it to the software's processes that ask.
    Keyring(Keyring),
    /// End the holder; refused while the child's cgroup is not empty.
    Exit,
}

/// How the software is started. The holder runs `upstart launch` (same binary), which enters the cgroup, sets limits,
/// the seccomp filter and the user, and executes the command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChildSpec {
    /// Rises with every start; events name it.
    pub generation: u64,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The whole environment, `LD_PRELOAD` and the library's own variables included.
    pub environment: BTreeMap<String, String>,
    /// The working directory.
    pub directory: String,
    /// The user that the software runs as; the agent's own when absent.
    pub user: Option<String>,
    /// The file that its output is appended to.
    pub output: String,
    /// `io_uring_setup` answers ENOSYS (a seccomp filter, set before exec).
    pub refuse_io_uring: bool,
    /// `NO_NEW_PRIVS` may be set where the filter needs it: without privileges there is none otherwise.
    #[serde(default = "allowed")]
    pub no_new_privileges: bool,
    /// The library that it gets signs labels.
    #[serde(default)]
    pub signs: bool,
}

fn allowed() -> bool {
    true
}

/// How a child is intercepted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Interception {
    /// The net lies under it: the kernel shows the holder every call that did not go through the library.
    pub net: bool,
    /// Its programs do not gain rights by being executed.
    pub no_new_privileges: bool,
    /// Why there is no net.
    pub why_no_net: Option<String>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HolderReply {
    /// The request's number.
    pub id: u64,
    /// The answer, or what went wrong, in words.
    pub body: Result<ReplyBody, String>,
}

/// What the holder answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplyBody {
    /// Done.
    Done,
    /// The protocol that both speak from now on, and what the holder has.
    Hello {
        /// The protocol.
        protocol: u16,
        /// The state of things.
        state: HolderState,
    },
    /// The child runs.
    Started {
        /// Its process.
        pid: i32,
        /// How it is intercepted; a holder that does not say has no net.
        #[serde(default)]
        interception: Interception,
    },
    /// What is kept now.
    Kept(Vec<KeptListener>),
    /// One descriptor comes with this.
    Listener,
}

/// What a holder has, for an agent that adopts the node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HolderState {
    /// The child, when one was started and its cgroup is not empty.
    pub child: Option<RunningChild>,
    /// How the last child ended, when none runs.
    pub last_exit: Option<ChildExit>,
    /// The directory of the child's control group; `None`: only descent tells what belongs to it.
    #[serde(default)]
    pub group: Option<String>,
    /// The kept listeners.
    pub kept: Vec<KeptListener>,
    /// Addresses at which the hooks of the present child saw `listen` succeed.
    pub listening: Vec<SocketAddr>,
}

/// A running child.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunningChild {
    /// The start that it belongs to.
    pub generation: u64,
    /// Its main process; absent when only descendants are left.
    pub pid: Option<i32>,
    /// How it is intercepted.
    #[serde(default)]
    pub interception: Interception,
    /// The library that it got signs labels; one that a holder or an agent from before that has started does not.
    #[serde(default)]
    pub signs: bool,
}

/// How a child ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChildExit {
    /// The start that it belonged to.
    pub generation: u64,
    /// The exit code, when it exited.
    pub code: Option<i32>,
    /// The signal, when it was killed.
    pub signal: Option<i32>,
    /// What of it did not end within the grace of a stop.
    #[serde(default)]
    pub killed: Option<Killed>,
}

/// What was left of software when the grace of a stop was over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Killed {
    /// The signal that had asked it to end.
    pub signal: i32,
    /// How long ago.
    pub after_ms: u64,
    /// Its processes, at most [`KILLED_TOLD_MAX`] of them.
    pub processes: Vec<KilledProcess>,
    /// How many more there were.
    pub more: usize,
}

/// A process that was killed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KilledProcess {
    /// Its number.
    pub pid: i32,
    /// Its name, as the kernel shows it.
    pub program: String,
}

/// A listening socket that the holder keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptListener {
    /// Its number at this holder.
    pub listener: u64,
    /// Where it listens.
    pub address: SocketAddr,
    /// A duplicate of the software's socket (else opened by the holder).
    pub duplicate: bool,
}

/// What the holder tells without being asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HolderEvent {
    /// A connection for the agent; one descriptor comes with it. Nothing of its stream has been consumed.
    HandedOver {
        /// Why the accept hook gave it away.
        reason: HandOverReason,
        /// The software's address on it.
        local: SocketAddr,
        /// The peer's address on it.
        peer: SocketAddr,
    },
    /// The hooks saw the child listen.
    Listening {
        /// Where.
        address: SocketAddr,
    },
    /// What is kept has changed.
    Kept(Vec<KeptListener>),
    /// The child's main process ended and its cgroup is empty.
    ChildExited(ChildExit),
}

/// Why an accepted connection is given to the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HandOverReason {
    /// Its label's version has another interface, or is not known here.
    Foreign,
    /// It comes from a member's address and no label is there yet.
    Undecided,
    /// It has no label and the service's public version has another interface.
    Public,
    /// The software is being probed: everything but the agent's own waits for the release.
    Probing,
    /// It came to a listener that is kept until the software follows.
    Held,
}

/// A packet from the holder: an answer or an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromHolder {
    /// An answer.
    Reply(HolderReply),
    /// News.
    Event(HolderEvent),
}
