//! The wire label: a PROXY protocol v2 header that carries the caller's version.
//!
//! Load balancers and packet tools know the frame already. Layout, all numbers big endian (as the PROXY protocol has them,
//! <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>, section 2.2):
//!
//! ```text
//! signature[12]  command (LOCAL 0x20 | PROXY 0x21)  family (0x00 | TCP4 0x11 | TCP6 0x21)  length of what follows u16
//! [ source address, destination address, source port, destination port ]        with PROXY only
//! TLV 0xE5: format u8 = 1, flags u8, system u64, version u32, node u32, [token 16], [agent key 16],
//!           [question 16]
//! TLV 0xE6: format u8 = 1, key's generation u32, time u64 (seconds since 1970), address dialled [16] (IPv4 mapped),
//!           port dialled u16, MAC [16]                                         in signed labels only
//! TLV 0x03: CRC32c of the whole header, counted with zero in this field
//! ```
//!
//! TLVs and flags that are not known are skipped, so that later labels reach older readers: to those a signed label is one
//! without a proof. What a proof is worth is nothing that this crate could say: it carries it.

mod encoding;
mod parsing;

pub use ::crc32c::crc32c;
pub use parsing::{Parsed, parse};

use std::net::SocketAddr;

/// The longest label that is written or read: today's longest has 178 bytes, the rest is room for later TLVs.
pub const LABEL_BYTES_MAX: usize = 256;

/// The first bytes of every label (and of every PROXY v2 header).
pub const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

const COMMAND_LOCAL: u8 = 0x20;
const COMMAND_PROXY: u8 = 0x21;
const FAMILY_NONE: u8 = 0x00;
const FAMILY_TCP4: u8 = 0x11;
const FAMILY_TCP6: u8 = 0x21;
const FRAME_BYTES: usize = 16;
const TLV_HEAD_BYTES: usize = 3;
const TLV_CRC32C: u8 = 0x03;
const TLV_UPSTART: u8 = 0xE5;
const FORMAT: u8 = 1;
const FLAG_TOKEN: u8 = 0x01;
const FLAG_AGENT: u8 = 0x02;
const FLAG_QUESTION: u8 = 0x04;
/// Format, flags, system, version and node.
const FIXED_BYTES: usize = 18;
const TLV_PROOF: u8 = 0xE6;
const PROOF_FORMAT: u8 = 1;
/// Format, generation, time, address, port and MAC.
const PROOF_BYTES: usize = 47;

/// What one connection says about its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// The system that the caller belongs to.
    pub system: u64,
    /// The version at which the caller speaks.
    pub version: u32,
    /// The caller's node.
    pub node: u32,
    /// For whom the connection is made: the true caller's address and the address that it called. Only an agent says this.
    pub caller: Option<(SocketAddr, SocketAddr)>,
    /// The one-time token of a token dial.
    pub token: Option<[u8; 16]>,
    /// The key by which the software's own agent is known.
    pub agent_key: Option<[u8; 16]>,
    /// The number of a question: an agent asks whether a member listens here. The answer is the label of whoever does, with the
    /// same number; nothing else passes over the connection.
    pub question: Option<[u8; 16]>,
    /// What shows that the label was made by a member, where the system's labels are signed.
    pub proof: Option<Proof>,
}

/// That whoever made a label has a key of its system, and for which connection it made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Which of the system's keys.
    pub generation: u32,
    /// When, in seconds since 1970 by the caller's clock.
    pub at_s: u64,
    /// The address that the caller dialled.
    pub destination: SocketAddr,
    /// The code over all of it, cut to its first half.
    pub mac: [u8; 16],
}

impl Label {
    /// The label of ordinary software: no caller, token, key or proof.
    pub fn plain(system: u64, version: u32, node: u32) -> Self {
        Self {
            system,
            version,
            node,
            caller: None,
            token: None,
            agent_key: None,
            question: None,
            proof: None,
        }
    }
}
