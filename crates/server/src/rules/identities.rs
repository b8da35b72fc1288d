//! Whose keys the servers know: invited, certified, shown, revoked.
//!
//! An invitation is a one-time token. It is bound to the first key that is certified for it, which may ask again until its certificate is
//! shown: an answer that is lost loses nobody's place, and a token that somebody else has seen is of no use to him. Certificates of one
//! principal are counted. Whoever shows an old one and asks for another, after a newer one was shown, has a copy of the key.

use super::Draft;
use crate::problem::{Kind, RequestRefusal, refuse};
use crate::state::SystemState;
use crate::udb::Change;
use identity::PeerCertificate;
use model::api::{
    Certified, EventKind, IdentityFact, InvitationFact, InviteRequest, Principal, PrincipalKind,
    Right, Role,
};
use model::ids::NodeId;
use model::network::Network;
use std::sync::Arc;

/// How long an invitation is good at most: a month.
const VALID_MS_MAX: u64 = 31 * 24 * 60 * 60 * 1_000;

/// The most invitations that are open at once.
const INVITATIONS_MAX: usize = 10_000;

/// The most networks of a node.
const NETWORKS_MAX: usize = 64;

/// How somebody whose key is to be certified has come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AdmittedBy {
    /// With the server's own token: for the node of this name.
    Token(Principal),
    /// With the one-time token whose secret has this digest.
    Invitation(String),
    /// With the certificate before.
    Certificate(PeerCertificate),
}

/// Somebody whose key is to be certified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Applicant {
    /// The digest of the key.
    pub(crate) key: String,
    pub(crate) entry: AdmittedBy,
}

/// Makes a one-time token.
pub(super) fn invite(
    draft: &mut Draft<'_>,
    request: &InviteRequest,
    digest: &str,
) -> Result<InvitationFact, RequestRefusal> {
    let invalid = |detail: String| Err(refuse(Kind::INVALID, detail));
    let Principal { kind, name } = &request.principal;
    if (*kind == PrincipalKind::Operator) != request.role.is_some() {
        return invalid("An operator has a role, and a node has none.".to_owned());
    }
    if *kind == PrincipalKind::Operator && !request.networks.is_empty() {
        return invalid("Only a node has networks.".to_owned());
    }
    if request.networks.len() > NETWORKS_MAX {
        return invalid(format!("A node has at most {NETWORKS_MAX} networks."));
    }
    if request.valid_ms == 0 || request.valid_ms > VALID_MS_MAX {
        return invalid("An invitation is good for a month at most.".to_owned());
    }
    let now_ms = draft.now_ms();
    let open = draft.state.invitations.values();
    if open.filter(|open| open.expires_at_ms > now_ms).count() >= INVITATIONS_MAX {
        return invalid(format!(
            "{INVITATIONS_MAX} invitations are open; `upstart identities` lists them, `upstart revoke` withdraws them."
        ));
    }
    end_invitations(draft, |invitation| {
        invitation.expires_at_ms <= now_ms || invitation.principal == request.principal
    });
    let invitation = InvitationFact {
        digest: digest.to_owned(),
        principal: request.principal.clone(),
        role: request.role,
        networks: request.networks.clone(),
        expires_at_ms: now_ms + request.valid_ms,
        key: None,
    };
    draft.change(Change::Invitation(Arc::new(invitation.clone())));
    let message = match request.role {
        Some(role) => format!("{name} is invited as {role}"),
        None => format!("node {name} is invited"),
    };
    draft.event(EventKind::IdentityInvited, None, None, message);
    Ok(invitation)
}

fn end_invitations(draft: &mut Draft<'_>, ends: impl Fn(&InvitationFact) -> bool) -> usize {
    let state = draft.state;
    let ended = state.invitations.values().filter(|found| ends(found));
    let ended: Vec<String> = ended.map(|found| found.digest.clone()).collect();
    for digest in &ended {
        draft.change(Change::EndInvitation(digest.clone()));
    }
    ended.len()
}

