//! Whether the schedule's limits held, judged from the server's history: of a class that has a limit at most one node was away at a
//! time.

use crate::demo::store::Store;
use model::api::Event;
use std::collections::BTreeSet;

/// The most nodes of a class that the store's upgrades let be unavailable at once.
const UNAVAILABLE_MAX: usize = 1;

/// The classes of which they say so: the others' nodes hold permits too, as many as like.
const LIMITED: [&str; 2] = ["storage", "gateway"];

/// What exceeded a limit; empty when nothing did.
pub(super) async fn exceeded(store: &Store) -> anyhow::Result<Vec<String>> {
    let events = store.system.events().await?;
    let counted = events
        .iter()
        .filter(|event| event.kind == "permit.confirmed");
    store
        .watcher
        .say(&format!("{} permits were confirmed", counted.count()));
    Ok(judge(&events))
}

/// Follows who holds a permit and who is out of reach. A permit may only begin while no other node of the class does, or is.
fn judge(events: &[Event]) -> Vec<String> {
    let mut holding = BTreeSet::<String>::new();
    let mut silent = BTreeSet::<String>::new();
    let mut found = Vec::new();
    for event in events {
        let limited = |node: &String| LIMITED.contains(&class(node));
        let Some(node) = event.node.clone().filter(limited) else {
            continue;
        };
        match event.kind.as_str() {
            "permit.acquired" => {
                let class = class(&node).to_owned();
                let away: BTreeSet<&String> = holding
                    .union(&silent)
                    .filter(|other| **other != node && self::class(other) == class)
                    .collect();
                if away.len() >= UNAVAILABLE_MAX {
                    found.push(format!("{node} got a permit while {away:?} were away"));
                }
                holding.insert(node);
            }
            "permit.ended" | "permit.expired" | "permit.broken" => {
                holding.remove(&node);
            }
            "node.unreachable" => {
                silent.insert(node);
            }
            "node.reachable" => {
                silent.remove(&node);
            }
            _ => {}
        }
    }
    found
}

/// The class that a node is named after.
fn class(node: &str) -> &str {
    node.rsplit_once('-').map_or(node, |(class, _)| class)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(lines: &[(&str, &str)]) -> Vec<Event> {
        let event = |(sequence, (node, kind)): (usize, &(&str, &str))| Event {
            sequence: sequence as u64 + 1,
            at_ms: 0,
            author: String::new(),
            proven: None,
            node: Some((*node).to_owned()),
            kind: (*kind).to_owned(),
            version: None,
            message: String::new(),
        };
        lines.iter().enumerate().map(event).collect()
    }

    #[test]
    fn one_after_the_other_is_within_the_limit() {
        let lines = [
            ("storage-1", "permit.acquired"),
            ("gateway-1", "permit.acquired"),
            ("storage-1", "permit.ended"),
            ("storage-2", "permit.acquired"),
            ("storage-2", "permit.expired"),
            ("storage-3", "node.unreachable"),
            ("storage-3", "node.reachable"),
            ("storage-1", "permit.acquired"),
        ];
        assert_eq!(judge(&history(&lines)), Vec::<String>::new());
    }

    #[test]
    fn two_at_a_time_and_one_beside_a_silent_one_are_not() {
        let twice = [
            ("storage-1", "permit.acquired"),
            ("storage-2", "permit.acquired"),
        ];
        assert_eq!(judge(&history(&twice)).len(), 1);
        let beside = [
            ("storage-1", "node.unreachable"),
            ("storage-2", "permit.acquired"),
        ];
        assert_eq!(judge(&history(&beside)).len(), 1);
    }

    #[test]
    fn a_class_without_a_limit_keeps_none() {
        let both = [
            ("client-1", "permit.acquired"),
            ("client-2", "permit.acquired"),
        ];
        assert_eq!(judge(&history(&both)), Vec::<String>::new());
    }
}
