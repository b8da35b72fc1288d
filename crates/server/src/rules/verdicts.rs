//! A node asks whether it may go: the schedule of the upgrade as it is published now is asked, and a node that may holds a
//! permit from the same moment on.

use super::{Draft, once, permits, set_back, unknown_node};
use crate::problem::{Kind, RequestRefusal, refuse};
use crate::state::Whereabouts;
use crate::udb::{Change, QueuedNode, StoppedClass};
use model::api::{AHEAD_MAX, NodeFact, NodeStatus, VerdictAnswer, VerdictRequest, WaitCause};
use model::fleet::{ClassSeat, CountedNode};
use model::ids::{NodeId, Place, Revision, Version};
use model::schedule::{
    ClassGauges, Facts, ROLE_BYTES_MAX, Schedule, Verdict, WaitReason, evaluate, leap,
};
use std::sync::Arc;

/// How soon a node asks again whose turn it is when there is room: soon, and few do.
const NEXT_ASKS_MS: u64 = 200;

/// How often all those whose turn it is ask each second, together: where there are more groups, each asks more rarely.
const NEXT_ASKS_PER_S: u64 = 200;

/// How often all nodes ask each second, together: in a large system each asks more rarely.
const ASKS_PER_S: u64 = 1_000;

/// Who has less than so many times the group's room before it asks the sooner the nearer its turn is.
const NEAR: usize = 8;

/// So many of a group are counted at most.
const NEAR_NODES_MAX: usize = 256;

/// How soon a node asks again whose poll interval is not known.
const POLL_MS_ASSUMED: u64 = 1_000;

/// The longest pause between two questions: what ends a wait early is learnt within it.
const PAUSE_MS_MAX: u64 = 60_000;

/// A node that has not asked again in so many of the pauses that it was told has gone elsewhere.
const PAUSES_MISSED_MAX: u64 = 3;

/// How much later than it was told a node may ask.
const LATE_MS: u64 = 1_000;

/// What a node asks: who it is, and where it would go.
struct AskedVerdict<'a> {
    fact: &'a NodeFact,
    asking: &'a CountedNode,
    to: Place,
    mends: bool,
}

/// Why a node waits, and until when if that is known.
type VerdictWait = (Vec<WaitReason>, Option<u64>);

/// Judges, and gives the permit or says why not.
pub(super) fn judge(
    draft: &mut Draft<'_>,
    node: NodeId,
    request: &VerdictRequest,
) -> Result<VerdictAnswer, RequestRefusal> {
    if request.ahead.len() > AHEAD_MAX {
        let detail = format!("A node asks for {AHEAD_MAX} versions at most.");
        return Err(refuse(Kind::INVALID, detail));
    }
    let state = draft.state;
    let place = request.moment.as_ref().map(|seen| state.whereabouts(seen));
    if place.is_some_and(|place| place != Whereabouts::Now) {
        return Err(set_back::wants_everything());
    }
    let known = state.nodes.get(&node).zip(state.fleet.node(node));
    let (fact, asking) = known.ok_or_else(|| unknown_node(&node.to_string()))?;
    let asking = &asking
        .clone()
        .with_role(role(draft, asking, node, request)?);
    let question = AskedVerdict {
        fact,
        asking,
        to: goal(draft, asking, request)?,
        mends: request.mends,
    };
    question.may_be_asked()?;
    if let Some(refusal) = set_back::contradiction(draft, question.to.version) {
        return Err(refusal);
    }
    if let Some(coming) = question.awaits(draft, request) {
        let waiting = (vec![WaitReason::Fetches(coming)], None);
        return Ok(wait(draft, &question, &waiting, pause_ms(draft, fact)));
    }
    let schedule = question.schedule(draft);
    let before_it = question.before_it(draft, question.room(draft, &schedule));
    match question.judged(draft, &schedule, before_it) {
        Verdict::Go => {
            let group = question.group().unwrap_or_else(|| question.class());
            Ok(permits::give(draft, node, question.to, group.to_owned()))
        }
        Verdict::Wait { reasons, until_ms } => {
            let waiting = (reasons, until_ms);
            let ask_again_ms = question.ask_again_ms(draft, &schedule, &waiting);
            queue(draft, &question, &waiting, ask_again_ms);
            Ok(wait(draft, &question, &waiting, ask_again_ms))
        }
    }
}

