//! `stop_if` of schedules: the system is paused where a class does badly on its way to a version. It never goes back by itself.

use super::{ClassMeasurements, Draft};
use crate::state::SystemState;
use crate::udb::{Change, StoppedClass};
use model::api::{EventKind, Pause};
use model::schedule::GateJudgement;
use std::collections::BTreeSet;

/// Looks at every condition. Each stops once, and again only when it was seen not to hold meanwhile: whoever resumes has decided.
pub(super) fn stop(draft: &mut Draft<'_>) {
    let state = draft.state;
    let mut stopped = state.stopped.clone();
    for (class, judged) in judged(state, &draft.context.measured, draft.now_ms()) {
        match judged {
            GateJudgement::Unknown { .. } => {}
            GateJudgement::HoldsNot { .. } => drop(stopped.remove(&class.stopped)),
            GateJudgement::Holds { seen } => {
                if stopped.insert(class.stopped.clone()) {
                    pause(draft, &class, &seen);
                }
            }
        }
    }
    let versions: BTreeSet<_> = state.history.versions().collect();
    stopped.retain(|class| versions.contains(&class.version));
    if stopped != state.stopped {
        draft.change(Change::Stopped(stopped));
    }
}

/// A class whose schedule says when to stop.
struct GuardedClass {
    stopped: StoppedClass,
    condition: String,
}

/// What the conditions say of classes of which nodes are not there yet.
fn judged(
    state: &SystemState,
    measured: &ClassMeasurements,
    now_ms: u64,
) -> Vec<(GuardedClass, GateJudgement)> {
    let mut all = Vec::new();
    for version in state.history.versions() {
        let Some(release) = state.history.release(version) else {
            continue;
        };
        let guarded = release.classes.values();
        for class in guarded.filter(|class| class.schedule.gates.stop_if.is_some()) {
            let revision = state.newest_revision(version);
            let revision = revision.map_or_else(Default::default, |it| it.summary.revision);
            let tally = state.fleet.class(version, &class.name);
            let under_way = tally.filter(|tally| tally.counts(revision).behind > 0);
            let Some(tally) = under_way else {
                continue;
            };
            let stopped = StoppedClass {
                version,
                class: class.name.clone(),
            };
            let gauges = measured.get(&stopped);
            let gates = &class.schedule.gates;
            let judged = gates.stops(tally, gauges, revision, now_ms);
            let condition = gates.stop_if.as_ref();
            let condition = condition.map_or_else(String::new, |it| it.source().to_owned());
            all.extend(judged.map(|judged| (GuardedClass { stopped, condition }, judged)));
        }
    }
    all
}

/// Pauses the system, unless somebody has: then it is told only.
fn pause(draft: &mut Draft<'_>, class: &GuardedClass, seen: &str) {
    let StoppedClass {
        version,
        class: name,
    } = &class.stopped;
    let reason = format!(
        "`stop_if` of {name} holds at version {version}: {} ({seen})",
        class.condition
    );
    if draft.state.paused.is_none() {
        draft.change(Change::Pause(Some(Pause {
            reason: reason.clone(),
            author: format!("the schedule of {name}"),
            since_ms: draft.now_ms(),
        })));
    }
    let message = format!(
        "the system is paused: {reason}; look at it, then `upstart resume`, publish a revision, or withdraw"
    );
    draft.event(EventKind::UpgradeStopped, None, Some(*version), message);
}
