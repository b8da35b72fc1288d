//! What to do with a connect, a bind or an accepted connection. Pure: the table and the facts come in, a decision goes out.
//!
//! ```text
//! accepted at a declared service:
//!   an agent's question, from a member    -> Answer    and nothing else passes
//!   label with a token                    -> Take      the connection that was offered under it
//!   label with our agent's key            -> Deliver   its label consumed, the true caller shown
//!   label of another system, damaged, or
//!     from an address not honoured        -> Undecided the agent judges
//!   label without the proof that is asked
//!     for, where labels are signed        -> Undecided the agent refuses it, and says why
//!   probing                               -> Probing
//!   label, version of this interface      -> Deliver   its label consumed: a raw kernel socket from here on
//!   label, another version                -> Foreign
//!   no label, not from a member,
//!     or certainly not one's              -> Deliver when the public version has this interface, else Public
//!   nothing there yet, from a member      -> Undecided a late label, or none: the agent sees it first
//!   no label, from a member's address,
//!     while some member may not know
//!     this port                           -> Undecided a member that did not know better, or a program beside one
//! ```

use crate::address::destination;
use crate::agent_key::lock_of;
use crate::holder::HandOverReason;
use crate::keyring::Proofs;
use crate::stats::Counter;
use crate::table::{ServiceView, Snapshot};
use label::{Label, Parsed};
use std::net::{IpAddr, SocketAddr};

#[cfg(test)]
mod tests;

/// Why a connection is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bypass {
    /// No table is mapped, or nothing was published.
    NoTable,
    /// Not an internet address.
    NotInternet,
    /// The destination is no member.
    NotAMember,
    /// The destination is no member, but has the port of a service: it may be a member's address that nobody has declared.
    LikeAMember,
    /// Not TCP.
    NotTcp,
    /// The socket is connecting, connected or listening already: this call does not begin a connection.
    Underway,
    /// The local port is no declared service.
    NotAService,
}

/// What to do with a connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connect {
    /// Send this first.
    Label(Label),
    /// The plain call.
    Bypass(Bypass),
    /// Answer ECONNREFUSED, and count it.
    Refuse(Counter),
}

/// Where an accepted connection comes from, before its first bytes are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Its local port is no declared service: it is left alone.
    NotAService,
    /// From a member's address: a label is expected.
    Member,
    /// From anywhere else: nothing is expected.
    Outsider,
}

/// What the stream of an accepted connection begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// Nothing has come yet, and no packet was lost so far.
    Nothing,
    /// Nothing has come yet, and a packet was sent again: what was sent first may still come.
    Delayed,
    /// Nothing, and nothing will: the peer has closed its side or reset it.
    End,
}

/// What to do with an accepted connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accept {
    /// Consume this many bytes and return it; show this caller where there is one.
    Deliver {
        /// The label's length, or 0.
        consume: usize,
        /// The true caller.
        caller: Option<SocketAddr>,
        /// Which kind of delivery this is.
        counter: Counter,
    },
    /// Take its question, of so many bytes, answer it with this label, and close it.
    Answer {
        /// The question's length.
        consume: usize,
        /// The answer.
        answer: Label,
    },
    /// Give it to the holder.
    HandOver(HandOverReason),
    /// Return the connection that was offered under this token instead of it.
    Take {
        /// The token.
        token: [u8; 16],
        /// Whom it shows, where that is not its peer.
        caller: Option<SocketAddr>,
    },
}

/// Decides on a connect to this address.
pub fn on_connect(table: &Snapshot<'_>, to: SocketAddr) -> Connect {
    if !table.is_endpoint(destination(to)) {
        Connect::Bypass(match table.service(to.port()) {
            Some(_) => Bypass::LikeAMember,
            None => Bypass::NotAMember,
        })
    } else if table.refuse_members() {
        Connect::Refuse(Counter::ConnectRefused)
    } else if table.is_doubtful(destination(to)) {
        Connect::Refuse(Counter::ConnectInDoubt)
    } else {
        Connect::Label(own_label(table))
    }
}

/// Decides on a connect of the software to itself, at a port beside which something is kept. While it is probed its own label says
/// whose the connection is, at an address that is no member's too.
pub fn on_connect_to_itself(table: &Snapshot<'_>, to: SocketAddr) -> Connect {
    match on_connect(table, to) {
        Connect::Bypass(_) if !table.probing() => Connect::Bypass(Bypass::NotAMember),
        _ => Connect::Label(own_label(table)),
    }
}

fn own_label(table: &Snapshot<'_>) -> Label {
    Label::plain(table.system(), table.version(), table.node())
}

/// Whether a label to this address may ask for a Fast Open cookie, and be late for it.
pub fn may_ask_for_cookie(table: &Snapshot<'_>, to: SocketAddr) -> bool {
    table.cookies() && !destination(to).ip().is_loopback()
}

/// Whether a bind to this port asks the holder first.
pub fn on_bind(table: &Snapshot<'_>, port: u16) -> bool {
    table.service(port).is_some_and(|service| service.kept())
}

/// Whether the software accepts nothing more from a listener at this port. Whoever is stopped between its accept and the
/// hand-over to the holder takes a connection with it that nobody can answer any more.
pub fn leaves_queued(table: &Snapshot<'_>, port: u16, now_ms: u64) -> bool {
    table.stopping(now_ms) && table.service(port).is_some()
}

/// How an accepted connection is looked at.
pub fn on_arrival(table: &Snapshot<'_>, local: SocketAddr, peer: SocketAddr) -> Arrival {
    if table.service(local.port()).is_none() {
        Arrival::NotAService
    } else if table.is_source(peer.ip().to_canonical()) {
        Arrival::Member
    } else {
        Arrival::Outsider
    }
}

