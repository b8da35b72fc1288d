//! What every command may do, decided over the state in memory, without I/O: changes and an answer, or a refusal.

mod doubled;
mod draft;
mod enrolment;
mod identities;
mod labels;
mod members;
mod once;
mod operator;
mod permits;
mod public;
mod publication;
mod retirement;
mod set_back;
mod stops;
mod sweep;
mod sync;
#[cfg(test)]
mod tests;
mod verdicts;
mod webhooks;
mod withdrawal;

pub(crate) use draft::Draft;
pub(crate) use identities::{AdmittedBy, Applicant, CertifiedAsker, still_counts};
pub(crate) use operator::approvable;
pub(crate) use set_back::RANDOM_MASK;
pub(crate) use sync::check as check_sync;
pub(crate) use webhooks::{DeliveryNews, DeliveryStep, LEASE_MS, SERVER, unknown_webhook};

use crate::problem::RequestRefusal;
use crate::state::SystemState;
use crate::udb::{Change, KeptText, StoppedClass};
use identity::PeerCertificate;
use model::api::{
    ApproveRequest, EnrolRequest, EventKind, InviteRequest, LabelSecret, LabelsAction,
    MembersRequest, NodeFact, OnceEnded, PauseRequest, Principal, PublicRequest, RetireRequest,
    SyncNumber, SyncRequest, UpgradeSummary, VerdictRequest, WebhookRequest,
};
use model::bundle::Upgrade;
use model::ids::{NodeId, PermitId, Version};
use model::schedule::ClassGauges;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What somebody wants done.
#[derive(Clone, Debug)]
pub(crate) enum Order {
    Enrol(EnrolRequest),
    /// A node makes itself known, and has its key certified.
    Admit(Box<EnrolRequest>, Applicant),
    /// A key is certified.
    Certify(Applicant),
    /// What a certificate says is taken into a database that was set back.
    TakeBack(PeerCertificate),
    /// The newest certificate of somebody was shown: what made it is used up.
    Shown(Principal, u64),
    /// A one-time token is made, whose secret has this digest.
    Invite(InviteRequest, String),
    Revoke(Principal),
    Sync(NodeId, Box<SyncRequest>),
    /// A report of an agent was refused, since that of a later one was heard.
    Overtaken(NodeId, SyncNumber),
    Members(NodeId, MembersRequest),
    Forget(String),
    Retry(String),
    Judge(NodeId, VerdictRequest),
    /// By whoever holds it, where that is said.
    ConfirmPermit(PermitId, Option<String>),
    EndPermit(PermitId, Option<String>),
    BreakPermit(PermitId),
    /// The manifest's digest, the proved bundle, and whether it revises.
    Publish(Box<Publication>),
    Withdraw(Version),
    Pause(PauseRequest),
    /// With the key that it needs, should it need one.
    Labels(LabelsAction, LabelSecret),
    Resume,
    Approve(ApproveRequest),
    SetPublic(PublicRequest),
    Retire(RetireRequest),
    /// A webhook of this name is set up, or changed.
    SetWebhook(String, Box<WebhookRequest>),
    RemoveWebhook(String),
    /// A webhook that was disabled, or waits, is tried at once.
    RetryWebhook(String),
    /// A server delivers what a webhook's receiver is to be sent.
    Deliver(Box<DeliveryStep>),
    /// The server itself has something to say.
    Remark(EventKind, String),
    /// A node says how something ended that it was told to do once.
    OnceEnded(NodeId, OnceEnded),
    /// Time has passed.
    Sweep,
    /// The server forgets entries of the history before this one.
    ForgetEvents(u64),
    /// Nothing: the state writer sees whether other servers have committed before it answers.
    Look,
}

/// A bundle that was proved from its artifacts.
#[derive(Clone, Debug)]
pub(crate) struct Publication {
    pub(crate) manifest_sha256: String,
    pub(crate) upgrade: Arc<Upgrade>,
    /// What it can be proved from again.
    pub(crate) texts: Vec<KeptText>,
    pub(crate) revise: bool,
    /// Its publishers have signed that it is withdrawn: the database has lost it.
    pub(crate) is_withdrawn: bool,
    /// The system's number, as its publishers have signed it.
    pub(crate) system_id: u64,
}

/// What was measured last of each class with conditions.
pub(crate) type ClassMeasurements = Arc<BTreeMap<StoppedClass, ClassGauges>>;

/// What a decision looks at besides the state.
#[derive(Clone, Debug)]
pub(crate) struct DecisionContext {
    pub(crate) now_ms: u64,
    /// Who asks.
    pub(crate) author: String,
    /// Who that is, where it was proven.
    pub(crate) proven: Option<String>,
    pub(crate) reachable_ms: u64,
    pub(crate) permit_ttl_ms: u64,
    /// How long a certificate counts.
    pub(crate) certificate_ms: u64,
    /// A random number, for a history that begins.
    pub(crate) random: u64,
    /// What conditions of schedules look at, as it was measured last.
    pub(crate) measured: ClassMeasurements,
}

/// A node that says that it asks more rarely than agents can be told to, every hour, counts as silent all the same.
const PATIENCE_MS_MAX: u64 = POLLS_MISSED_MAX * 3_600_000;

/// A node that asks rarely is given so many of its own intervals before it counts as silent.
const POLLS_MISSED_MAX: u64 = 3;