/// Certifies a key: gives what the certificate is to say.
pub(super) fn certify(
    draft: &mut Draft<'_>,
    applicant: &Applicant,
) -> Result<Certified, RequestRefusal> {
    let state = draft.state;
    let wanted = match &applicant.entry {
        // Whoever has the server's token may say of a node what he likes.
        AdmittedBy::Token(principal) => CertifiedAs {
            networks: everywhere(),
            ..CertifiedAs::of(principal, state.identities.get(principal))
        },
        AdmittedBy::Invitation(digest) => by_invitation(draft, digest, &applicant.key)?,
        AdmittedBy::Certificate(shown) => by_certificate(draft, shown, &applicant.key)?,
    };
    let known = state.identities.get(&wanted.principal);
    let is_same = known.is_some_and(|known| known.key == applicant.key);
    refuse_ended(state, &wanted.principal, &applicant.key)?;
    let least = match &applicant.entry {
        AdmittedBy::Certificate(shown) => shown.counter,
        _ => 0,
    };
    let counter = known.map_or(0, |known| known.counter).max(least) + 1;
    let now_ms = draft.now_ms();
    let before = known.filter(|_| !is_same);
    let mut ended_keys = known.map_or_else(Vec::new, |known| known.ended_keys.clone());
    ended_keys.extend(
        before
            .map(|before| before.key.clone())
            .filter(|key| !key.is_empty()),
    );
    let counts_from_ms = match before {
        Some(_) => now_ms,
        None => known.map_or(0, |known| known.counts_from_ms),
    };
    let fact = IdentityFact {
        ended_keys,
        counts_from_ms,
        principal: wanted.principal,
        role: wanted.role,
        key: applicant.key.clone(),
        counter,
        shown: known.filter(|_| is_same).map_or(0, |known| known.shown),
        certified_at_ms: now_ms,
        expires_at_ms: now_ms + draft.context.certificate_ms,
        revoked_at_ms: None,
        networks: wanted.networks,
    };
    let certified = Certified {
        principal: fact.principal.clone(),
        role: fact.role,
        counter,
        expires_at_ms: fact.expires_at_ms,
        certificate: String::new(),
    };
    tell_certified(draft, known.map(AsRef::as_ref), &fact);
    draft.change(Change::Identity(Arc::new(fact)));
    Ok(certified)
}

/// A key that counts no longer, of whomever it was, is never certified again.
fn refuse_ended(
    state: &SystemState,
    principal: &Principal,
    key: &str,
) -> Result<(), RequestRefusal> {
    if !state.ended_keys.has(key) {
        return Ok(());
    }
    Err(refuse(
        Kind::IDENTITY_ENDED,
        format!(
            "The key that {principal} shows counts no longer, and is never certified again: ask with a new one."
        ),
    ))
}

/// The history tells of another key, and of another role.
fn tell_certified(draft: &mut Draft<'_>, known: Option<&IdentityFact>, fact: &IdentityFact) {
    let principal = &fact.principal;
    let message = match (known, fact.role) {
        (None, _) => format!("{principal} has a key"),
        (Some(known), _) if known.key != fact.key => {
            format!("{principal} has another key; the one before counts no longer")
        }
        (Some(known), Some(role)) if known.role != fact.role => {
            format!("{principal} is {role} now")
        }
        _ => return,
    };
    let node = node_of(draft, principal);
    draft.event(EventKind::IdentityCertified, node, None, message);
}

/// Whom a certificate is for, and what they may do.
struct CertifiedAs {
    principal: Principal,
    role: Option<Role>,
    networks: Vec<Network>,
}

impl CertifiedAs {
    fn of(principal: &Principal, known: Option<&Arc<IdentityFact>>) -> Self {
        Self {
            principal: principal.clone(),
            role: known.and_then(|known| known.role),
            networks: known.map_or_else(Vec::new, |known| known.networks.clone()),
        }
    }
}

fn everywhere() -> Vec<Network> {
    let all = ["0.0.0.0/0", "::/0"].map(|network| network.parse().ok());
    all.into_iter().flatten().collect()
}

