//! Asks every server all the time whether it sees all of the cluster served.

use super::server::Server;
use model::api::Event;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The pause between two looks at a server.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A look at a server that did not see all of the cluster served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bad {
    /// The server's node.
    pub(super) node: String,
    /// When it was asked, milliseconds since the Unix epoch.
    pub(super) from_ms: u64,
    /// When it had answered.
    pub(super) to_ms: u64,
    /// What it said instead.
    pub(super) said: String,
}

/// From and to, milliseconds since the Unix epoch, by node: times in which a node is allowed to be away.
pub(super) type Aside = BTreeMap<String, Vec<(u64, u64)>>;

/// When each node saw all served: when it was asked, milliseconds since the Unix epoch.
pub(super) type Good = BTreeMap<String, Vec<u64>>;

/// How long a node that has settled may take to see the cluster: it has just begun to load its data.
const LOADING_MS_MAX: u64 = 5_000;

#[derive(Debug, Default)]
struct Looks {
    bad: Vec<Bad>,
    good: Good,
}

/// The looks at all servers.
#[derive(Debug)]
pub(super) struct AvailabilityWatch {
    looks: Arc<Mutex<Looks>>,
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl AvailabilityWatch {
    /// Begins to look, at every server from a thread of its own.
    pub(super) fn begin(servers: &[Server]) -> Self {
        let (looks, over) = (Arc::<Mutex<Looks>>::default(), Arc::<AtomicBool>::default());
        let watch = |server: &Server| {
            let (server, looks, over) = (server.clone(), looks.clone(), over.clone());
            std::thread::spawn(move || look(&server, &looks, &over))
        };
        let threads = servers.iter().map(watch).collect();
        Self {
            looks,
            over,
            threads,
        }
    }

    /// Looks no more; what was as it should be, and what was not.
    pub(super) fn end(self) -> (Good, Vec<Bad>) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads {
            // One that panicked has said so.
            let _ = thread.join();
        }
        let mut looks = self.looks.lock();
        let looks = std::mem::take(&mut *looks);
        (looks.good, looks.bad)
    }
}

fn look(server: &Server, looks: &Mutex<Looks>, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        let (began, from_ms) = (Instant::now(), now_ms());
        let seen = server.sees_all_served();
        let mut looks = looks.lock();
        let node = server.name.clone();
        match seen {
            Ok(()) => looks.good.entry(node).or_default().push(from_ms),
            Err(error) => looks.bad.push(Bad {
                node,
                from_ms,
                to_ms: now_ms(),
                said: format!("{error:#}"),
            }),
        }
        drop(looks);
        std::thread::sleep(LOOK_EVERY.saturating_sub(began.elapsed()));
    }
}

/// Milliseconds since the Unix epoch.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

/// When each node was upgrading: from its permit until it had settled and saw the cluster.
pub(super) fn upgrading(events: &[Event], version: u32, good: &Good) -> Aside {
    let mut aside = Aside::new();
    for event in events {
        let Some(node) = &event.node else { continue };
        let spans = aside.entry(node.clone()).or_default();
        match event.kind.as_str() {
            // A node whose agent was killed may ask again.
            "permit.acquired" if spans.last().is_none_or(|last| last.1 < u64::MAX) => {
                spans.push((event.at_ms, u64::MAX));
            }
            "node.settled" if event.version.is_some_and(|at| at.0 == version) => {
                if let Some(last) = spans.last_mut() {
                    let loading = event.at_ms + LOADING_MS_MAX;
                    let mut looks = good.get(node).into_iter().flatten().copied();
                    let seen = looks.find(|at| *at > event.at_ms);
                    last.1 = last.1.min(seen.map_or(loading, |seen| seen.min(loading)));
                }
            }
            _ => {}
        }
    }
    aside
}

/// The bad looks that no allowed time explains.
pub(super) fn unexplained(bad: Vec<Bad>, aside: &Aside) -> Vec<Bad> {
    let explained = |bad: &Bad| {
        let spans = aside.get(&bad.node);
        spans.is_some_and(|spans| {
            spans
                .iter()
                .any(|(from, to)| bad.from_ms <= *to && bad.to_ms >= *from)
        })
    };
    bad.into_iter().filter(|bad| !explained(bad)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::ids::Version;

    #[test]
    fn only_the_time_of_the_upgrade_is_allowed() {
        let event = |at_ms, node: &str, kind: &str, version| Event {
            sequence: 1,
            at_ms,
            author: node.to_owned(),
            proven: None,
            node: Some(node.to_owned()),
            kind: kind.to_owned(),
            version: Some(Version(version)),
            message: String::new(),
        };
        let events = [
            event(5, "a", "node.settled", 1),
            event(10, "a", "permit.acquired", 2),
            event(20, "a", "node.settled", 2),
            event(30, "b", "permit.acquired", 2),
        ];
        let good = Good::from([("a".to_owned(), vec![8, 12, 23, 40])]);
        let aside = upgrading(&events, 2, &good);
        let bad = |node: &str, from_ms, to_ms| Bad {
            node: node.to_owned(),
            from_ms,
            to_ms,
            said: String::new(),
        };
        let all = vec![
            bad("a", 1, 9),
            bad("a", 9, 12),
            bad("a", 19, 22),
            bad("a", 21, 22),
            bad("a", 24, 25),
            bad("b", 29, 29),
            bad("b", 90, 95),
            bad("c", 15, 15),
        ];
        let left = unexplained(all, &aside);
        let left: Vec<(&str, u64)> = left
            .iter()
            .map(|bad| (bad.node.as_str(), bad.from_ms))
            .collect();
        assert_eq!(left, [("a", 1), ("a", 24), ("b", 29), ("c", 15)]);
    }
}
