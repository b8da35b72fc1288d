//! What must happen before it is worth asking again: something without which a wait cannot end.

use crate::tally::TallyKey;
use model::fleet::{ClassSeat, CountedNode, Fleet};
use model::ids::{Revision, Version};
use model::schedule::{Schedule, WaitReason};
use std::sync::Arc;

/// Without this a node's wait cannot end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AwaitedChange {
    /// The moment has come.
    Moment(u64),
    /// So many more have staged.
    Staged(u64),
    /// So many more of a class, or a wave, have settled.
    Settled(TallyKey, u64),
    /// Somebody of its group serves again.
    Room,
    /// Nothing that nodes do ends it.
    Somebody,
}

/// A wait, and what is looked at to find what ends it.
pub(crate) struct FoundWait<'a> {
    pub(crate) fleet: &'a Fleet,
    pub(crate) asking: &'a CountedNode,
    pub(crate) seat: Option<&'a ClassSeat>,
    pub(crate) schedule: &'a Schedule,
    pub(crate) goal: Version,
    pub(crate) reasons: &'a [WaitReason],
    pub(crate) until_ms: Option<u64>,
    /// When something else is measured.
    pub(crate) measured_ms: Option<u64>,
}

impl FoundWait<'_> {
    /// What it cannot end without. One thing is enough: a node that is told of it asks again, and says what else it waits for.
    pub(crate) fn awaited(&self) -> AwaitedChange {
        let each = self.reasons.iter().map(|reason| self.ended_by(reason));
        let each: Vec<AwaitedChange> = each.collect();
        if each.contains(&AwaitedChange::Somebody) {
            return AwaitedChange::Somebody;
        }
        if let Some(until_ms) = self.until_ms {
            return AwaitedChange::Moment(until_ms);
        }
        let others = each.iter().find(|awaited| **awaited != AwaitedChange::Room);
        others
            .or(each.first())
            .cloned()
            .unwrap_or(AwaitedChange::Somebody)
    }

    fn ended_by(&self, reason: &WaitReason) -> AwaitedChange {
        match reason {
            WaitReason::NotStaged { nodes, .. } => AwaitedChange::Staged(nodes.count as u64),
            WaitReason::NotYetAt { classes, .. } => self.class_behind(classes),
            WaitReason::Wave { wave, .. } => self.wave(wave.saturating_sub(1)),
            WaitReason::Limit { .. } => AwaitedChange::Room,
            WaitReason::Soaks { .. } | WaitReason::NoWindow { .. } | WaitReason::Frozen { .. } => {
                self.until_ms
                    .map_or(AwaitedChange::Somebody, AwaitedChange::Moment)
            }
            WaitReason::GoIf { .. } | WaitReason::GoIfUnknown { .. } => {
                (self.measured_ms).map_or(AwaitedChange::Somebody, AwaitedChange::Moment)
            }
            // Nobody knows the roles of nodes in advance: they have none.
            WaitReason::Role { .. } | WaitReason::RoleUnknown | WaitReason::Once { .. } => {
                AwaitedChange::Somebody
            }
            WaitReason::Withdrawn(_)
            | WaitReason::NotPublished(_)
            | WaitReason::NotNewest { .. }
            | WaitReason::Fetches(_)
            | WaitReason::Paused { .. }
            | WaitReason::Blocked { .. }
            | WaitReason::NotYetHealthy { .. }
            | WaitReason::Failing { .. }
            | WaitReason::NotApproved(_)
            | WaitReason::NoZone { .. } => AwaitedChange::Somebody,
        }
    }

    /// The first of these classes of which somebody is missing.
    fn class_behind(&self, classes: &[String]) -> AwaitedChange {
        let behind = classes.iter().find_map(|class| {
            let tally = self.fleet.class(self.goal, class)?;
            let missing = tally.not_there(Revision(0), self.asking).count;
            (missing > 0).then(|| (Arc::from(class.as_str()), missing as u64))
        });
        behind.map_or(AwaitedChange::Somebody, |(class, missing)| {
            AwaitedChange::Settled((self.goal, class, None), missing)
        })
    }

    /// A wave is over when all of it is there, or as many as it says.
    fn wave(&self, wave: usize) -> AwaitedChange {
        let tally = (self.seat).and_then(|seat| {
            let tally = self.fleet.wave(self.goal, &seat.class, wave)?;
            Some((tally, Arc::clone(&seat.class)))
        });
        let Some((tally, class)) = tally else {
            return AwaitedChange::Somebody;
        };
        let missing = tally.not_there(Revision(0), self.asking).count;
        let there = tally.there(Revision(0), self.asking);
        let at_most = self.schedule.waves.get(wave).and_then(|wave| wave.at_most);
        let missing = at_most.map_or(missing, |limit| {
            missing.min((limit as usize).saturating_sub(there))
        });
        match missing {
            0 => AwaitedChange::Somebody,
            missing => AwaitedChange::Settled((self.goal, class, Some(wave)), missing as u64),
        }
    }
}
