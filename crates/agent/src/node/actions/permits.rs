//! Leave to upgrade: the schedule's word, and permits.

use super::chain;
use crate::node::Node;
use client::ClientError;
use model::api::{NodeFact, PermitRequest};
use model::expression::NodeScope;
use model::ids::{PermitId, Version};
use model::machine::{Outcome, Place, Work};
use model::schedule::{Facts, Verdict, evaluate, leap};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long a permit is tried to be confirmed while no server answers: about as long as it is valid unconfirmed.
const CONFIRM_LIMIT: Duration = Duration::from_secs(20);

/// How long the report of a new version is waited for before giving a permit back counts as failed, and is tried again.
const TOLD_LIMIT: Duration = Duration::from_secs(5);

/// The pause between two attempts.
const CONFIRM_PAUSE: Duration = Duration::from_millis(300);

/// Asks the schedule of the version to go to.
pub(super) async fn ask(node: &Node, chain: &[Place], fetching: Option<Version>) -> Outcome {
    let next = chain.first().map_or(Version(0), |place| place.version);
    let wait = |reason, to| Outcome::Scheduled {
        verdict: Verdict::Wait {
            reason,
            until_ms: None,
        },
        to,
    };
    let (verdict, to) = match scheduled(node, chain, fetching) {
        Ok(answer) => answer,
        Err(reason) => return wait(reason, next),
    };
    if !matches!(verdict, Verdict::Wait { .. })
        && let Some(reason) = lacks_room(node, chain, to).await
    {
        return wait(reason, to);
    }
    Outcome::Scheduled { verdict, to }
}

/// Why there is no room for the way to `to`, if anything is copied on it.
async fn lacks_room(node: &Node, chain: &[Place], to: Version) -> Option<String> {
    let knowledge = node.knowledge();
    let lineage = knowledge.lineage()?;
    let mut way = chain.iter().filter(|place| place.version <= to);
    let copies = way.any(|place| lineage.work(place.version) == Work::Restart);
    let end = chain.iter().find(|place| place.version == to)?;
    match copies {
        true => node.lacks_room(*end).await,
        false => None,
    }
}

fn scheduled(
    node: &Node,
    chain: &[Place],
    fetching: Option<Version>,
) -> Result<(Verdict, Version), String> {
    let learned = node.learned.borrow().clone();
    let learned =
        learned.ok_or("nothing has been heard from the server since the agent started")?;
    let history = learned.knowledge.history();
    let class_of = |fact: &NodeFact, version: Version| {
        let scope = NodeScope {
            name: fact.name.clone(),
            class: fact.class.clone(),
            attributes: fact.attributes.clone(),
        };
        history.class_at(&scope, None, version).ok().flatten()
    };
    let ahead_ms = node.link.ahead_ms.load(Ordering::Relaxed);
    let ahead: Vec<Version> = chain.iter().map(|place| place.version).collect();
    let mut facts = Facts {
        view: &learned.view,
        node: node.identity.node,
        version: *ahead.first().ok_or("no version is staged")?,
        require_staged: true,
        now_ms: node.clock.now_ms().saturating_add_signed(ahead_ms),
        class_of: &class_of,
    };
    let to = leap(&facts, &ahead).unwrap_or(facts.version);
    if let Some(further) = fetching
        && leap(&facts, &[&ahead[..], &[further]].concat()) == Some(further)
    {
        let reason = format!("fetches version {further}, which the others of its class run");
        let until_ms = None;
        return Ok((Verdict::Wait { reason, until_ms }, to));
    }
    if Version(node.opened.load(Ordering::Relaxed)) < to {
        let reason = "makes the new version's ports known to the other nodes".to_owned();
        let until_ms = None;
        return Ok((Verdict::Wait { reason, until_ms }, to));
    }
    facts.version = to;
    facts.require_staged = learned.knowledge.settings(to).require_staged;
    let schedule = match learned.knowledge.class_at(to) {
        Some(class) => class.schedule.clone(),
        None => return Ok((Verdict::Go, to)),
    };
    Ok((evaluate(&schedule, &facts), to))
}

/// Asks for a permit.
pub(super) async fn acquire(node: &Node, request: &PermitRequest) -> Outcome {
    match node.client.acquire_permit(request).await {
        Ok(permit) => Outcome::Permit(permit.permit),
        Err(error) => refused(&error),
    }
}

/// Confirms a permit, for as long as it may still be valid.
pub(super) async fn confirm(node: &Node, permit: PermitId) -> Outcome {
    let begun = Instant::now();
    loop {
        match node.client.confirm_permit(permit).await {
            Ok(_) => return Outcome::Done,
            Err(error @ ClientError::Problem(_)) => return refused(&error),
            Err(error) if begun.elapsed() > CONFIRM_LIMIT => return refused(&error),
            Err(_) => tokio::time::sleep(CONFIRM_PAUSE).await,
        }
    }
}

/// Gives a permit back, once the server knows where the node has settled.
pub(super) async fn end(node: &Node, permit: PermitId, at: Version) -> Outcome {
    let mut told = node.link.told.clone();
    let known = told.wait_for(|version| *version == Some(at));
    if tokio::time::timeout(TOLD_LIMIT, known).await.is_err() {
        let reason = format!("the server has not yet heard that this node is at version {at}");
        return Outcome::Failed { reason };
    }
    match node.client.end_permit(permit).await {
        Ok(()) => Outcome::Done,
        Err(ClientError::Problem(problem)) if matches!(problem.status, 404 | 409 | 410) => {
            Outcome::Done
        }
        Err(error) => Outcome::Failed {
            reason: chain(&error),
        },
    }
}

fn refused(error: &ClientError) -> Outcome {
    let reason = match error {
        ClientError::Problem(problem) => problem.detail.clone(),
        other => chain(other),
    };
    Outcome::Refused { reason }
}
