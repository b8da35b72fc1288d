//! What an action is about, as things stand now: what its page says besides, and where it wants a clear yes.

use crate::act::{ActionAbout, PageAction};
use crate::words::{counted, duration, grouped};
use model::api::NodeFact;

/// How things stand where an action is done.
#[derive(Clone, Debug, Default)]
pub struct ActionPlace<'a> {
    /// The node that it is done to.
    pub node: Option<&'a NodeFact>,
    /// How many nodes are at its version or beyond, and of how many.
    pub there: Option<(u64, u64)>,
    /// The classes that its version has.
    pub classes: Vec<String>,
    /// The server's time.
    pub now_ms: u64,
}

/// What the page of an action says besides.
#[must_use]
pub fn about(action: &PageAction, place: &ActionPlace<'_>) -> ActionAbout {
    let mut about = ActionAbout::default();
    match action {
        PageAction::Forget { node } => {
            if let Some(fact) = place.node {
                about.notes.push(how_it_is(fact, place.now_ms));
                about.consent = fact.reachable.then(|| {
                    format!("Forget {node} although it is heard: whoever calls it is reset")
                });
            }
        }
        PageAction::Public { version, .. } => {
            about.notes.extend(place.there.map(|(there, all)| {
                let beyond = "there or beyond; the others answer such callers by their adapters.";
                let all = counted(all, "node", "nodes");
                format!("At version {version}: {} of {all} {beyond}", grouped(there))
            }))
        }
        PageAction::Approve {
            class: None,
            node: None,
            ..
        } => about.classes.clone_from(&place.classes),
        _ => {}
    }
    about
}

/// Whether a node is heard, and what it does.
fn how_it_is(fact: &NodeFact, now_ms: u64) -> String {
    let since = duration(now_ms.saturating_sub(fact.seen_at_ms));
    let status = &fact.report.status;
    if fact.reachable {
        return format!(
            "It was heard {since} ago: it is {} at version {}.",
            status.phase.words(),
            status.version
        );
    }
    format!("It has not been heard for {since}.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::api::{LabelsFact, NodeReport};
    use model::ids::NodeId;
    use std::collections::BTreeMap;

    fn node(reachable: bool) -> NodeFact {
        NodeFact {
            node: NodeId(1),
            name: "a1".to_owned(),
            class: "db".to_owned(),
            attributes: BTreeMap::new(),
            host: String::new(),
            data_directory: String::new(),
            report: NodeReport::default(),
            seen_at_ms: 1_000,
            reachable,
            settled_at_ms: 0,
            steady_since_ms: 0,
            taken: Vec::new(),
            retry: 0,
            listed: Vec::new(),
            members_seen: 0,
            labels: LabelsFact::default(),
        }
    }

    #[test]
    fn a_node_that_is_heard_is_forgotten_only_with_a_clear_yes() {
        let forget = PageAction::Forget {
            node: "a1".to_owned(),
        };
        let told = |reachable| {
            let fact = node(reachable);
            about(
                &forget,
                &ActionPlace {
                    node: Some(&fact),
                    now_ms: 3_000,
                    ..ActionPlace::default()
                },
            )
        };
        let heard = told(true);
        assert!(
            heard.notes[0].starts_with("It was heard 2 s ago"),
            "{heard:?}"
        );
        assert!(heard.consent.is_some());
        let lost = told(false);
        assert_eq!(lost.notes, ["It has not been heard for 2 s."]);
        assert_eq!(lost.consent, None);
    }
}
