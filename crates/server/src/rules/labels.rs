//! Signed labels. Every step is one that nodes take at different moments without a refused call between them: what a step builds on,
//! every node has acknowledged.
//!
//! ```text
//! off -> sign     callers sign at once: whoever has no key yet does not look
//! sign -> demand  when every node signs
//! rotate          both keys count -> all sign with the new one -> the old one ends
//! demand -> off   nobody demands -> nobody signs
//! ```

use super::{Draft, some_of};
use crate::problem::{Kind, RequestRefusal, refuse};
use crate::udb::{Change, SignedLabels};
use model::api::{
    EventKind, LabelMode, LabelOrder, LabelSecret, LabelsAction, LabelsFact, LabelsHeld, LabelsView,
};
use std::sync::Arc;

/// By how much a node's clock must have moved against the server's for that to be stored again.
const CLOCK_STEP_S: u64 = 30;

/// What is known of a node after an acknowledgement. An agent that says nothing of labels is of a build without signed ones: its hooks
/// go by none.
pub(super) fn acknowledged(
    before: &LabelsFact,
    held: Option<&LabelsHeld>,
    now_ms: u64,
) -> LabelsFact {
    let Some(held) = held else {
        return LabelsFact {
            in_force: String::new(),
            ..before.clone()
        };
    };
    let off_ms = i128::from(held.clock_ms) - i128::from(now_ms);
    let off_s = i64::try_from(off_ms / 1000).unwrap_or(i64::MAX);
    let clock_off_s = if before.clock_off_s.abs_diff(off_s) >= CLOCK_STEP_S {
        off_s
    } else {
        before.clock_off_s
    };
    LabelsFact {
        in_force: held.in_force.clone(),
        clock_off_s,
    }
}

/// Does what an operator wants; the same again is the same.
pub(super) fn operate(
    draft: &mut Draft<'_>,
    action: LabelsAction,
    fresh: &LabelSecret,
) -> Result<LabelsView, RequestRefusal> {
    let known = draft.state.labels.clone();
    let changed = match (action, known) {
        (LabelsAction::Sign, None) => {
            let secret = LabelSecret {
                generation: 1,
                key: fresh.key.clone(),
            };
            Some(SignedLabels {
                mode: LabelMode::Sign,
                order: LabelOrder::new(1, false, Some(1), vec![secret]),
            })
        }
        (LabelsAction::Sign, Some(labels)) => Some(wanted(&labels, LabelMode::Sign)),
        (LabelsAction::Off, None) => None,
        (LabelsAction::Off, Some(labels)) => Some(wanted(&labels, LabelMode::Off)),
        (LabelsAction::Demand, Some(labels)) if labels.mode == LabelMode::Demand => None,
        (LabelsAction::Demand, Some(labels)) if labels.mode == LabelMode::Sign => {
            check_all_sign(draft, &labels.order)?;
            Some(wanted(&labels, LabelMode::Demand))
        }
        (LabelsAction::Rotate, Some(labels)) if labels.mode != LabelMode::Off => {
            Some(rotated(draft, labels, fresh)?)
        }
        (LabelsAction::Demand | LabelsAction::Rotate, _) => {
            return refused("The labels are not signed; `upstart labels sign` first.".to_owned());
        }
    };
    let before = draft.state.labels.as_ref();
    if let Some(labels) = changed
        && before != Some(&labels)
    {
        let message = said(action, before, &labels);
        draft.event(EventKind::LabelsChanged, None, None, message);
        draft.change(Change::Labels(Some(labels)));
    }
    let mut state = draft.state.clone();
    state.apply(&draft.changes);
    Ok(state.labels_view())
}

fn refused<T>(detail: String) -> Result<T, RequestRefusal> {
    Err(refuse(Kind::LABELS_REFUSED, detail))
}

/// The same keys in another mode. What nodes are told changes only with what is demanded.
fn wanted(labels: &SignedLabels, mode: LabelMode) -> SignedLabels {
    let order = &labels.order;
    let demanded = mode == LabelMode::Demand;
    let order = if demanded == order.demanded {
        order.clone()
    } else {
        LabelOrder::new(order.step + 1, demanded, order.signing, order.keys.clone())
    };
    SignedLabels { mode, order }
}

