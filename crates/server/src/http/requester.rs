//! Who asks, as the server knows them, and what they may ask for.

use crate::problem::{Kind, RequestRefusal, refuse};
use crate::rules::CertifiedAsker;
use identity::PeerCertificate;
use model::api::{InvitationFact, Principal, PrincipalKind, Right, Role, SyncRequest};
use model::names;
use model::network::Network;
use std::net::IpAddr;
use std::sync::Arc;

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) enum Requester {
    /// Whoever has the server's own token: the server's user and root, and those to whom they gave it.
    TokenHolder,
    /// Somebody whose key is certified.
    Certified(CertifiedCaller),
    /// An operator whom the issuer of web tokens names.
    Claimed(ClaimedCaller),
    /// Somebody with a one-time token.
    Invited(Arc<InvitationFact>),
}

/// Somebody whose key is certified.
#[derive(Clone, Debug)]
pub(crate) struct CertifiedCaller {
    pub(crate) certificate: PeerCertificate,
    /// What an operator may do.
    pub(crate) role: Option<Role>,
    /// From where a node calls.
    pub(crate) address: IpAddr,
    /// Where a node's addresses are, besides.
    pub(crate) networks: Vec<Network>,
    /// What is asked for needs this.
    pub(crate) right: Option<Right>,
}

/// An operator whom the issuer of web tokens names.
#[derive(Clone, Debug)]
pub(crate) struct ClaimedCaller {
    pub(crate) principal: Principal,
    pub(crate) role: Role,
    /// Until when the token counts.
    pub(crate) expires_at_ms: u64,
}

impl CertifiedCaller {
    /// Whether an address is the caller's own: it calls from there, was invited for it, or is on this host as the address is.
    fn has(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address == self.address
            || self
                .networks
                .iter()
                .any(|network| network.contains(address))
            || sockets::is_here(self.address) && sockets::is_here(address)
    }
}

/// Whom a route is for. Whoever has the server's own token may ask for everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Everybody whose key is certified: nodes and operators.
    Certified,
    /// Operators whose role gives this right.
    Right(Right),
    /// Nodes, each for itself.
    Node,
    /// Those who become known, or stay so: with a one-time token, or with a certificate, which may have expired.
    Entry,
}

impl Requester {
    /// Whether the route is for them.
    pub(super) fn check(&self, access: Access) -> Result<(), RequestRefusal> {
        match (self, access) {
            (Self::TokenHolder, _)
            | (Self::Certified(_), Access::Certified | Access::Entry)
            | (Self::Claimed(_), Access::Certified)
            | (Self::Invited(_), Access::Entry) => Ok(()),
            (Self::Claimed(caller), Access::Right(right)) if caller.role.has(right) => Ok(()),
            (Self::Claimed(caller), Access::Right(right)) => Err(refuse(
                Kind::FORBIDDEN,
                format!(
                    "{} is {}, and this needs the role {}; the issuer's rules give it (`upstart server --issuer`).",
                    caller.principal.name,
                    caller.role,
                    right.role()
                ),
            )),
            (Self::Claimed(_), Access::Node) => Err(for_agents()),
            (Self::Claimed(_), Access::Entry) => Err(super::identities::no_key_by_claims()),
            (Self::Certified(caller), Access::Right(right)) => match caller.role {
                Some(role) if role.has(right) => Ok(()),
                Some(role) => Err(refuse(
                    Kind::FORBIDDEN,
                    format!(
                        "{} is {role}, and this needs the role {}; an admin gives it with `upstart invite operator {} --role {}`.",
                        caller.certificate.principal.name,
                        right.role(),
                        caller.certificate.principal.name,
                        right.role()
                    ),
                )),
                None => Err(refuse(
                    Kind::FORBIDDEN,
                    "This is for operators, and a node asks for it.",
                )),
            },
            (Self::Certified(caller), Access::Node) => match caller.certificate.principal.kind {
                PrincipalKind::Node => Ok(()),
                PrincipalKind::Operator => Err(for_agents()),
            },
            (Self::Invited(_), _) => Err(refuse(
                Kind::FORBIDDEN,
                "A one-time token only makes its holder known: with `upstart agent --token-file`, or `upstart login`.",
            )),
        }
    }

    /// Who asks, where that is proven.
    pub(crate) fn principal(&self) -> Option<&Principal> {
        match self {
            Self::TokenHolder => None,
            Self::Certified(caller) => Some(&caller.certificate.principal),
            Self::Claimed(caller) => Some(&caller.principal),
            Self::Invited(invitation) => Some(&invitation.principal),
        }
    }

    /// Whether a report is of the node itself, and tells of addresses that are its own.
    pub(super) fn may_tell(&self, request: &SyncRequest) -> Result<(), RequestRefusal> {
        let Self::Certified(caller) = self else {
            return Ok(());
        };
        let Some(identity) = &request.identity else {
            let who = &caller.certificate.principal;
            return Err(refuse(
                Kind::FORBIDDEN,
                format!(
                    "{who} does not say whose report it is: whoever shows a certificate names the system and the node in `identity`."
                ),
            ));
        };
        let named = &identity.name;
        self.speaks_for(named)?;
        let Some(report) = &request.report else {
            return Ok(());
        };
        let endpoints = report.endpoints.iter().map(|endpoint| endpoint.address);
        let served = report.artifacts_at.map(|at| at.ip());
        let mut told = endpoints
            .chain(report.addresses.iter().copied())
            .chain(served);
        match told.find(|address| !caller.has(*address)) {
            None => Ok(()),
            Some(address) if address.is_loopback() => Err(refuse(
                Kind::FORBIDDEN,
                format!(
                    "{named} tells that it is reached at {address}, which is every host's own: give its agent the address at which the others reach it, `--address {}`.",
                    caller.address
                ),
            )),
            Some(address) => Err(refuse(
                Kind::FORBIDDEN,
                format!(
                    "{named} tells that it is reached at {address}, and calls from {}; if both are its own, `upstart invite node {named} --network {address}` and give its agent that token.",
                    caller.address
                ),
            )),
        }
    }

    /// What must still be so when something is done for them.
    pub(super) fn asker(&self) -> Option<CertifiedAsker> {
        match self {
            Self::Certified(caller) => Some(CertifiedAsker {
                principal: caller.certificate.principal.clone(),
                key: caller.certificate.key.clone(),
                right: caller.right,
            }),
            _ => None,
        }
    }

    /// Whether they may speak for the node of this name.
    pub(super) fn speaks_for(&self, node: &str) -> Result<(), RequestRefusal> {
        if node.len() > names::NAME_BYTES_MAX {
            return Err(refuse(
                Kind::INVALID,
                "A node's name has 1 to 256 bytes; choose a shorter one.",
            ));
        }
        match self.principal() {
            None => Ok(()),
            Some(principal) if principal.is_node(node) => Ok(()),
            Some(principal) => Err(refuse(
                Kind::FORBIDDEN,
                format!("{principal} asks for node {node}: a node speaks for itself only."),
            )),
        }
    }
}

fn for_agents() -> RequestRefusal {
    refuse(
        Kind::FORBIDDEN,
        "This is for the agents of nodes, and an operator asks for it.",
    )
}
