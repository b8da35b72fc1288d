//! From whom a node fetches a large bundle: a few nodes of each site fetch it from the server, and serve the others, each a few at a time.
//! What is kept here is lost when the server stops: then a few more fetch from it.

use model::ids::NodeId;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// How many nodes fetch one bundle from one source at once.
const AT_ONCE_MAX: usize = 4;

/// After so many nodes from which it did not come, the server is a source again.
const FAILED_ENOUGH: usize = 2;

/// For how long a node keeps its place at a source after it has asked, in milliseconds.
pub(crate) const PLACE_MS: u64 = 30_000;

/// A place that was held for longer keeps nobody else out: whoever fetches so slowly, or not at all, is not waited for.
const FRESH_MS: u64 = 60_000;

/// How long those who wait do so until they ask again: so long for each of them, within these limits, in milliseconds.
const WAIT_EACH_MS: u64 = 5;
const WAIT_MS_MIN: u64 = 500;
const WAIT_MS_MAX: u64 = 15_000;

/// What is fetched: which bundle, by its manifest's digest, at which site.
pub(crate) type FetchedThere = (String, String);

/// Somebody who asks from where to fetch.
#[derive(Clone, Debug)]
pub(crate) struct FetchingNode {
    /// Who.
    pub(crate) node: NodeId,
    /// Whether it will serve others.
    pub(crate) serves: bool,
    /// From whom it did not come.
    pub(crate) failed: HashSet<NodeId>,
}

/// From where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ArtifactSource {
    /// From the server.
    Server,
    /// From this node.
    Node(NodeId),
}

/// Where a node fetches.
#[derive(Clone, Copy, Debug)]
struct SourcePlace {
    source: ArtifactSource,
    until_ms: u64,
    since_ms: u64,
    serves: bool,
    /// It counts no more.
    is_stale: bool,
}

impl SourcePlace {
    /// It fetches from the server, and serves others when it has.
    fn is_served_first(&self) -> bool {
        self.serves && self.source == ArtifactSource::Server && !self.is_stale
    }
}

/// Those who fetch one bundle at one site.
#[derive(Debug, Default)]
struct Fetchers {
    places: HashMap<NodeId, SourcePlace>,
    /// How many places there are at each source.
    taken: HashMap<ArtifactSource, usize>,
    /// How many at the server are of nodes that will serve others.
    served_first: usize,
    /// Until when each that waits is counted.
    waiting: HashMap<NodeId, u64>,
    swept_ms: u64,
}

/// Those who fetch.
#[derive(Clone, Debug, Default)]
pub(crate) struct SourcePlaces(Arc<Mutex<HashMap<FetchedThere, Fetchers>>>);

impl SourcePlaces {
    /// Gives a place to a node that asks, or says after how many milliseconds it is to ask again. `holders` are some of the nodes of its
    /// site that have the bundle and can serve it; `holds` says of a node whether it is one of them.
    pub(crate) fn place(
        &self,
        what: FetchedThere,
        asks: &FetchingNode,
        holders: &[NodeId],
        holds: impl Fn(NodeId) -> bool,
        now_ms: u64,
    ) -> Result<ArtifactSource, u64> {
        let mut all = self.0.lock();
        let fetchers = all.entry(what).or_default();
        fetchers.sweep(now_ms);
        let found = fetchers.choose(asks, holders, holds);
        fetchers.note(asks, found, now_ms);
        found.ok_or_else(|| fetchers.wait_ms())
    }

    /// The node does not fetch any more. One that fetched from the server and will serve others keeps its place for a while: nobody else is to
    /// take it before that node has reported that it has the bundle. So does one that has held a place for long, which is not to begin anew.
    pub(crate) fn end(&self, what: &FetchedThere, node: NodeId) {
        let mut all = self.0.lock();
        if let Some(fetchers) = all.get_mut(what) {
            let place = fetchers.places.get(&node);
            if !place.is_some_and(|place| place.is_served_first() || place.is_stale) {
                fetchers.leave(node);
            }
            fetchers.waiting.remove(&node);
            if fetchers.places.is_empty() && fetchers.waiting.is_empty() {
                all.remove(what);
            }
        }
    }

    /// Forgets what nobody fetches any more.
    pub(crate) fn sweep(&self, now_ms: u64) {
        let mut all = self.0.lock();
        all.retain(|_, fetchers| {
            fetchers.sweep(now_ms);
            !(fetchers.places.is_empty() && fetchers.waiting.is_empty())
        });
    }
}