impl AskedVerdict<'_> {
    /// A node does not go where it is, as far as this server knows.
    fn may_be_asked(&self) -> Result<(), RequestRefusal> {
        let (status, to) = (&self.fact.report.status, self.to);
        let wanted = if self.mends {
            would_revise(status, to.version, to.revision)
        } else {
            to.version > status.version
        };
        if wanted {
            return Ok(());
        }
        Err(refuse(
            Kind::PERMIT_REFUSED,
            format!(
                "Node {} is at version {} already, and runs no older revision of version {}.",
                self.fact.name, status.version, to.version
            ),
        ))
    }

    /// The version that a node which was away makes ready, where the others of its class run that.
    fn awaits(&self, draft: &Draft<'_>, request: &VerdictRequest) -> Option<Version> {
        let coming = request.coming.filter(|_| !self.mends)?;
        let versions = request.ahead.iter().map(|place| place.version);
        let further: Vec<Version> = versions.chain([coming]).collect();
        let goes_there = leap(&draft.state.fleet, self.asking, &further) == Some(coming);
        goes_there.then_some(coming)
    }

    fn seat(&self) -> Option<&ClassSeat> {
        self.asking.seats.get(&self.to.version)
    }

    fn class(&self) -> &str {
        self.seat().map_or(&self.fact.class, |seat| &seat.class)
    }

    fn group(&self) -> Option<&str> {
        self.seat()?.group.as_deref()
    }

    /// What was measured last of its class on its way there.
    fn gauges<'d>(&self, draft: &'d Draft<'_>) -> Option<&'d ClassGauges> {
        draft.context.measured.get(&StoppedClass {
            version: self.to.version,
            class: self.class().to_owned(),
        })
    }

    fn schedule(&self, draft: &Draft<'_>) -> Schedule {
        schedule_of(draft, self.asking, self.to.version)
    }

    /// How many of its group may be unavailable at once; 0 where nothing limits that.
    fn room(&self, draft: &Draft<'_>, schedule: &Schedule) -> usize {
        let limited = schedule.rolling.as_ref().zip(self.group());
        limited.map_or(0, |(rolling, group)| {
            let all = draft.state.fleet.group_len(self.to.version, group);
            rolling.max_unavailable.of(all)
        })
    }

    /// How many have waited longer than it. Who is unavailable already takes no more room, and waits for nobody's turn.
    fn before_it(&self, draft: &Draft<'_>, count_max: usize) -> usize {
        let takes_room = self.asking.absence().is_none();
        self.group().filter(|_| takes_room).map_or(0, |group| {
            let group = (self.to.version, group);
            let queue = &draft.state.queue;
            queue.before(self.fact.node, group, draft.now_ms(), count_max)
        })
    }

    /// How soon it is worth asking again.
    fn ask_again_ms(&self, draft: &Draft<'_>, schedule: &Schedule, waiting: &VerdictWait) -> u64 {
        let pause_ms = pause_ms(draft, self.fact);
        let room = self.room(draft, schedule).max(1);
        match waiting.1.map(|at_ms| at_ms.saturating_sub(draft.now_ms())) {
            // What else it waits for is shown with it, and may end before.
            Some(left_ms) if waiting.0.len() > 1 => left_ms.min(pause_ms).max(1),
            Some(left_ms) => left_ms.clamp(1, PAUSE_MS_MAX),
            None if only_for_room(waiting) => {
                let near = room.max((NEAR * room).min(NEAR_NODES_MAX));
                let before_it = self.before_it(draft, near);
                if before_it >= near {
                    return pause_ms;
                }
                let turns = before_it / room;
                let asking = (draft.state.queue.groups() * room) as u64;
                let next_ms = NEXT_ASKS_MS.max(asking * 1_000 / NEXT_ASKS_PER_S);
                pause_ms.min(next_ms * (turns as u64 + 1))
            }
            None => pause_ms,
        }
    }

    fn judged(&self, draft: &Draft<'_>, schedule: &Schedule, before_it: usize) -> Verdict {
        let (state, to) = (draft.state, self.to);
        let upgrade = state.summary(to.version);
        let release = state.history.release(to.version);
        let wants_all = release.is_none_or(|release| release.settings.require_staged);
        let unfinished = once::unfinished(state, to.version).filter(|_| !self.mends);
        let facts = Facts {
            upgrade: upgrade.as_ref(),
            paused: state.paused.as_ref(),
            approvals: &state.approvals,
            fleet: &state.fleet,
            asking: self.asking,
            version: to.version,
            revision: to.revision,
            mends: self.mends,
            // The interfaces of a revision are those of what runs.
            require_staged: wants_all && !self.mends,
            before_it,
            gauges: self.gauges(draft),
            passed: &passed(draft, self.asking, to.version),
            unfinished: unfinished.as_ref(),
            attributes: &self.fact.attributes,
            now_ms: draft.now_ms(),
        };
        evaluate(schedule, &facts)
    }
}

