//! Signed labels: what nodes are told, and who does not do it yet.

use super::SystemState;
use super::members::has_software;
use model::api::{ClockOff, LabelOrder, LabelsView, MembersRequest, NodeFact};

/// How far a node's clock may be from the server's: those of two nodes are then less apart than labels allow.
const CLOCK_OFF_S_MAX: u64 = 120;

impl SystemState {
    /// What nodes are told to do about labels.
    pub(crate) fn label_order(&self) -> LabelOrder {
        let labels = self.labels.as_ref();
        labels.map_or_else(LabelOrder::off, |labels| labels.order.clone())
    }

    /// Whether an agent that knows of signed labels has another order than this.
    pub(super) fn has_label_news(&self, request: &MembersRequest) -> bool {
        let held = request.labels.as_ref();
        held.is_some_and(|held| match &self.labels {
            Some(labels) => held.seen != labels.order.id,
            None => held.seen != LabelOrder::off().id,
        })
    }

    /// Who runs software that may not do what this order says. One that has never run any has the order before it does.
    pub(crate) fn awaited_for_labels(&self) -> Vec<&NodeFact> {
        let order = self.label_order();
        let nodes = self.nodes.values().map(AsRef::as_ref);
        let concerned = |fact: &&NodeFact| has_software(fact) || !fact.labels.in_force.is_empty();
        nodes
            .filter(concerned)
            .filter(|fact| fact.labels.in_force != order.id)
            .collect()
    }

    /// What operators are shown.
    pub(crate) fn labels_view(&self) -> LabelsView {
        let Some(labels) = &self.labels else {
            return LabelsView::default();
        };
        let order = &labels.order;
        let names =
            |facts: Vec<&NodeFact>| facts.into_iter().map(|fact| fact.name.clone()).collect();
        LabelsView {
            mode: labels.mode,
            signing: order.signing,
            generations: order.keys.iter().map(|key| key.generation).collect(),
            awaited: names(self.awaited_for_labels()),
            clocks: self.clocks_off(),
        }
    }

    /// Whose clocks differ too much from this server's.
    pub(crate) fn clocks_off(&self) -> Vec<ClockOff> {
        let nodes = self.nodes.values().map(AsRef::as_ref);
        nodes
            .filter(|fact: &&NodeFact| is_clock_off(fact))
            .map(|fact| ClockOff {
                node: fact.name.clone(),
                seconds: fact.labels.clock_off_s,
            })
            .collect()
    }
}

/// Whether a node's clock differs too much from this server's.
pub(super) fn is_clock_off(fact: &NodeFact) -> bool {
    fact.labels.clock_off_s.unsigned_abs() > CLOCK_OFF_S_MAX
}
