//! The member table: whom the software gets labels to and from, in memory that hooks read without locks.
//!
//! The agent builds a [`Table`] and publishes it with [`TableFile`]; hooks have it read-only and look at it through
//! [`TableView`]. It has two buffers and an epoch word: the buffer that the epoch does not name is written, then the
//! epoch. Nodes keep it in shared memory that nobody can cut; a file, which somebody can, serves where no software is at stake.

mod file;
mod layout;
mod view;

pub use file::TableFile;
pub use layout::{FILE_BYTES, FILE_WORDS};
pub use view::{ServiceView, Snapshot, TableView};

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// Services of one class; their lookup is a scan.
pub const SERVICES_MAX: usize = 64;
/// Versions with the present interface, for one service: the newest ones count.
pub const VERSIONS_MAX: usize = 64;
/// Endpoints of members. Larger systems use declared networks.
pub const ENDPOINTS_MAX: usize = 16384;
/// Addresses of members whose labels are honoured.
pub const SOURCES_MAX: usize = 16384;
/// Declared networks whose labels are honoured.
pub const NETWORKS_MAX: usize = 256;

/// What the hooks of one child go by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// The system; labels of another are not honoured.
    pub system: u64,
    /// The child's node.
    pub node: u32,
    /// The version that the child's labels carry.
    pub version: u32,
    /// By it the child knows its own agent's connections: the lock that the agent's key opens ([`crate::agent_key`]).
    pub agent_lock: [u8; 16],
    /// Every accepted connection at a service but the agent's own is handed over.
    pub probing: bool,
    /// Connects to members answer ECONNREFUSED.
    pub refuse_members: bool,
    /// The child is about to be stopped: until then (on the monotonic clock; 0: it is not) what comes stays in the listeners' queues for the
    /// software that follows. An end, since the agent that says it may die before it stops anything.
    pub stopping_until_ms: u64,
    /// A label from this host is there when accept returns (`net.ipv4.tcp_fastopen` has the client's bit).
    pub local_labels_prompt: bool,
    /// Members are asked for TCP Fast Open's cookies, with which their kernels deliver a label at the first packet
    /// (`net.ipv4.tcp_fastopen` has the server's bit, here and, it is taken, on the members' hosts).
    pub cookies: bool,
    /// Labels are signed: what with, and whether that is demanded, stands in the keyring ([`crate::keyring`]).
    pub signs: bool,
    /// The declared services of the child's class at its version.
    pub services: Vec<TableService>,
    /// Where members listen, load balancers included; any order.
    pub endpoints: Vec<SocketAddr>,
    /// Those of them at which nobody has shown lately that a member listens, and no server says so: the software is not connected there.
    /// Of more than fit beside the endpoints, the first.
    pub doubtful: Vec<SocketAddr>,
    /// Addresses whose labels are honoured; any order.
    pub sources: Vec<IpAddr>,
    /// Networks whose labels are honoured: address and prefix length.
    pub networks: Vec<(IpAddr, u8)>,
}

/// A declared service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableService {
    /// Its port.
    pub port: u16,
    /// The holder keeps a listener for this port: `bind` asks for it first.
    pub kept: bool,
    /// Some member may not know this port yet: callers without a label from members' addresses are the agent's to judge.
    pub unsure: bool,
    /// Callers without a label are the software's own (the public version has the present interface).
    pub public_direct: bool,
    /// Its callers speak first, as its protocol has it.
    pub callers_begin: bool,
    /// Versions with the present interface, the present one included.
    pub versions: Vec<u32>,
}

/// Why a table cannot be published.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// More than the file has room for.
    #[error("member table: {count} {what}, at most {limit} fit")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many fit.
        limit: usize,
    },
    /// The file holds something else, or a layout of another version.
    #[error("{} is not a member table of this version; end the software with `upstart stop`, then start the agent again", path.display())]
    NotATable {
        /// Which file.
        path: PathBuf,
    },
    /// The file system failed.
    #[error("member table {}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// How.
        source: std::io::Error,
    },
}
