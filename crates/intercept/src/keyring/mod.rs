//! The keys by which a system's labels are signed, in memory that only the node's own processes have: agent, holder, and the software
//! that the holder gives it to.
//!
//! The member table says, to everybody on the machine, whether labels are signed; what they are signed with stands here. The holder
//! keeps the memory ([`HeldKeyring`]) and gives processes of the software a descriptor through which they map it, to be read only. It has two
//! buffers and an epoch, as the table has, so that a process that has it once sees every later key.

mod proof;
mod words;

pub use proof::{ProofVerdict, Proofs};
pub use words::{BYTES, HeldKeyring, KeyringView, WORDS};

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::SocketAddr;

/// Keys at once: one that ends, one that is in force, and room.
pub const KEYS_MAX: usize = 4;

/// Addresses of the node's own that are no addresses of its host; of more than that the agent judges.
pub const ENDPOINTS_MAX: usize = 256;

/// How labels are signed and what is asked of those that come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keyring {
    /// A label without a valid proof is refused.
    pub demanded: bool,
    /// The generation of the key by which the software's labels are signed.
    pub signing: Option<u32>,
    /// The keys that count.
    pub keys: Vec<LabelKey>,
    /// Where callers dial that reach this node, besides the addresses at which it accepts: a balancer's, a translated one.
    pub endpoints: Vec<OwnEndpoint>,
}

/// One of a system's keys.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelKey {
    /// Counts the system's keys.
    pub generation: u32,
    /// The key.
    pub key: [u8; 32],
}

/// An address that callers dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OwnEndpoint {
    /// What they dial.
    pub at: SocketAddr,
    /// The port at which they arrive.
    pub port: u16,
}

impl fmt::Debug for LabelKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let generation = &self.generation;
        write!(out, "LabelKey({generation})")
    }
}

#[cfg(test)]
mod tests;
