//! Messages of the cluster bus: one of either version, as the other version writes it.
//!
//! The layouts are those of `clusterMsg` and `clusterMsgDataGossip` in each version's `cluster.h`. All numbers are big endian.
//!
//! ```text
//! bytes in 3.2  bytes in 7.0   what
//! 0..4          0..4           "RCmb"
//! 4..8          4..8           length of the message
//! 8..10         8..10          protocol version: 0, 1
//! 2200..2202    10..12         the sender's port for clients
//! 12..14        12..14         type
//! 14..16        14..16         how many gossip entries
//! 16..2168      16..2168       epochs, offset, sender, its slots, its master
//!               2168..2214     the sender's address, where it announces one
//!               2214..2216     how many extensions
//!               2246..2248     the port without TLS, where clients use TLS
//!               2248..2250     the port of the bus: in 3.2 always the client's + 10000
//! 2202..2204    2250..2252     the sender's flags
//! 2204          2252           the cluster's state as the sender sees it
//! 2205..2208    2253..2256     flags of the message
//! 2208..        2256..         gossip entries, or what the type says
//! ```
//!
//! In a gossip entry of 104 bytes the port is at 94..96 in both; the flags are at 96..98 in 3.2 and, behind the port of the bus, at 98..100 in 7.0.

use std::ops::Range;

/// The header's length in 3.2.
pub const OLD_HEADER: usize = 2208;
/// The header's length in 7.0.
pub const NEW_HEADER: usize = 2256;

const SIGNATURE: &[u8] = b"RCmb";
const LENGTH: usize = 4;
const VERSION: usize = 8;
const TYPE: usize = 12;
const COUNT: usize = 14;
/// Up to here both headers are the same, but for the version and 7.0's port.
const COMMON: Range<usize> = 0..2168;

const OLD_PORT: usize = 2200;
const NEW_PORT: usize = 10;
const NEW_BUS_PORT: usize = 2248;
const OLD_FLAGS: usize = 2202;
const NEW_FLAGS: usize = 2250;
/// The cluster's state, and the message's flags.
const OLD_STATE: Range<usize> = 2204..2208;
const NEW_STATE: Range<usize> = 2252..2256;

const GOSSIP: usize = 104;
const GOSSIP_PORT: usize = 94;
const OLD_GOSSIP_FLAGS: usize = 96;
const NEW_GOSSIP_BUS_PORT: usize = 96;
const NEW_GOSSIP_FLAGS: usize = 98;

/// Where 3.2 expects a node's bus.
const BUS_PORT_ABOVE: u16 = 10_000;
/// Node flags that 3.2 knows: up to "migrate to" (256). 7.0 has "no failover" (512) besides.
const OLD_NODE_FLAGS: u16 = 0x1ff;
/// Flags of a message that 3.2 knows: "paused" and "force ack". 7.0 has "extensions follow" besides.
const OLD_MESSAGE_FLAGS: u8 = 0b11;
/// Ping, pong and meet carry gossip.
const GOSSIP_TYPES: Range<u16> = 0..3;
const PUBLISH: u16 = 4;
/// 3.2 knows the types below; "module" and "publish to a shard" are 7.0's.
const OLD_TYPES: Range<u16> = 0..9;

/// A version of the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Redis 3.x.
    Old = 0,
    /// Redis 4.0 to 7.x.
    New = 1,
}

/// What becomes of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Translated {
    /// It is said so in the other version.
    Message(Vec<u8>),
    /// The other version has no such message and needs none: nobody is told.
    Nothing,
}

/// Why a message cannot be translated; the connection ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BusError {
    /// It is no message of the bus.
    Malformed(&'static str),
    /// The node's bus is at another port than 3.2 would look for.
    BusPort {
        /// The port for clients.
        port: u16,
        /// The port of the bus.
        bus_port: u16,
    },
}

impl std::fmt::Display for BusError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Malformed(what) => write!(f, "no message of the bus: {what}"),
            Self::BusPort { port, bus_port } => write!(
                f,
                "the bus of the node at port {port} is at {bus_port}; Redis 3.2 looks for it at {}: remove `cluster-port`",
                u32::from(*port) + u32::from(BUS_PORT_ABOVE)
            ),
        }
    }
}

impl std::error::Error for BusError {}

/// Whose message this is, by its first bytes.
pub fn version(message: &[u8]) -> Result<Version, BusError> {
    if message.len() < COUNT + 2 || !message.starts_with(SIGNATURE) {
        return Err(BusError::Malformed("it does not begin with RCmb"));
    }
    match number(message, VERSION) {
        0 => Ok(Version::Old),
        1 => Ok(Version::New),
        _ => Err(BusError::Malformed(
            "its protocol version is neither 0 nor 1",
        )),
    }
}

/// Whether a message's body is the same in both versions and may be long: only its head need be translated.
pub fn body_stays(head: &[u8]) -> bool {
    head.len() >= NEW_HEADER && number(head, TYPE) == PUBLISH
}