impl Fetchers {
    /// Once a second is enough.
    fn sweep(&mut self, now_ms: u64) {
        if now_ms.abs_diff(self.swept_ms) < 1_000 {
            return;
        }
        self.swept_ms = now_ms;
        let lives = |until_ms: u64| until_ms > now_ms && until_ms <= now_ms + 2 * PLACE_MS;
        let gone: Vec<NodeId> = (self.places.iter())
            .filter(|(_, place)| !lives(place.until_ms))
            .map(|(node, _)| *node)
            .collect();
        for node in gone {
            let _ = self.leave(node);
        }
        let stale: Vec<NodeId> = (self.places.iter())
            .filter(|(_, place)| !place.is_stale && now_ms >= place.since_ms + FRESH_MS)
            .map(|(node, _)| *node)
            .collect();
        for node in stale {
            if let Some(place) = self.leave(node) {
                let is_stale = true;
                self.places.insert(node, SourcePlace { is_stale, ..place });
            }
        }
        self.waiting.retain(|_, until_ms| lives(*until_ms));
    }

    fn choose(
        &self,
        asks: &FetchingNode,
        holders: &[NodeId],
        holds: impl Fn(NodeId) -> bool,
    ) -> Option<ArtifactSource> {
        if let Some(place) = self.places.get(&asks.node) {
            let is_good = match place.source {
                ArtifactSource::Server => true,
                ArtifactSource::Node(node) => !asks.failed.contains(&node) && holds(node),
            };
            if is_good {
                return Some(place.source);
            }
        }
        if holders.is_empty() {
            // Nobody waits for nodes that will not serve it.
            return (self.served_first < AT_ONCE_MAX).then_some(ArtifactSource::Server);
        }
        let others = holders.iter().copied();
        let others = others.filter(|node| *node != asks.node && !asks.failed.contains(node));
        let least = others
            .map(ArtifactSource::Node)
            .min_by_key(|source| self.taken(*source));
        if let Some(source) = least.filter(|source| self.taken(*source) < AT_ONCE_MAX) {
            return Some(source);
        }
        let has_tried = asks.failed.len() >= FAILED_ENOUGH || least.is_none();
        (has_tried && self.taken(ArtifactSource::Server) < AT_ONCE_MAX)
            .then_some(ArtifactSource::Server)
    }

    fn taken(&self, source: ArtifactSource) -> usize {
        self.taken.get(&source).copied().unwrap_or(0)
    }

    fn leave(&mut self, node: NodeId) -> Option<SourcePlace> {
        let place = self.places.remove(&node)?;
        if place.is_stale {
            return Some(place);
        }
        if let Some(taken) = self.taken.get_mut(&place.source) {
            *taken -= 1;
            if *taken == 0 {
                self.taken.remove(&place.source);
            }
        }
        self.served_first -= usize::from(place.is_served_first());
        Some(place)
    }

    fn note(&mut self, asks: &FetchingNode, found: Option<ArtifactSource>, now_ms: u64) {
        let until_ms = now_ms + PLACE_MS;
        let before = self.leave(asks.node);
        self.waiting.remove(&asks.node);
        let Some(source) = found else {
            self.waiting.insert(asks.node, until_ms);
            return;
        };
        let same = before.filter(|before| before.source == source);
        let place = SourcePlace {
            source,
            until_ms,
            since_ms: same.map_or(now_ms, |before| before.since_ms),
            serves: asks.serves,
            is_stale: same.is_some_and(|before| before.is_stale),
        };
        if !place.is_stale {
            *self.taken.entry(source).or_default() += 1;
        }
        self.served_first += usize::from(place.is_served_first());
        self.places.insert(asks.node, place);
    }

