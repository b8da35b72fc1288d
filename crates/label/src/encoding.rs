//! From a label to bytes.

use crate::{
    COMMAND_LOCAL, COMMAND_PROXY, FAMILY_NONE, FAMILY_TCP4, FAMILY_TCP6, FIXED_BYTES, FLAG_AGENT,
    FLAG_QUESTION, FLAG_TOKEN, FORMAT, FRAME_BYTES, LABEL_BYTES_MAX, Label, PROOF_BYTES,
    PROOF_FORMAT, Proof, SIGNATURE, TLV_CRC32C, TLV_PROOF, TLV_UPSTART,
};
use crc32c::crc32c;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

impl Label {
    /// Writes the label and returns its length. A caller whose two addresses are of different families is written as TCP6 with
    /// mapped addresses; flow labels and scopes are not carried.
    pub fn encode(&self, into: &mut [u8; LABEL_BYTES_MAX]) -> usize {
        let mut out = Writer { into, at: 0 };
        out.put(&SIGNATURE);
        out.put(&[if self.caller.is_some() {
            COMMAND_PROXY
        } else {
            COMMAND_LOCAL
        }]);
        out.put(&[FAMILY_NONE, 0, 0]);
        out.caller(self.caller);
        out.identity(self);
        if let Some(proof) = &self.proof {
            out.proof(proof);
        }
        out.put(&[TLV_CRC32C, 0, 4, 0, 0, 0, 0]);
        out.finish()
    }
}

struct Writer<'a> {
    into: &'a mut [u8; LABEL_BYTES_MAX],
    at: usize,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.into[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    fn caller(&mut self, caller: Option<(SocketAddr, SocketAddr)>) {
        let Some((source, destination)) = caller else {
            return;
        };
        match (source.ip(), destination.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                self.into[13] = FAMILY_TCP4;
                self.put(&from.octets());
                self.put(&to.octets());
            }
            (from, to) => {
                self.into[13] = FAMILY_TCP6;
                self.put(&mapped(from).octets());
                self.put(&mapped(to).octets());
            }
        }
        self.put(&source.port().to_be_bytes());
        self.put(&destination.port().to_be_bytes());
    }

    fn identity(&mut self, label: &Label) {
        let optional = [
            (FLAG_TOKEN, &label.token),
            (FLAG_AGENT, &label.agent_key),
            (FLAG_QUESTION, &label.question),
        ];
        let there = optional.iter().filter_map(|(_, value)| value.as_ref());
        let optional_bytes: usize = there.clone().map(|value| value.len()).sum();
        let flags = (optional.iter())
            .filter(|(_, value)| value.is_some())
            .fold(0, |flags, (flag, _)| flags | flag);
        self.put(&[
            TLV_UPSTART,
            0,
            (FIXED_BYTES + optional_bytes) as u8,
            FORMAT,
            flags,
        ]);
        self.put(&label.system.to_be_bytes());
        self.put(&label.version.to_be_bytes());
        self.put(&label.node.to_be_bytes());
        for value in there {
            self.put(value);
        }
    }

    fn proof(&mut self, proof: &Proof) {
        self.put(&[TLV_PROOF, 0, PROOF_BYTES as u8, PROOF_FORMAT]);
        self.put(&proof.generation.to_be_bytes());
        self.put(&proof.at_s.to_be_bytes());
        self.put(&mapped(proof.destination.ip()).octets());
        self.put(&proof.destination.port().to_be_bytes());
        self.put(&proof.mac);
    }

    fn finish(self) -> usize {
        let body = (self.at - FRAME_BYTES) as u16;
        self.into[14..16].copy_from_slice(&body.to_be_bytes());
        let sum = crc32c(&self.into[..self.at]);
        self.into[self.at - 4..self.at].copy_from_slice(&sum.to_be_bytes());
        self.at
    }
}

fn mapped(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}