/// A whole message, or the head of one whose [body stays](body_stays), as the other version writes it.
pub fn translate(message: &[u8]) -> Result<Translated, BusError> {
    match version(message)? {
        Version::Old => to_new(message).map(Translated::Message),
        Version::New if OLD_TYPES.contains(&number(message, TYPE)) => {
            to_old(message).map(Translated::Message)
        }
        Version::New => Ok(Translated::Nothing),
    }
}

fn to_new(old: &[u8]) -> Result<Vec<u8>, BusError> {
    let body = old.get(OLD_HEADER..).ok_or(SHORT)?;
    let mut new = vec![0; NEW_HEADER];
    new[COMMON].copy_from_slice(&old[COMMON]);
    set(&mut new, VERSION, Version::New as u16);
    set(&mut new, NEW_PORT, number(old, OLD_PORT));
    set(&mut new, NEW_BUS_PORT, bus_port(number(old, OLD_PORT))?);
    set(&mut new, NEW_FLAGS, number(old, OLD_FLAGS));
    new[NEW_STATE].copy_from_slice(&old[OLD_STATE]);
    if GOSSIP_TYPES.contains(&number(old, TYPE)) {
        for entry in gossip(old, body)? {
            let mut entry = entry.to_vec();
            let flags = number(&entry, OLD_GOSSIP_FLAGS);
            entry[NEW_GOSSIP_BUS_PORT..].fill(0);
            let port = number(&entry, GOSSIP_PORT);
            set(&mut entry, NEW_GOSSIP_BUS_PORT, bus_port(port)?);
            set(&mut entry, NEW_GOSSIP_FLAGS, flags);
            new.extend(entry);
        }
    } else {
        new.extend(body);
    }
    set_length(&mut new, old.len())?;
    Ok(new)
}

fn to_old(new: &[u8]) -> Result<Vec<u8>, BusError> {
    let body = new.get(NEW_HEADER..).ok_or(SHORT)?;
    let (port, at) = (number(new, NEW_PORT), number(new, NEW_BUS_PORT));
    if bus_port(port) != Ok(at) {
        return Err(BusError::BusPort { port, bus_port: at });
    }
    let mut old = vec![0; OLD_HEADER];
    old[COMMON].copy_from_slice(&new[COMMON]);
    set(&mut old, VERSION, Version::Old as u16);
    set(&mut old, NEW_PORT, 0);
    set(&mut old, OLD_PORT, port);
    set(&mut old, OLD_FLAGS, number(new, NEW_FLAGS) & OLD_NODE_FLAGS);
    old[OLD_STATE].copy_from_slice(&new[NEW_STATE]);
    old[OLD_STATE.start + 1] &= OLD_MESSAGE_FLAGS;
    if GOSSIP_TYPES.contains(&number(new, TYPE)) {
        let mut count = 0;
        for entry in gossip(new, body)? {
            let port = number(entry, GOSSIP_PORT);
            // 3.2 could not reach such a node, and takes what it has not heard of for unknown.
            if bus_port(port) != Ok(number(entry, NEW_GOSSIP_BUS_PORT)) {
                continue;
            }
            let mut entry = entry.to_vec();
            let flags = number(&entry, NEW_GOSSIP_FLAGS) & OLD_NODE_FLAGS;
            entry[OLD_GOSSIP_FLAGS..].fill(0);
            set(&mut entry, OLD_GOSSIP_FLAGS, flags);
            old.extend(entry);
            count += 1;
        }
        set(&mut old, COUNT, count);
    } else {
        old.extend(body);
    }
    set_length(&mut old, new.len())?;
    Ok(old)
}

const SHORT: BusError = BusError::Malformed("it is shorter than its header");

/// A message's gossip entries; behind them 7.0 may have extensions, of which 3.2 knows nothing.
fn gossip<'m>(message: &[u8], body: &'m [u8]) -> Result<impl Iterator<Item = &'m [u8]>, BusError> {
    let length = usize::from(number(message, COUNT)) * GOSSIP;
    let entries = body.get(..length).ok_or(BusError::Malformed(
        "it has fewer gossip entries than it says",
    ))?;
    Ok(entries.chunks_exact(GOSSIP))
}

/// Where 3.2 looks for the bus of the node with this port; an unknown node's port is 0.
fn bus_port(port: u16) -> Result<u16, BusError> {
    match port {
        0 => Ok(0),
        _ => port.checked_add(BUS_PORT_ABOVE).ok_or(BusError::Malformed(
            "the port leaves no room for that of the bus",
        )),
    }
}

/// Sets the length that the message now has. Of a message of which only the head is here, as much longer or shorter as its head became.
fn set_length(message: &mut [u8], before: usize) -> Result<(), BusError> {
    let said = u32::from_be_bytes(four(message, LENGTH)) as usize;
    let rest = said
        .checked_sub(before)
        .ok_or(BusError::Malformed("it is longer than it says"))?;
    let length = u32::try_from(message.len() + rest)
        .map_err(|_| BusError::Malformed("its length does not fit"))?;
    message[LENGTH..LENGTH + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

fn number(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn four(bytes: &[u8], at: usize) -> [u8; 4] {
    [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]
}

fn set(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}