fn by_invitation(
    draft: &mut Draft<'_>,
    digest: &str,
    key: &str,
) -> Result<CertifiedAs, RequestRefusal> {
    let invitation = draft.state.invitations.get(digest);
    let invitation = invitation.filter(|found| found.expires_at_ms > draft.now_ms());
    let Some(invitation) = invitation else {
        return Err(refuse(
            Kind::UNAUTHORIZED,
            "The one-time token is used up, withdrawn or has expired; an admin makes another with `upstart invite`.",
        ));
    };
    match &invitation.key {
        Some(bound) if bound != key => {
            let message = format!(
                "the one-time token of {} was shown with a second key",
                invitation.principal
            );
            return Err(refuse(
                Kind::FORBIDDEN,
                format!(
                    "{message}: whoever used it first has it. If that was not you, `upstart revoke {}` and make another with `upstart invite`.",
                    invitation.principal
                ),
            ));
        }
        Some(_) => {}
        None => {
            let bound = InvitationFact {
                key: Some(key.to_owned()),
                ..invitation.as_ref().clone()
            };
            draft.change(Change::Invitation(Arc::new(bound)));
        }
    }
    Ok(CertifiedAs {
        principal: invitation.principal.clone(),
        role: invitation.role,
        networks: invitation.networks.clone(),
    })
}

/// Renews; a database that was set back may not know the principal, and takes the certificate's word.
fn by_certificate(
    draft: &mut Draft<'_>,
    shown: &PeerCertificate,
    key: &str,
) -> Result<CertifiedAs, RequestRefusal> {
    let known = draft.state.identities.get(&shown.principal);
    if known.is_none() && shown.principal.kind == PrincipalKind::Operator {
        return Err(refuse(
            Kind::IDENTITY_ENDED,
            format!(
                "{} is not known here; an admin makes a new one-time token with `upstart invite operator {} --role ROLE`.",
                shown.principal, shown.principal.name
            ),
        ));
    }
    if shown.key != key {
        return Err(refuse(
            Kind::FORBIDDEN,
            "A certificate renews the certificate of its own key; for another key ask for an invitation.",
        ));
    }
    if let Some(known) = known
        && shown.counter < known.shown
    {
        return Err(refuse(
            Kind::IDENTITY_CLONED,
            format!(
                "A newer certificate of {0} has been shown before: somebody has a copy of its key, or its files were restored from a backup. Find out which; then `upstart revoke {0}`, and invite it anew with `upstart invite`.",
                shown.principal
            ),
        ));
    }
    Ok(CertifiedAs::of(&shown.principal, known))
}

/// A certificate was shown: what led to it is used up.
pub(super) fn shown(draft: &mut Draft<'_>, principal: &Principal, counter: u64) {
    let Some(known) = draft.state.identities.get(principal) else {
        return;
    };
    if known.shown >= counter {
        return;
    }
    let fact = IdentityFact {
        shown: counter,
        // A database that was set back has counted fewer.
        counter: known.counter.max(counter),
        ..known.as_ref().clone()
    };
    let key = fact.key.clone();
    draft.change(Change::Identity(Arc::new(fact)));
    end_invitations(draft, |invitation| {
        &invitation.principal == principal && invitation.key.as_ref() == Some(&key)
    });
}

/// Takes in what a certificate says, of which the database, which was set back, knows nothing.
pub(super) fn take_back(draft: &mut Draft<'_>, certificate: &PeerCertificate) {
    let principal = &certificate.principal;
    let known = draft.state.identities.get(principal);
    let fact = IdentityFact {
        principal: principal.clone(),
        role: None,
        key: certificate.key.clone(),
        counter: certificate.counter,
        shown: certificate.counter,
        certified_at_ms: certificate.begins_at_ms,
        expires_at_ms: certificate.expires_at_ms,
        revoked_at_ms: None,
        networks: known.map_or_else(Vec::new, |known| known.networks.clone()),
        ended_keys: known.map_or_else(Vec::new, |known| known.ended_keys.clone()),
        counts_from_ms: known.map_or(0, |known| known.counts_from_ms),
    };
    let message = format!("{principal} is known again by its certificate");
    let node = node_of(draft, principal);
    draft.event(EventKind::IdentityCertified, node, None, message);
    draft.change(Change::Identity(Arc::new(fact)));
}