    fn wait_ms(&self) -> u64 {
        let waiting = u64::try_from(self.waiting.len()).unwrap_or(u64::MAX);
        waiting
            .saturating_mul(WAIT_EACH_MS)
            .clamp(WAIT_MS_MIN, WAIT_MS_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn what() -> FetchedThere {
        ("digest".to_owned(), "site".to_owned())
    }

    fn asks(node: u32, failed: &[u32]) -> FetchingNode {
        FetchingNode {
            node: NodeId(node),
            serves: true,
            failed: failed.iter().copied().map(NodeId).collect(),
        }
    }

    fn ids(nodes: &[u32]) -> Vec<NodeId> {
        nodes.iter().copied().map(NodeId).collect()
    }

    /// Asks with these holders.
    fn ask(
        places: &SourcePlaces,
        asks: &FetchingNode,
        holders: &[u32],
        now_ms: u64,
    ) -> Result<ArtifactSource, u64> {
        let holders = ids(holders);
        places.place(
            what(),
            asks,
            &holders,
            |node| holders.contains(&node),
            now_ms,
        )
    }

    #[test]
    fn few_fetch_from_the_server_and_the_others_wait_for_them() {
        let places = SourcePlaces::default();
        let answers: Vec<_> = (1..=6)
            .map(|node| ask(&places, &asks(node, &[]), &[], 1_000))
            .collect();
        assert_eq!(answers[..4], [Ok(ArtifactSource::Server); 4]);
        assert_eq!(answers[4..], [Err(WAIT_MS_MIN); 2]);
        // Who has a place keeps it, and a place that is left is given to the next.
        assert_eq!(
            ask(&places, &asks(1, &[]), &[], 2_000),
            Ok(ArtifactSource::Server)
        );
        // Who has it will serve the others as soon as that is known.
        places.end(&what(), NodeId(1));
        assert!(ask(&places, &asks(5, &[]), &[], 2_000).is_err());
        let first = Ok(ArtifactSource::Node(NodeId(1)));
        assert_eq!(ask(&places, &asks(5, &[]), &[1], 2_000), first);
        places.end(&what(), NodeId(5));
        assert_eq!(ask(&places, &asks(6, &[]), &[1], 2_000), first);
    }

    #[test]
    fn nobody_waits_for_those_that_serve_nobody() {
        let places = SourcePlaces::default();
        for node in 1..=20 {
            let asks = FetchingNode {
                serves: false,
                ..asks(node, &[])
            };
            assert_eq!(ask(&places, &asks, &[], 0), Ok(ArtifactSource::Server));
        }
    }

    #[test]
    fn each_holder_serves_few_at_once() {
        let places = SourcePlaces::default();
        let mut served: HashMap<ArtifactSource, usize> = HashMap::new();
        for node in 10..18 {
            let source = ask(&places, &asks(node, &[]), &[1, 2], 0).expect("a place");
            *served.entry(source).or_default() += 1;
        }
        let expected = [1, 2].map(|node| (ArtifactSource::Node(NodeId(node)), AT_ONCE_MAX));
        assert_eq!(served, HashMap::from(expected));
        assert!(ask(&places, &asks(18, &[]), &[1, 2], 0).is_err());
    }

    #[test]
    fn who_was_failed_by_nodes_is_sent_elsewhere_and_to_the_server_in_the_end() {
        let places = SourcePlaces::default();
        let node = |id| Ok(ArtifactSource::Node(NodeId(id)));
        assert_eq!(ask(&places, &asks(9, &[]), &[1], 0), node(1));
        assert_eq!(ask(&places, &asks(9, &[1]), &[1, 2], 0), node(2));
        assert_eq!(
            ask(&places, &asks(9, &[1, 2]), &[1, 2], 0),
            Ok(ArtifactSource::Server)
        );
    }

    #[test]
    fn places_of_those_that_fall_silent_are_given_to_others() {
        let places = SourcePlaces::default();
        for node in 1..=4 {
            assert!(ask(&places, &asks(node, &[]), &[], 1_000).is_ok());
        }
        assert!(ask(&places, &asks(5, &[]), &[], 1_000 + PLACE_MS - 1).is_err());
        assert!(ask(&places, &asks(5, &[]), &[], 3_000 + PLACE_MS).is_ok());
        places.sweep(10 * PLACE_MS);
        assert!(places.0.lock().is_empty());
    }

    /// Whoever asks again and again, and never has it, keeps nobody out.
    #[test]
    fn places_that_are_held_for_long_do_not_count() {
        let places = SourcePlaces::default();
        for now_ms in (1_000..=70_000).step_by(3_000) {
            for node in 1..=4 {
                let source = ask(&places, &asks(node, &[]), &[], now_ms);
                assert_eq!(source, Ok(ArtifactSource::Server));
            }
            let other = ask(&places, &asks(5, &[]), &[], now_ms);
            assert_eq!(other.is_ok(), now_ms >= 1_000 + FRESH_MS, "{now_ms}");
        }
        // To end and to begin anew does not make them count again.
        for node in 1..=4 {
            places.end(&what(), NodeId(node));
            assert!(ask(&places, &asks(node, &[]), &[], 71_000).is_ok());
        }
        assert!(ask(&places, &asks(6, &[]), &[], 71_000).is_ok());
    }

    #[test]
    fn the_more_wait_the_less_often_each_asks() {
        let places = SourcePlaces::default();
        let waits: Vec<u64> = (0..10_000)
            .filter_map(|node| ask(&places, &asks(node, &[]), &[], 0).err())
            .collect();
        assert_eq!(waits.first(), Some(&WAIT_MS_MIN));
        assert_eq!(waits.last(), Some(&WAIT_MS_MAX));
    }
}