/// The schedules of the versions that a node passes on its way to another.
pub(super) fn passed(draft: &Draft<'_>, node: &CountedNode, to: Version) -> Vec<Schedule> {
    let between = draft.state.history.versions();
    let between = between.filter(|version| *version > node.version && *version < to);
    between
        .map(|version| schedule_of(draft, node, version))
        .collect()
}

/// The role with which a node asks; noted where it is another than before.
fn role(
    draft: &mut Draft<'_>,
    asking: &CountedNode,
    node: NodeId,
    request: &VerdictRequest,
) -> Result<Option<Arc<str>>, RequestRefusal> {
    let Some(role) = &request.role else {
        return Ok(asking.role.clone());
    };
    if role.len() > ROLE_BYTES_MAX {
        let detail = format!("The role is longer than {ROLE_BYTES_MAX} bytes; say a shorter one.");
        return Err(refuse(Kind::INVALID, detail));
    }
    if asking.role.as_deref() != Some(role) {
        draft.change(Change::Role(node, role.clone()));
    }
    Ok(Some(Arc::from(role.as_str())))
}

/// The schedule of the node's class at a version; an empty one where it has none there.
pub(super) fn schedule_of(draft: &Draft<'_>, node: &CountedNode, version: Version) -> Schedule {
    let release = draft.state.history.release(version);
    let class = release
        .zip(node.seats.get(&version))
        .and_then(|(release, seat)| release.classes.get(&*seat.class));
    class.map_or_else(Schedule::default, |class| class.schedule.clone())
}

/// Whether a node waits for room in its group, and for nothing else.
fn only_for_room((reasons, _): &VerdictWait) -> bool {
    matches!(reasons[..], [WaitReason::Limit { .. }])
}

/// Gives a node that waits for room its place. Who waits for something else meanwhile keeps its own, and takes none, unless the others of
/// its group need not wait for that.
fn queue(
    draft: &mut Draft<'_>,
    question: &AskedVerdict<'_>,
    waiting: &VerdictWait,
    ask_again_ms: u64,
) {
    let node = question.fact.node;
    let Some(group) = question.group() else {
        return;
    };
    if only_for_room(waiting) || draft.state.queue.has(node) {
        let is_passed = waiting.0.iter().any(WaitReason::is_the_nodes_own);
        let patience_ms = if is_passed {
            0
        } else {
            PAUSES_MISSED_MAX * ask_again_ms + LATE_MS
        };
        draft.change(Change::Queue(QueuedNode {
            node,
            version: question.to.version,
            group: group.to_owned(),
            good_until_ms: draft.now_ms().saturating_add(patience_ms),
        }));
    }
}

/// Where the node would go in one.
fn goal(
    draft: &Draft<'_>,
    asking: &CountedNode,
    request: &VerdictRequest,
) -> Result<Place, RequestRefusal> {
    let versions: Vec<Version> = request.ahead.iter().map(|place| place.version).collect();
    let version = if request.mends {
        versions.first().copied()
    } else {
        leap(&draft.state.fleet, asking, &versions)
    };
    let mut ahead = request.ahead.iter();
    let to = ahead.find(|place| Some(place.version) == version);
    to.copied().ok_or_else(|| {
        let detail = "A node asks for one version at least; say which are staged in `ahead`.";
        refuse(Kind::INVALID, detail)
    })
}

/// Whether a node runs the software of this version in an older revision.
fn would_revise(status: &NodeStatus, version: Version, revision: Revision) -> bool {
    let older = |bundle: Place| bundle.version == version && bundle.revision < revision;
    status.bundle.is_some_and(older)
}

fn pause_ms(draft: &Draft<'_>, fact: &NodeFact) -> u64 {
    let own_ms = match fact.report.poll_ms {
        0 => POLL_MS_ASSUMED,
        poll_ms => poll_ms,
    };
    let all_ms = draft.state.fleet.len() as u64 * 1_000 / ASKS_PER_S;
    own_ms.max(all_ms).min(PAUSE_MS_MAX)
}

/// A node that waits is not about to leave: what it held is nobody's any more.
fn wait(
    draft: &mut Draft<'_>,
    question: &AskedVerdict<'_>,
    (reasons, until_ms): &VerdictWait,
    ask_again_ms: u64,
) -> VerdictAnswer {
    permits::end_of(draft, question.fact.node);
    let causes = reasons.iter().map(|reason| {
        let nodes = reason.nodes();
        WaitCause {
            code: reason.code().name().to_owned(),
            text: reason.to_string(),
            count: nodes.map(|nodes| nodes.count as u64),
            of: nodes.map(|nodes| nodes.of as u64),
        }
    });
    VerdictAnswer::Wait {
        to: question.to.version,
        reasons: causes.collect(),
        until_ms: *until_ms,
        ask_again_ms,
    }
}