impl DecisionContext {
    /// How long a node may be silent before it counts as unreachable.
    pub(crate) fn patience_ms(&self, fact: &NodeFact) -> u64 {
        let its_own = fact.report.poll_ms.saturating_mul(POLLS_MISSED_MAX);
        self.reachable_ms.max(its_own.min(PATIENCE_MS_MAX))
    }

    /// Whether a node has been silent for too long.
    pub(crate) fn silent(&self, fact: &NodeFact, now_ms: u64) -> bool {
        fact.seen_at_ms.saturating_add(self.patience_ms(fact)) <= now_ms
    }
}

/// Decides one command.
pub(crate) fn decide<'a>(
    state: &'a SystemState,
    context: &'a DecisionContext,
    command: &Order,
) -> Result<(Draft<'a>, Value), RequestRefusal> {
    let mut draft = Draft::new(state, context);
    let reply = match command {
        Order::Enrol(request) => value(&enrolment::enrol(&mut draft, request, None)?),
        Order::Admit(request, applicant) => {
            value(&enrolment::enrol(&mut draft, request, Some(applicant))?)
        }
        Order::Certify(applicant) => value(&identities::certify(&mut draft, applicant)?),
        Order::TakeBack(certificate) => value(&identities::take_back(&mut draft, certificate)),
        Order::Shown(principal, counter) => {
            value(&identities::shown(&mut draft, principal, *counter))
        }
        Order::Invite(request, digest) => value(&identities::invite(&mut draft, request, digest)?),
        Order::Revoke(principal) => value(&identities::revoke(&mut draft, principal)?),
        Order::Sync(node, request) => value(&sync::sync(&mut draft, *node, request)?),
        Order::Overtaken(node, number) => value(&doubled::note(&mut draft, *node, *number)),
        Order::Members(node, request) => value(&members::acknowledge(&mut draft, *node, request)?),
        Order::Forget(node) => value(&operator::forget(&mut draft, node)?),
        Order::Retry(node) => value(&operator::retry(&mut draft, node)?),
        Order::Judge(node, request) => value(&verdicts::judge(&mut draft, *node, request)?),
        Order::ConfirmPermit(permit, holder) => {
            value(&permits::confirm(&mut draft, *permit, holder.as_deref())?)
        }
        Order::EndPermit(permit, holder) => {
            value(&permits::end_by(&mut draft, *permit, holder.as_deref()))
        }
        Order::BreakPermit(permit) => value(&permits::break_it(&mut draft, *permit)?),
        Order::Publish(publication) => value(&publication::publish(&mut draft, publication)?),
        Order::Withdraw(version) => value(&withdrawal::withdraw(&mut draft, *version)?),
        Order::Pause(request) => value(&operator::pause(&mut draft, request)?),
        Order::Labels(action, fresh) => value(&labels::operate(&mut draft, *action, fresh)?),
        Order::Resume => value(&operator::resume(&mut draft)),
        Order::Approve(request) => value(&operator::approve(&mut draft, request)?),
        Order::SetPublic(request) => value(&public::set(&mut draft, request)?),
        Order::Retire(request) => value(&retirement::retire(&mut draft, request)?),
        Order::SetWebhook(name, request) => value(&webhooks::set(&mut draft, name, request)?),
        Order::RemoveWebhook(name) => value(&webhooks::remove(&mut draft, name)?),
        Order::RetryWebhook(name) => value(&webhooks::retry(&mut draft, name)?),
        Order::Deliver(step) => value(&webhooks::deliver(&mut draft, step)),
        Order::Remark(kind, message) => value(&draft.event(*kind, None, None, message.clone())),
        Order::OnceEnded(node, told) => value(&once::ended(&mut draft, *node, told)?),
        Order::Sweep => value(&sweep::sweep(&mut draft)),
        Order::ForgetEvents(before) => {
            draft.change(Change::ForgetEventsBefore(*before));
            Value::Null
        }
        Order::Look => Value::Null,
    };
    Ok((draft, reply))
}

/// Plain data with string keys always serialises.
fn value<T: serde::Serialize>(reply: &T) -> Value {
    serde_json::to_value(reply).unwrap_or_default()
}

/// The upgrade to a version, which must be there.
fn known(state: &SystemState, version: Version) -> Result<UpgradeSummary, RequestRefusal> {
    state
        .summary(version)
        .ok_or_else(|| unknown_version(state, version))
}

/// There is no such version; says which there are.
pub(crate) fn unknown_version(state: &SystemState, version: Version) -> RequestRefusal {
    let newest = state.newest_number();
    let there = match newest.0 {
        0 => "nothing is published yet".to_owned(),
        newest => format!("versions 1 to {newest} are"),
    };
    crate::problem::refuse(
        crate::problem::Kind::UNKNOWN_VERSION,
        format!("Version {version} is not published; {there}."),
    )
}

/// There is no such node; says how to see which there are.
pub(crate) fn unknown_node(node: &str) -> RequestRefusal {
    crate::problem::refuse(
        crate::problem::Kind::UNKNOWN_NODE,
        format!(
            "No node `{node}` is enrolled, or it was forgotten; `upstart nodes` lists them all."
        ),
    )
}

/// Names for people: the first few of a list, and how many more.
fn some_of(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = names
        .iter()
        .take(SHOWN)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