/// Whether calls go on when what is not signed is refused.
fn check_all_sign(draft: &Draft<'_>, order: &LabelOrder) -> Result<(), RequestRefusal> {
    let awaited = awaited(draft);
    if !awaited.is_empty() {
        return refused(format!(
            "{} not signed labels yet; wait for it, update its agent and restart its software, or `upstart forget` a node that is gone for good (`upstart labels` lists them all).",
            verb(&awaited, "has", "have")
        ));
    }
    if order.keys.len() > 1 {
        return refused("The key is being replaced; ask again when that is done.".to_owned());
    }
    let clocks = draft.state.clocks_off();
    if let Some(clock) = clocks.first() {
        return refused(format!(
            "The clock of {} differs from the server's by {} seconds, and signed labels count for minutes only; set it (NTP).",
            clock.node, clock.seconds
        ));
    }
    Ok(())
}

/// The first step of another key: all accept it, nobody signs with it.
fn rotated(
    draft: &Draft<'_>,
    labels: SignedLabels,
    fresh: &LabelSecret,
) -> Result<SignedLabels, RequestRefusal> {
    let SignedLabels { mode, order } = labels;
    let (Some(last), 1) = (order.keys.last(), order.keys.len()) else {
        let awaited = awaited(draft);
        let who = if awaited.is_empty() {
            "every node".to_owned()
        } else {
            some_of(&awaited)
        };
        return refused(format!(
            "The key is being replaced already, which waits for {who}; ask again when that is done."
        ));
    };
    let next = LabelSecret {
        generation: last.generation + 1,
        key: fresh.key.clone(),
    };
    let keys = vec![last.clone(), next];
    let order = LabelOrder::new(order.step + 1, order.demanded, order.signing, keys);
    Ok(SignedLabels { mode, order })
}

fn said(action: LabelsAction, before: Option<&SignedLabels>, after: &SignedLabels) -> String {
    match (action, after.order.keys.last()) {
        (LabelsAction::Rotate, Some(key)) => format!(
            "key {} for labels is given to every node, and is signed with when all have it",
            key.generation
        ),
        (LabelsAction::Off, _) if before.is_some_and(|before| before.order.demanded) => {
            "signed labels are demanded no longer; when every node knows that, they end".to_owned()
        }
        (LabelsAction::Off, _) => "the signing of labels ends".to_owned(),
        (LabelsAction::Demand, _) => "labels that are not signed are refused".to_owned(),
        (LabelsAction::Sign | LabelsAction::Rotate, _) => {
            "callers sign their labels, and none is refused".to_owned()
        }
    }
}

/// Takes the next step, when every node has acknowledged the last one.
pub(super) fn advance(draft: &mut Draft<'_>) {
    let Some(labels) = draft.state.labels.clone() else {
        return;
    };
    let SignedLabels { mode, order } = labels;
    if mode == LabelMode::Off && !order.demanded {
        // Who has never acknowledged any order demands nothing.
        let mut awaited = draft.state.awaited_for_labels().into_iter();
        if awaited.all(|fact| fact.labels.in_force.is_empty()) {
            let message = "labels are not signed any more, and the keys are gone".to_owned();
            draft.change(Change::Labels(None));
            draft.event(EventKind::LabelsChanged, None, None, message);
        }
        return;
    }
    let [old, new] = &order.keys[..] else {
        return;
    };
    if !awaited(draft).is_empty() {
        return;
    }
    let (keys, message) = if order.signing == Some(new.generation) {
        let message = format!("key {} for labels has ended", old.generation);
        (vec![new.clone()], message)
    } else {
        let message = format!("labels are signed with key {}", new.generation);
        (order.keys.clone(), message)
    };
    let signing = Some(new.generation);
    let order = LabelOrder::new(order.step + 1, order.demanded, signing, keys);
    draft.change(Change::Labels(Some(SignedLabels { mode, order })));
    draft.event(EventKind::LabelsChanged, None, None, message);
}

/// The order in force at a node that may have taken others since the database that says so was set back.
const NOT_KNOWN: &str = "?";

/// What nodes acknowledged is not known any more: since the backup they may have taken another key, and who is away cannot be told of this
/// one. They count as awaited until they say what they do.
pub(super) fn are_not_known(draft: &mut Draft<'_>) {
    let nodes = draft.nodes();
    let nodes = nodes.into_iter();
    for mut fact in nodes.filter(|fact| !fact.labels.in_force.is_empty()) {
        NOT_KNOWN.clone_into(&mut fact.labels.in_force);
        draft.change(Change::NodeQuietly(Arc::new(fact)));
    }
}

/// Who has not acknowledged what nodes are told now, by name.
fn awaited(draft: &Draft<'_>) -> Vec<String> {
    let awaited = draft.state.awaited_for_labels().into_iter();
    awaited.map(|fact| fact.name.clone()).collect()
}

fn verb(names: &[String], one: &str, many: &str) -> String {
    let verb = if names.len() == 1 { one } else { many };
    format!("{} {verb}", some_of(names))
}
