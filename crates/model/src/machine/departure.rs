//! From the server's verdict to the first record of an upgrade.

use super::node::{ASK_INTERVAL_MS, NodeMachine};
use super::{Note, Outcome, Output, Place, Record, Step};
use crate::api::EventKind;
use crate::ids::PermitId;

impl NodeMachine {
    pub(super) fn judged(&mut self, now_ms: u64, outcome: Outcome, out: &mut Vec<Output>) {
        self.wait.ask_at_ms = now_ms.saturating_add(ASK_INTERVAL_MS);
        match outcome {
            Outcome::Permit { permit, to } => {
                let wanted = self.places_ahead().find(|place| place.version == to);
                match wanted {
                    Some(to) => self.leave(to, permit, out),
                    None => self.give_back(permit),
                }
            }
            Outcome::Waits {
                reason,
                kind,
                until_ms,
                ask_again_ms,
            } => {
                let pause_ms = ask_again_ms.unwrap_or(ASK_INTERVAL_MS);
                self.wait.ask_at_ms = now_ms.saturating_add(pause_ms);
                self.waits(reason, kind, until_ms, out);
            }
            Outcome::Failed { reason } | Outcome::Refused { reason } => {
                self.waits(reason.clone(), reason, None, out);
            }
            _ => {}
        }
    }

    /// Where the node may go: to staged versions, or to a revision of what runs.
    fn places_ahead(&self) -> impl Iterator<Item = Place> {
        let mend = self.mend().map(Step::place);
        let chain = self.open_chain().into_iter();
        chain.map(|step| step.place()).chain(mend)
    }

    /// Begins the upgrade, unless what was learnt meanwhile forbids it.
    fn leave(&mut self, to: Place, permit: PermitId, out: &mut Vec<Output>) {
        let paused = self.plan.as_ref().is_none_or(|plan| plan.paused);
        if paused {
            self.give_back(permit);
        } else {
            let permit = Some(permit);
            self.commit(Record::Stopping { to, permit }, out);
        }
    }

    /// A permit that came too late.
    fn give_back(&mut self, permit: PermitId) {
        self.tail.open = true;
        self.tail.end_permit = Some(permit);
    }

    fn waits(
        &mut self,
        reason: String,
        kind: String,
        until_ms: Option<u64>,
        out: &mut Vec<Output>,
    ) {
        let is_news = self.wait.reason.is_none() || self.wait.kind != kind;
        if is_news {
            out.push(Output::Tell(Note {
                kind: EventKind::NodeWaits,
                version: self.places_ahead().next().map(|place| place.version),
                message: reason.clone(),
            }));
        }
        self.wait.reason = Some(reason);
        self.wait.kind = kind;
        self.wait.until_ms = until_ms;
    }
}
