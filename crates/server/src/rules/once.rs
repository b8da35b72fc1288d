//! What is done once for the whole system: given to one node when every node is at the version, and again until it is done.

use super::{Draft, unknown_node};
use crate::problem::{Kind, RequestRefusal, refuse};
use crate::state::SystemState;
use crate::udb::Change;
use model::api::{ChildState, EventKind, NodeFact, OnceEnded, OnceFact, OnceState};
use model::bundle::OnceCommand;
use model::ids::{NodeId, Revision, Version};

/// How much longer than it may take a node is waited for: it asks now and then only, and may have to say twice how it ended.
const LATE_MS: u64 = 60_000;

/// The pause after the first failure; it doubles with each.
const PAUSE_MS: u64 = 5_000;

/// The longest pause.
const PAUSE_MS_MAX: u64 = 300_000;

/// The longest text of why it failed that is kept, in characters.
const WHY_CHARACTERS_MAX: usize = 1_000;

/// Gives what is due.
pub(super) fn advance(draft: &mut Draft<'_>) {
    let mut facts = draft.state.once.clone();
    for (version, revision, name, command) in wanted(draft.state) {
        let at = facts
            .iter()
            .position(|fact| (fact.version, fact.name.as_str()) == (version, name));
        let now_ms = draft.now_ms();
        let before = at.map(|at| facts[at].clone());
        let due = match &before {
            None => all_there(draft.state, version),
            Some(fact) => match fact.state {
                OnceState::Done => false,
                OnceState::Failed => now_ms >= fact.at_ms + pause_ms(fact.attempts),
                OnceState::Given => is_lost(draft.state, fact, command, now_ms),
            },
        };
        if !due {
            continue;
        }
        let attempts = before.as_ref().map_or(0, |fact| fact.attempts);
        let Some(node) = doer(draft.state, version, command, attempts) else {
            continue;
        };
        let fact = OnceFact {
            version,
            revision,
            name: name.to_owned(),
            state: OnceState::Given,
            attempts: attempts + 1,
            node: node.name.clone(),
            at_ms: now_ms,
            why: before.map_or_else(String::new, |fact| fact.why),
        };
        let message = format!(
            "{} does `{name}` of version {version}, once for the whole system (attempt {})",
            node.name, fact.attempts
        );
        draft.event(
            EventKind::OnceBegun,
            Some(node.node),
            Some(version),
            message,
        );
        match at {
            Some(at) => facts[at] = fact,
            None => facts.push(fact),
        }
    }
    facts.retain(|fact| draft.state.newest_revision(fact.version).is_some());
    if facts != draft.state.once {
        draft.change(Change::Once(facts));
    }
}

/// Everything that is to be done once, of versions that are not retired.
fn wanted(state: &SystemState) -> impl Iterator<Item = (Version, Revision, &str, &OnceCommand)> {
    let versions = state.history.versions();
    let alive = versions.filter(|version| *version > state.retired_through);
    alive.flat_map(|version| {
        let newest = state.newest_revision(version);
        newest.into_iter().flat_map(move |published| {
            let revision = published.summary.revision;
            let all = published.upgrade.once.iter();
            all.map(move |(name, command)| (version, revision, name.as_str(), command))
        })
    })
}

/// Whether every node has settled at a version or a later one, and there is one.
fn all_there(state: &SystemState, version: Version) -> bool {
    let mut any = false;
    for (at, _, standing) in state.fleet.standings().iter() {
        // Those at version 0 have not started yet: they join at the newest.
        if at > Version(0) && standing.nodes > 0 {
            if at < version {
                return false;
            }
            any = true;
        }
    }
    any
}

/// Whether the node that was told to do it will not say how it ended.
fn is_lost(state: &SystemState, fact: &OnceFact, command: &OnceCommand, now_ms: u64) -> bool {
    let node = state.node(&fact.node);
    let is_heard = node.is_some_and(|node| node.reachable);
    let late_ms = fact.at_ms + command.timeout_ms + LATE_MS;
    now_ms >= late_ms || (!is_heard && now_ms >= fact.at_ms + PAUSE_MS)
}

/// Who does it: nodes of its class take turns.
fn doer<'s>(
    state: &'s SystemState,
    version: Version,
    command: &OnceCommand,
    attempts: u32,
) -> Option<&'s NodeFact> {
    let mut able: Vec<&NodeFact> = (state.nodes.values())
        .map(AsRef::as_ref)
        .filter(|fact| {
            let status = &fact.report.status;
            let runs = fact.reachable && status.child == ChildState::Running;
            let counted = state.fleet.node(fact.node);
            let seat = counted.and_then(|node| node.seats.get(&version));
            runs && status.version >= version && seat.is_some_and(|it| *it.class == command.class)
        })
        .collect();
    able.sort_by(|a, b| a.name.cmp(&b.name));
    let turn = (attempts as usize).checked_rem(able.len())?;
    able.get(turn).copied()
}

fn pause_ms(attempts: u32) -> u64 {
    let doubled = PAUSE_MS.saturating_mul(1 << attempts.saturating_sub(1).min(16));
    doubled.min(PAUSE_MS_MAX)
}

/// A node says how it ended. Said again it is the same; said late it is nothing new.
pub(super) fn ended(
    draft: &mut Draft<'_>,
    node: NodeId,
    told: &OnceEnded,
) -> Result<(), RequestRefusal> {
    let fact = draft.state.nodes.get(&node);
    let by = fact
        .ok_or_else(|| unknown_node(&node.to_string()))?
        .name
        .clone();
    let mut facts = draft.state.once.clone();
    let found = facts.iter_mut().find(|fact| {
        (fact.version, &fact.name, fact.attempts) == (told.version, &told.name, told.attempt)
    });
    let Some(fact) = found.filter(|fact| fact.node == by) else {
        let detail = format!(
            "Node {by} was not told to do `{}` of version {} in attempt {}; another may have been since.",
            told.name, told.version, told.attempt
        );
        return Err(refuse(Kind::ONCE_REFUSED, detail));
    };
    if fact.state != OnceState::Given {
        return Ok(());
    }
    fact.at_ms = draft.context.now_ms;
    let (name, version) = (&told.name, told.version);
    let (kind, message) = match &told.failed {
        None => {
            fact.state = OnceState::Done;
            fact.why.clear();
            let done = format!("`{name}` of version {version} is done");
            (EventKind::OnceDone, done)
        }
        Some(why) => {
            fact.state = OnceState::Failed;
            fact.why = why.chars().take(WHY_CHARACTERS_MAX).collect();
            let again_s = pause_ms(fact.attempts) / 1_000;
            let failed = format!(
                "`{name}` of version {version} has failed, and is tried again in {again_s} s: {}",
                fact.why
            );
            (EventKind::OnceFailed, failed)
        }
    };
    draft.event(kind, Some(node), Some(version), message);
    draft.change(Change::Once(facts));
    Ok(())
}

/// What of a version below this one is not done yet: nobody goes on before it is.
pub(super) fn unfinished(state: &SystemState, below: Version) -> Option<(Version, String)> {
    let mut open = wanted(state).filter(|(version, _, name, _)| {
        let done = state.once.iter().any(|fact| {
            (fact.version, fact.name.as_str()) == (*version, *name) && fact.state == OnceState::Done
        });
        *version < below && !done
    });
    open.next()
        .map(|(version, _, name, _)| (version, name.to_owned()))
}
