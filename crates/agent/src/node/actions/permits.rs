//! Leave to upgrade: the schedule's word, and permits.

use crate::error_chain::chain;
use crate::node::{CatalogUpdate, Node};
use crate::sync::Told;
use client::ClientError;
use model::api::{NodeFact, PermitRequest};
use model::expression::NodeScope;
use model::ids::{PermitId, Revision, Version};
use model::machine::{Outcome, Place, Serving, Work};
use model::schedule::{Facts, Verdict, evaluate, leap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long a permit is tried to be confirmed while no server answers: about as long as it is valid unconfirmed.
const CONFIRM_LIMIT: Duration = Duration::from_secs(20);

/// How long the report of a new version is waited for before giving a permit back counts as failed, and is tried again.
const TOLD_LIMIT: Duration = Duration::from_secs(1);

/// The pause between two attempts.
const CONFIRM_PAUSE: Duration = Duration::from_millis(300);

/// Asks the schedule of the version to go to; where that waits, or there is none, that of a revision of what runs.
pub(super) async fn ask(
    node: &Node,
    chain: &[Place],
    mend: Option<Place>,
    fetching: Option<Version>,
) -> Outcome {
    let Some(mend) = mend else {
        return ask_ahead(node, chain, fetching).await;
    };
    let ahead = match chain.is_empty() {
        true => None,
        false => Some(ask_ahead(node, chain, fetching).await),
    };
    let ahead_reason = match ahead {
        Some(Outcome::Scheduled {
            verdict: Verdict::Wait { reason, .. },
            ..
        }) => Some(reason),
        Some(leave) => return leave,
        None => None,
    };
    let mut verdict = match scheduled_mend(node, mend) {
        Ok(verdict) => verdict,
        Err(reason) => wait(reason),
    };
    if !matches!(verdict, Verdict::Wait { .. })
        && let Some(reason) = node.lacks_room(mend).await
    {
        verdict = wait(reason);
    }
    if let (Verdict::Wait { reason, until_ms }, Some(ahead)) = (&mut verdict, ahead_reason) {
        *reason = format!("{ahead}; {reason}");
        *until_ms = None;
    }
    Outcome::Scheduled {
        verdict,
        to: mend.version,
    }
}

/// A wait whose end nobody knows.
fn wait(reason: String) -> Verdict {
    Verdict::Wait {
        reason,
        until_ms: None,
    }
}

/// The schedule's word on a revision of what runs.
fn scheduled_mend(node: &Node, mend: Place) -> Result<Verdict, String> {
    let update = heard(node)?;
    if update.catalog.newest_place(mend.version) != Some(mend) {
        return Err(format!("revision {mend} is not the newest any more"));
    }
    let Some(class) = update.catalog.class_at(mend.version) else {
        return Ok(Verdict::Go);
    };
    let class_of = class_of(&update);
    let facts = Facts {
        view: &update.view,
        node: node.identity.node,
        version: mend.version,
        revision: mend.revision,
        mends: true,
        // Its interfaces are those of the revision that runs.
        require_staged: false,
        now_ms: servers_now_ms(node),
        class_of: &class_of,
    };
    Ok(evaluate(&class.schedule, &facts))
}

fn heard(node: &Node) -> Result<Arc<CatalogUpdate>, String> {
    let update = node.catalog_updates.borrow().clone();
    update
        .ok_or_else(|| "nothing has been heard from the server since the agent started".to_owned())
}

fn servers_now_ms(node: &Node) -> u64 {
    let ahead_ms = node.link.ahead_ms.load(Ordering::Relaxed);
    node.clock.now_ms().saturating_add_signed(ahead_ms)
}

/// Follows a node's class through the versions.
fn class_of(update: &CatalogUpdate) -> impl Fn(&NodeFact, Version) -> Option<String> {
    let history = update.catalog.history();
    |fact: &NodeFact, version: Version| {
        let scope = NodeScope {
            name: fact.name.clone(),
            class: fact.class.clone(),
            attributes: fact.attributes.clone(),
        };
        history.class_at(&scope, None, version).ok().flatten()
    }
}

async fn ask_ahead(node: &Node, chain: &[Place], fetching: Option<Version>) -> Outcome {
    let next = chain.first().map_or(Version(0), |place| place.version);
    let wait = |reason, to| Outcome::Scheduled {
        verdict: wait(reason),
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
    let catalog = node.catalog();
    let lineage = catalog.lineage()?;
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
    let update = heard(node)?;
    let class_of = class_of(&update);
    let ahead: Vec<Version> = chain.iter().map(|place| place.version).collect();
    let mut facts = Facts {
        view: &update.view,
        node: node.identity.node,
        version: *ahead.first().ok_or("no version is staged")?,
        revision: Revision::default(),
        mends: false,
        require_staged: true,
        now_ms: servers_now_ms(node),
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
    facts.revision = (chain.iter().find(|place| place.version == to))
        .map_or(Revision::default(), |place| place.revision);
    facts.require_staged = update.catalog.settings(to).require_staged;
    let schedule = match update.catalog.class_at(to) {
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

/// Gives a permit back, once the server knows what the node runs.
pub(super) async fn end(node: &Node, permit: PermitId, at: Serving, blocked: bool) -> Outcome {
    let mut told = node.link.told.clone();
    let is_that = |told: Told| {
        told.version == at.version
            && told.bundle.is_none_or(|bundle| bundle == at.bundle)
            && (told.blocked || !blocked)
    };
    let known = told.wait_for(|told| told.is_some_and(is_that));
    if tokio::time::timeout(TOLD_LIMIT, known).await.is_err() {
        let reason = format!(
            "the server has not yet heard that this node is at version {}, with the software of {}",
            at.version, at.bundle
        );
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
