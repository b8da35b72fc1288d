//! From the schedule's answer to the first record of an upgrade.

use super::node::{ASK_INTERVAL_MS, NodeMachine};
use super::{Note, Outcome, Output, Place, Step, Work};
use crate::api::EventKind;
use crate::ids::PermitId;
use crate::schedule::Verdict;

impl NodeMachine {
    pub(super) fn scheduled(&mut self, now_ms: u64, outcome: Outcome, out: &mut Vec<Output>) {
        self.wait.ask_at_ms = now_ms.saturating_add(ASK_INTERVAL_MS);
        let (verdict, to) = match outcome {
            Outcome::Scheduled { verdict, to } => (verdict, to),
            Outcome::Failed { reason } | Outcome::Refused { reason } => {
                self.waits(reason, None, out);
                return;
            }
            _ => return,
        };
        let Some(to) = self.places_ahead().find(|place| place.version == to) else {
            return;
        };
        let only_number = self.path(to).iter().all(|step| step.work == Work::Number);
        match verdict {
            Verdict::Wait { reason, until_ms } => self.waits(reason, until_ms, out),
            Verdict::Acquire(request) if !only_number => self.acquire = Some((request, to)),
            Verdict::Go | Verdict::Acquire(_) => self.leave(to, None, out),
        }
    }

    /// Where the node may go: to staged versions, or to a revision of what runs.
    fn places_ahead(&self) -> impl Iterator<Item = Place> {
        let mend = self.mend().map(Step::place);
        let chain = self.open_chain().into_iter();
        chain.map(|step| step.place()).chain(mend)
    }

    pub(super) fn permit_answered(&mut self, now_ms: u64, outcome: Outcome, out: &mut Vec<Output>) {
        let Some((_, to)) = self.acquire.take() else {
            return;
        };
        match outcome {
            Outcome::Permit(permit) => self.leave(to, Some(permit), out),
            Outcome::Refused { reason }
            | Outcome::Failed { reason }
            | Outcome::NoSpace { reason } => {
                self.wait.ask_at_ms = now_ms.saturating_add(ASK_INTERVAL_MS);
                self.waits(reason, None, out);
            }
            _ => {}
        }
    }

    /// Begins the upgrade, unless what was learnt meanwhile forbids it.
    fn leave(&mut self, to: Place, permit: Option<PermitId>, out: &mut Vec<Output>) {
        let wanted = self.places_ahead().any(|place| place == to);
        let paused = self.plan.as_ref().is_none_or(|plan| plan.paused);
        if wanted && !paused {
            let record = self.leave_for(to, permit);
            self.commit(record, out);
        } else if permit.is_some() {
            self.tail.open = true;
            self.tail.end_permit = permit;
        }
    }

    fn waits(&mut self, reason: String, until_ms: Option<u64>, out: &mut Vec<Output>) {
        if self.wait.reason.as_ref() != Some(&reason) {
            out.push(Output::Tell(Note {
                kind: EventKind::NodeWaits,
                version: self.places_ahead().next().map(|place| place.version),
                message: reason.clone(),
            }));
        }
        self.wait.reason = Some(reason);
        self.wait.until_ms = until_ms;
    }
}
