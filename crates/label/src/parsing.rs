//! From bytes to a label.

use crate::{
    COMMAND_LOCAL, COMMAND_PROXY, FAMILY_TCP4, FAMILY_TCP6, FIXED_BYTES, FLAG_AGENT, FLAG_QUESTION,
    FLAG_TOKEN, FORMAT, FRAME_BYTES, LABEL_BYTES_MAX, Label, PROOF_BYTES, PROOF_FORMAT, Proof,
    SIGNATURE, TLV_CRC32C, TLV_HEAD_BYTES, TLV_PROOF, TLV_UPSTART,
};
use crc32c::{crc32c, crc32c_append};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "hooks allocate nothing, and have one at a time"
)]
pub enum Parsed {
    /// A whole label; the stream proper begins after `length` bytes.
    Label {
        /// What it says.
        label: Label,
        /// How many bytes it takes.
        length: usize,
    },
    /// What is there could become a label, more bytes are needed (none at all included).
    Partial,
    /// The caller's own bytes, a foreign PROXY header, or a label of another format.
    NotALabel,
    /// It carries our TLV but its lengths or its checksum are wrong, or the checksum is missing.
    Damaged,
}

/// Reads the label at the beginning of `bytes`. Total: every input has an answer, none panics.
pub fn parse(bytes: &[u8]) -> Parsed {
    let seen = bytes.len().min(SIGNATURE.len());
    if bytes[..seen] != SIGNATURE[..seen] {
        return Parsed::NotALabel;
    }
    let Some(frame) = bytes.get(..FRAME_BYTES) else {
        return Parsed::Partial;
    };
    let length = FRAME_BYTES + usize::from(u16::from_be_bytes([frame[14], frame[15]]));
    let plausible = matches!(frame[12], COMMAND_LOCAL | COMMAND_PROXY) && length <= LABEL_BYTES_MAX;
    if !plausible {
        return Parsed::NotALabel;
    }
    match bytes.get(..length) {
        None => Parsed::Partial,
        Some(header) => whole(header),
    }
}

fn whole(header: &[u8]) -> Parsed {
    let address_bytes = match header[13] {
        FAMILY_TCP4 => 12,
        FAMILY_TCP6 => 36,
        _ => 0,
    };
    let body = &header[FRAME_BYTES..];
    let Some((addresses, tlvs)) = body.split_at_checked(address_bytes) else {
        return Parsed::NotALabel;
    };
    let found = match scan(tlvs, FRAME_BYTES + address_bytes) {
        Ok(found) => found,
        Err(ours_seen) => {
            return if ours_seen {
                Parsed::Damaged
            } else {
                Parsed::NotALabel
            };
        }
    };
    let Some(ours) = found.ours else {
        return Parsed::NotALabel;
    };
    if ours.first() != Some(&FORMAT) {
        return Parsed::NotALabel;
    }
    let intact = found.checksum_at.is_some_and(|at| checks(header, at));
    let caller = if header[12] == COMMAND_PROXY {
        caller(addresses)
    } else {
        None
    };
    match (identity(ours), found.proof.map_or(Some(None), proof)) {
        (Some(label), Some(proof)) if intact => Parsed::Label {
            label: Label {
                caller,
                proof,
                ..label
            },
            length: header.len(),
        },
        _ => Parsed::Damaged,
    }
}

struct FoundHeader<'a> {
    ours: Option<&'a [u8]>,
    proof: Option<&'a [u8]>,
    checksum_at: Option<usize>,
}

/// Finds the TLVs that matter; `Err` where the list does not fit its frame (with: whether ours was among them).
fn scan(mut tlvs: &[u8], mut offset: usize) -> Result<FoundHeader<'_>, bool> {
    let mut found = FoundHeader {
        ours: None,
        proof: None,
        checksum_at: None,
    };
    while !tlvs.is_empty() {
        let ours_seen = found.ours.is_some();
        let (head, rest) = tlvs.split_at_checked(TLV_HEAD_BYTES).ok_or(ours_seen)?;
        let length = usize::from(u16::from_be_bytes([head[1], head[2]]));
        let (value, rest) = rest
            .split_at_checked(length)
            .ok_or(ours_seen || head[0] == TLV_UPSTART)?;
        match head[0] {
            TLV_UPSTART if !ours_seen => found.ours = Some(value),
            TLV_PROOF if found.proof.is_none() => found.proof = Some(value),
            TLV_CRC32C if length == 4 => found.checksum_at = Some(offset + TLV_HEAD_BYTES),
            _ => {}
        }
        tlvs = rest;
        offset += TLV_HEAD_BYTES + length;
    }
    Ok(found)
}

fn checks(header: &[u8], at: usize) -> bool {
    let sum = crc32c(&header[..at]);
    let sum = crc32c_append(sum, &[0; 4]);
    let sum = crc32c_append(sum, &header[at + 4..]);
    header[at..at + 4] == sum.to_be_bytes()
}

fn identity(mut value: &[u8]) -> Option<Label> {
    let fixed = take::<FIXED_BYTES>(&mut value)?;
    let mut fixed = &fixed[1..];
    let [flags] = take(&mut fixed)?;
    let system = u64::from_be_bytes(take(&mut fixed)?);
    let version = u32::from_be_bytes(take(&mut fixed)?);
    let node = u32::from_be_bytes(take(&mut fixed)?);
    let mut optional = |flag| {
        if flags & flag == 0 {
            return Some(None);
        }
        take(&mut value).map(Some)
    };
    let token = optional(FLAG_TOKEN)?;
    let agent_key = optional(FLAG_AGENT)?;
    let question = optional(FLAG_QUESTION)?;
    Some(Label {
        system,
        version,
        node,
        caller: None,
        token,
        agent_key,
        question,
        proof: None,
    })
}

/// The proof in its TLV, or none where it is of a later format; `None` where it is no whole one.
fn proof(mut value: &[u8]) -> Option<Option<Proof>> {
    if value.first() != Some(&PROOF_FORMAT) {
        return Some(None);
    }
    if value.len() != PROOF_BYTES {
        return None;
    }
    take::<1>(&mut value)?;
    let generation = u32::from_be_bytes(take(&mut value)?);
    let at_s = u64::from_be_bytes(take(&mut value)?);
    let ip = Ipv6Addr::from(take::<16>(&mut value)?);
    let port = u16::from_be_bytes(take(&mut value)?);
    let mac = take(&mut value)?;
    Some(Some(Proof {
        generation,
        at_s,
        destination: SocketAddr::new(IpAddr::V6(ip).to_canonical(), port),
        mac,
    }))
}

fn caller(addresses: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let mut rest = addresses;
    let (from, to) = if addresses.len() == 12 {
        (
            Ipv4Addr::from(take::<4>(&mut rest)?).into(),
            Ipv4Addr::from(take::<4>(&mut rest)?).into(),
        )
    } else {
        (
            Ipv6Addr::from(take::<16>(&mut rest)?).into(),
            Ipv6Addr::from(take::<16>(&mut rest)?).into(),
        )
    };
    let from_port = u16::from_be_bytes(take(&mut rest)?);
    let to_port = u16::from_be_bytes(take(&mut rest)?);
    Some((
        SocketAddr::new(from, from_port),
        SocketAddr::new(to, to_port),
    ))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk::<N>()?;
    *rest = left;
    Some(*taken)
}
