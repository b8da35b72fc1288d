//! Signing labels, and what the proof of one is worth. Pure: the clock and the addresses come in.
//!
//! A proof binds everything that a label says about its caller, the address that the caller dialled, and the time. So a label that
//! somebody has listened to is of no use at another node or service, nor later, nor for another caller or version.

use super::KeyringView;
use crate::address::canonical;
use hmac::{Hmac, KeyInit, Mac};
use label::{Label, Proof};
use sha2::Sha256;
use std::net::{IpAddr, SocketAddr};

/// So that the code is of no use anywhere else.
const PURPOSE: &[u8; 16] = b"upstart label 1\0";

/// How old a label may be, by the clock of whoever gets it: two clocks may differ by five minutes, and a connection may wait as long
/// in a queue.
pub(super) const AGE_S_MAX: u64 = 600;

/// By how much the caller's clock may be ahead.
pub(super) const AHEAD_S_MAX: u64 = 300;

/// What a label's proof is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofVerdict {
    /// Whoever made the label has the system's key, and made it for this address now.
    Proved,
    /// It has none.
    Unsigned,
    /// By a key that has ended, or that is not known here.
    UnknownKey,
    /// By no key of the system, or the label was changed.
    Forged,
    /// For another address.
    Elsewhere,
    /// Too old, or from the future.
    Untimely,
}

/// What judges the labels of accepted connections.
#[derive(Clone, Copy, Debug)]
pub struct Proofs<'a> {
    /// The keys; none while they cannot be had, or labels are not signed.
    pub keyring: Option<KeyringView<'a>>,
    /// Seconds since 1970.
    pub now_s: u64,
}

impl Proofs<'_> {
    /// For a node whose system signs no labels.
    pub const NONE: Self = Self {
        keyring: None,
        now_s: 0,
    };

    /// Whether a label that has come to `local` is to be believed; `None` while that is not known: then it is the agent's to judge.
    /// Of those that are, whether their proof says so.
    pub(crate) fn believe(&self, label: &Label, local: SocketAddr) -> Option<bool> {
        let keyring = self.keyring?;
        match keyring.verdict(label, local, self.now_s) {
            ProofVerdict::Proved => Some(true),
            _ if keyring.demanded() => None,
            _ => Some(false),
        }
    }
}

impl KeyringView<'_> {
    /// Whether labels without a valid proof are refused. So it is, too, while nothing can be read.
    pub fn demanded(&self) -> bool {
        self.read(|keys| keys.demanded()).unwrap_or(true)
    }

    /// Signs a label for a connection to `destination`, where labels are signed.
    pub fn sign(&self, label: Label, destination: SocketAddr, now_s: u64) -> Label {
        let key = self.read(|keys| {
            let generation = keys.signing()?;
            Some((generation, keys.key(generation)?))
        });
        let Some((generation, key)) = key.flatten() else {
            return label;
        };
        let mut proof = Proof {
            generation,
            at_s: now_s,
            destination: canonical(destination),
            mac: [0; 16],
        };
        let whole = code(&key, &label, &proof).finalize().into_bytes();
        proof.mac.copy_from_slice(&whole[..16]);
        Label {
            proof: Some(proof),
            ..label
        }
    }

    /// What the proof of a label is worth that has come to the node's address `local`.
    pub fn verdict(&self, label: &Label, local: SocketAddr, now_s: u64) -> ProofVerdict {
        let Some(proof) = &label.proof else {
            return ProofVerdict::Unsigned;
        };
        let key = self.read(|keys| keys.key(proof.generation)).flatten();
        let Some(key) = key else {
            return ProofVerdict::UnknownKey;
        };
        // In constant time.
        let whole = code(&key, label, proof).verify_truncated_left(&proof.mac);
        let dialled = canonical(proof.destination);
        let leads_here = dialled == canonical(local)
            || self.read(|keys| keys.leads(dialled, local.port())) == Some(true);
        if whole.is_err() {
            ProofVerdict::Forged
        } else if !leads_here {
            ProofVerdict::Elsewhere
        } else if proof.at_s > now_s.saturating_add(AHEAD_S_MAX)
            || now_s > proof.at_s.saturating_add(AGE_S_MAX)
        {
            ProofVerdict::Untimely
        } else {
            ProofVerdict::Proved
        }
    }
}

/// The code over what a label and its proof say.
fn code(key: &[u8; 32], label: &Label, proof: &Proof) -> Hmac<Sha256> {
    // As HMAC fills up a key that is shorter than a block.
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    let mut code = Hmac::<Sha256>::new(&block.into());
    let ip = match proof.destination.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    code.update(PURPOSE);
    code.update(&proof.generation.to_be_bytes());
    code.update(&proof.at_s.to_be_bytes());
    code.update(&ip.octets());
    code.update(&proof.destination.port().to_be_bytes());
    code.update(&label.system.to_be_bytes());
    code.update(&label.version.to_be_bytes());
    code.update(&label.node.to_be_bytes());
    match &label.question {
        Some(number) => {
            code.update(&[1]);
            code.update(number);
        }
        None => code.update(&[0]),
    }
    code
}