/// Revokes a key, and withdraws invitations of the same name.
pub(super) fn revoke(
    draft: &mut Draft<'_>,
    principal: &Principal,
) -> Result<Option<IdentityFact>, RequestRefusal> {
    let withdrawn = end_invitations(draft, |invitation| &invitation.principal == principal);
    let known = draft.state.identities.get(principal).cloned();
    let Some(known) = known else {
        if withdrawn == 0 {
            return revoke_unseen(draft, principal).map(Some);
        }
        let message = format!("the invitation of {principal} is withdrawn");
        draft.event(EventKind::IdentityRevoked, None, None, message);
        return Ok(None);
    };
    if known.revoked_at_ms.is_some() && withdrawn == 0 {
        return Ok(Some(known.as_ref().clone()));
    }
    let fact = IdentityFact {
        revoked_at_ms: known.revoked_at_ms.or(Some(draft.now_ms())),
        counts_from_ms: draft.now_ms(),
        ..known.as_ref().clone()
    };
    draft.change(Change::Identity(Arc::new(fact.clone())));
    let node = node_of(draft, principal);
    // It is heard no more: nobody waits for it longer than for any other, however rarely it said that it asks.
    if let Some(known) = node.and_then(|node| draft.state.nodes.get(&node)) {
        let mut silent = known.as_ref().clone();
        silent.report.poll_ms = 0;
        draft.change(Change::Node(Arc::new(silent)));
    }
    let message = format!("the key of {principal} is revoked");
    draft.event(EventKind::IdentityRevoked, node, None, message);
    Ok(Some(fact))
}

/// Revokes what this database does not know: where it was set back, somebody may have a certificate of that name all the same. Whoever
/// was never known cannot be told from that, so that the name must at least be one of a node that is known.
fn revoke_unseen(
    draft: &mut Draft<'_>,
    principal: &Principal,
) -> Result<IdentityFact, RequestRefusal> {
    let was_set_back = draft.state.lives.iter().any(|life| life.lost.is_some());
    if !was_set_back && !draft.state.names.contains_key(&principal.name) {
        return Err(refuse(
            Kind::UNKNOWN_IDENTITY,
            format!("{principal} is not known, nor invited; `upstart identities` lists all."),
        ));
    }
    let now_ms = draft.now_ms();
    let fact = IdentityFact {
        principal: principal.clone(),
        role: None,
        key: String::new(),
        counter: 0,
        shown: 0,
        certified_at_ms: now_ms,
        expires_at_ms: now_ms,
        revoked_at_ms: Some(now_ms),
        networks: Vec::new(),
        ended_keys: Vec::new(),
        counts_from_ms: now_ms,
    };
    draft.change(Change::Identity(Arc::new(fact.clone())));
    let node = node_of(draft, principal);
    let message = format!("whatever key {principal} has is revoked");
    draft.event(EventKind::IdentityRevoked, node, None, message);
    Ok(fact)
}

/// A node that is forgotten is known by no key any more.
pub(super) fn forget(draft: &mut Draft<'_>, name: &str) {
    let principal = Principal::node(name);
    end_invitations(draft, |invitation| invitation.principal == principal);
    if let Some(known) = draft.state.identities.get(&principal)
        && known.revoked_at_ms.is_none()
    {
        let fact = IdentityFact {
            revoked_at_ms: Some(draft.now_ms()),
            counts_from_ms: draft.now_ms(),
            ..known.as_ref().clone()
        };
        draft.change(Change::Identity(Arc::new(fact)));
    }
}

/// Somebody with a certificate for whom something is to be done.
#[derive(Clone, Debug)]
pub(crate) struct CertifiedAsker {
    pub(crate) principal: Principal,
    /// The digest of the key.
    pub(crate) key: String,
    /// What it needs.
    pub(crate) right: Option<Right>,
}

/// Whether somebody's key and role still count at the moment when something is done for them.
pub(crate) fn still_counts(
    state: &SystemState,
    asker: &CertifiedAsker,
) -> Result<(), RequestRefusal> {
    let known = state.identities.get(&asker.principal);
    let Some(known) = known else {
        // A database that was set back.
        return Ok(());
    };
    if known.key == asker.key && known.revoked_at_ms.is_some()
        || known.ended_keys.contains(&asker.key)
    {
        return Err(refuse(
            Kind::IDENTITY_ENDED,
            format!("the key of {} is revoked.", asker.principal),
        ));
    }
    match (asker.right, known.role) {
        (Some(right), Some(role)) if !role.has(right) => Err(refuse(
            Kind::FORBIDDEN,
            format!("{} is {role} now.", asker.principal),
        )),
        _ => Ok(()),
    }
}

fn node_of(draft: &Draft<'_>, principal: &Principal) -> Option<NodeId> {
    let is_node = principal.kind == PrincipalKind::Node;
    let node = is_node.then(|| draft.state.names.get(&principal.name));
    node.flatten().copied()
}
