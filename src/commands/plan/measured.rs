//! How long nodes were unavailable in earlier upgrades, and how long they took to stage: from the history's events.

use model::api::{Event, EventKind, NodeFact};
use model::ids::Version;
use simulate::{TimeDistribution, Unavailability};
use std::collections::BTreeMap;

/// More measurements of a class are thinned out.
const KEPT_MAX: usize = 1_000;

/// Who takes longer to stage was not there when the version was published.
const STAGING_MS_MAX: u64 = 3_600_000;

/// What earlier upgrades have shown.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Measurements {
    /// By class at enrolment.
    pub(super) unavailable_ms: BTreeMap<String, Vec<u64>>,
    pub(super) staging_ms: Vec<u64>,
}

/// A node that holds a permit.
#[derive(Clone, Copy, Debug)]
struct Leaving {
    since_ms: u64,
    has_stopped: bool,
    has_settled: bool,
}

/// What these events show, oldest first. A node counts as unavailable as long as it holds its permit; permits under which no software was
/// stopped, or no node has settled, say nothing.
pub(super) fn of(events: &[Event], nodes: &[NodeFact]) -> Measurements {
    let classes: BTreeMap<&str, &str> = nodes
        .iter()
        .map(|fact| (fact.name.as_str(), fact.class.as_str()))
        .collect();
    let mut found = Measurements::default();
    let mut leaving: BTreeMap<&str, Leaving> = BTreeMap::new();
    let mut published: Option<(Version, u64)> = None;
    for event in events {
        let is = |kind: EventKind| event.kind == kind.name();
        // A revision is staged anew: what it takes is measured from then on.
        if is(EventKind::UpgradePublished) || is(EventKind::UpgradeRevised) {
            published = event.version.map(|version| (version, event.at_ms));
            found.staging_ms.clear();
        }
        let Some(node) = event.node.as_deref() else {
            continue;
        };
        if is(EventKind::PermitAcquired) {
            leaving.insert(node, Leaving::since(event.at_ms));
        } else if is(EventKind::NodeStopping) {
            leaving.entry(node).and_modify(|it| it.has_stopped = true);
        } else if is(EventKind::NodeSettled) {
            leaving.entry(node).and_modify(|it| it.has_settled = true);
        } else if is(EventKind::PermitEnded) {
            let ended = leaving.remove(node);
            let ended = ended.filter(|it| it.has_stopped && it.has_settled);
            if let Some((it, class)) = ended.zip(classes.get(node)) {
                let ms = event.at_ms.saturating_sub(it.since_ms);
                let of_class = found.unavailable_ms.entry((*class).to_owned());
                of_class.or_default().push(ms);
            }
        } else if is(EventKind::PermitBroken) || is(EventKind::PermitExpired) {
            leaving.remove(node);
        } else if is(EventKind::NodeStaged) {
            let since = published.filter(|(version, _)| Some(*version) == event.version);
            let took = since.map(|(_, at_ms)| event.at_ms.saturating_sub(at_ms));
            found
                .staging_ms
                .extend(took.filter(|ms| *ms <= STAGING_MS_MAX));
        }
    }
    found.unavailable_ms.values_mut().for_each(thin_out);
    thin_out(&mut found.staging_ms);
    found
}

impl Leaving {
    fn since(since_ms: u64) -> Self {
        Self {
            since_ms,
            has_stopped: false,
            has_settled: false,
        }
    }
}

/// Puts them in order, and keeps so many of them that the distribution stays.
fn thin_out(ms: &mut Vec<u64>) {
    ms.sort_unstable();
    if ms.len() > KEPT_MAX {
        let last = ms.len() - 1;
        *ms = (0..KEPT_MAX)
            .map(|at| ms[at * last / (KEPT_MAX - 1)])
            .collect();
    }
}

/// The distribution of each class of which something is known.
pub(super) fn by_class(unavailable_ms: &BTreeMap<String, Vec<u64>>) -> Unavailability {
    let classes = unavailable_ms.iter();
    let known = classes
        .filter_map(|(class, ms)| Some((class.clone(), TimeDistribution::measured(ms.clone())?)));
    known.collect()
}

/// That of all classes together.
pub(super) fn of_all(unavailable_ms: &BTreeMap<String, Vec<u64>>) -> Option<TimeDistribution> {
    TimeDistribution::measured(unavailable_ms.values().flatten().copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::ids::NodeId;

    fn event(at_ms: u64, kind: EventKind, node: &str) -> Event {
        Event {
            sequence: at_ms,
            at_ms,
            author: node.to_owned(),
            proven: None,
            node: Some(node.to_owned()).filter(|node| !node.is_empty()),
            kind: kind.name().to_owned(),
            version: Some(Version(2)),
            message: String::new(),
        }
    }

    #[test]
    fn the_time_under_a_permit_counts_where_the_node_has_settled() {
        let fact = |name: &str| {
            serde_json::from_value::<NodeFact>(serde_json::json!({
                "node": NodeId(1), "name": name, "class": "db", "attributes": {}, "host": "",
                "data_directory": "", "report": model::api::NodeReport::default(), "seen_at_ms": 0,
                "reachable": true, "settled_at_ms": 0, "retry": 0,
            }))
            .expect("a node")
        };
        let events = [
            event(0, EventKind::UpgradePublished, ""),
            event(700, EventKind::NodeStaged, "a"),
            event(1_000, EventKind::PermitAcquired, "a"),
            event(1_100, EventKind::NodeStopping, "a"),
            // It is back where it was: that is no upgrade.
            event(1_200, EventKind::PermitAcquired, "b"),
            event(1_300, EventKind::NodeStopping, "b"),
            event(1_400, EventKind::PermitEnded, "b"),
            // The number only: nothing was stopped.
            event(1_500, EventKind::PermitAcquired, "c"),
            event(1_510, EventKind::NodeSettled, "c"),
            event(1_520, EventKind::PermitEnded, "c"),
            event(3_000, EventKind::NodeSettled, "a"),
            event(3_250, EventKind::PermitEnded, "a"),
        ];
        let nodes = ["a", "b", "c"].map(fact);
        let found = of(&events, &nodes);
        assert_eq!(
            found.unavailable_ms,
            [("db".to_owned(), vec![2_250])].into()
        );
        assert_eq!(found.staging_ms, [700]);
        // Long after the version there is a revision of it.
        let revised = [
            event(83_000, EventKind::UpgradeRevised, ""),
            event(85_000, EventKind::NodeStaged, "a"),
        ];
        let all: Vec<Event> = events.into_iter().chain(revised).collect();
        assert_eq!(of(&all, &nodes).staging_ms, [2_000]);
    }
}