/// Decides on an accepted connection. `proofs` are looked at where labels are signed only.
pub fn on_accept(
    table: &Snapshot<'_>,
    local: SocketAddr,
    peer: SocketAddr,
    first: First<'_>,
    proofs: &Proofs<'_>,
) -> Accept {
    let Some(service) = table.service(local.port()) else {
        return deliver(Counter::AcceptNotAService);
    };
    let at = local;
    let (local, peer) = (local.ip().to_canonical(), peer.ip().to_canonical());
    let parsed = match first {
        First::Bytes(bytes) => label::parse(bytes),
        First::Nothing | First::Delayed => Parsed::Partial,
        First::End => Parsed::NotALabel,
    };
    match parsed {
        Parsed::Label { label, length } => {
            // What it says may be weighed; what is done with a label that is no caller's, as an agent's own, needs no proof.
            let believed = || {
                if table.signs() {
                    proofs.believe(&label, at)
                } else {
                    Some(true)
                }
            };
            labelled(table, &service, (local, peer), &label, length, believed)
        }
        Parsed::Damaged => Accept::HandOver(HandOverReason::Undecided),
        _ if table.probing() => Accept::HandOver(HandOverReason::Probing),
        Parsed::Partial if may_be_late(table, local, peer, first) => {
            Accept::HandOver(HandOverReason::Undecided)
        }
        Parsed::Partial | Parsed::NotALabel if service.unsure() && table.is_source(peer) => {
            Accept::HandOver(HandOverReason::Undecided)
        }
        Parsed::Partial | Parsed::NotALabel => unlabelled(&service),
    }
}

fn labelled(
    table: &Snapshot<'_>,
    service: &ServiceView<'_>,
    (local, peer): (IpAddr, IpAddr),
    label: &Label,
    length: usize,
    believed: impl Fn() -> Option<bool>,
) -> Accept {
    let caller = label.caller.map(|(source, _)| source);
    if let Some(token) = label.token {
        return Accept::Take { token, caller };
    }
    if label.agent_key.as_ref().map(lock_of) == Some(table.agent_lock()) {
        return Accept::Deliver {
            consume: length,
            caller,
            counter: Counter::AcceptAgent,
        };
    }
    // While it is probed nobody but the software itself has its node's label.
    let is_own = table.probing() && label.node == table.node() && is_same_host(local, peer);
    if label.system != table.system() || !(is_own || table.is_source(peer)) {
        return Accept::HandOver(HandOverReason::Undecided);
    }
    if table.probing() && !is_own {
        return Accept::HandOver(HandOverReason::Probing);
    }
    if label.question.is_none() && !service.speaks(label.version) {
        return Accept::HandOver(HandOverReason::Foreign);
    }
    let Some(proved) = believed() else {
        return Accept::HandOver(HandOverReason::Undecided);
    };
    if label.question.is_some() {
        let answer = Label {
            question: label.question,
            ..own_label(table)
        };
        return Accept::Answer {
            consume: length,
            answer,
        };
    }
    Accept::Deliver {
        consume: length,
        caller: None,
        counter: if proved {
            Counter::AcceptLabelled
        } else {
            Counter::AcceptUnproved
        },
    }
}

/// A member's label can be missing only where a packet was lost, or where a connection asked for a cookie before it; within one
/// host neither is, unless it comes through something of a declared network: a balancer opens a connection before it has what it
/// will pass on. Which other addresses than loopback's are this host's own, a caller that asks for a cookie does not know.
fn may_be_late(table: &Snapshot<'_>, local: IpAddr, peer: IpAddr, first: First<'_>) -> bool {
    if first == First::Delayed && is_same_host(local, peer) {
        // The agent is on this host, whether its address is a member's or not.
        return true;
    }
    let same_host = peer.is_loopback() || (peer == local && !table.cookies());
    let passed_on = table.is_in_network(peer);
    let prompt = same_host && !passed_on && table.local_labels_prompt() && first == First::Nothing;
    table.is_source(peer) && !prompt
}

/// Whether both ends of a connection are on one host, as far as its addresses tell.
pub fn is_same_host(local: IpAddr, peer: IpAddr) -> bool {
    let (local, peer) = (local.to_canonical(), peer.to_canonical());
    peer.is_loopback() || peer == local
}

fn unlabelled(service: &ServiceView<'_>) -> Accept {
    if service.public_direct() {
        deliver(Counter::AcceptUnlabelled)
    } else {
        Accept::HandOver(HandOverReason::Public)
    }
}

fn deliver(counter: Counter) -> Accept {
    Accept::Deliver {
        consume: 0,
        caller: None,
        counter,
    }
}

impl Bypass {
    /// Counts a connect that was left alone for this reason.
    pub fn connect_counter(self) -> Counter {
        match self {
            Self::NoTable => Counter::ConnectNoTable,
            Self::NotInternet => Counter::ConnectNotInternet,
            Self::NotAMember | Self::NotAService => Counter::ConnectNotAMember,
            Self::LikeAMember => Counter::ConnectLikeAMember,
            Self::NotTcp => Counter::ConnectNotTcp,
            Self::Underway => Counter::ConnectUnderway,
        }
    }
}

/// Counts a connection that was given to the holder for this reason.
pub fn hand_over_counter(reason: HandOverReason) -> Counter {
    match reason {
        HandOverReason::Foreign => Counter::HandOverForeign,
        HandOverReason::Undecided | HandOverReason::Held => Counter::HandOverUndecided,
        HandOverReason::Public => Counter::HandOverPublic,
        HandOverReason::Probing => Counter::HandOverProbing,
    }
}
