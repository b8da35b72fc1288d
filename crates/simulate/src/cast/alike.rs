//! Which nodes are like each other, and which groups.

use crate::{PlannedNode, Scenario};
use model::fleet::ClassSeats;
use model::ids::Version;
use model::schedule::ZONE_ATTRIBUTE;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;

/// Where groups differ in more ways, they are alike as soon as they have the same kinds of nodes, however many of each.
const WAYS_MAX: usize = 60;

/// Nodes that wait for each other: those of one group of the schedule of the newest version; or one node that is in no group.
#[derive(Clone, Debug)]
pub(crate) struct Unit {
    /// Its group, and the class of which that is.
    pub(crate) group: Option<(Version, Arc<str>, Arc<str>)>,
    /// Its nodes.
    pub(crate) nodes: Vec<usize>,
}

/// The fleet as far as it does not change from course to course.
#[derive(Clone, Debug)]
pub(crate) struct Population {
    pub(crate) seats: Vec<Arc<ClassSeats>>,
    /// The kind of each node: nodes of one kind are told the same, but for who asks first.
    pub(crate) kinds: Vec<u32>,
    /// How many kinds there are.
    pub(crate) kinds_len: usize,
    pub(crate) units: Vec<Unit>,
    /// The units that are alike, by their places.
    pub(crate) alike: Vec<Vec<usize>>,
    /// How many nodes a wave of a class has at a version; none stands for its rest.
    pub(crate) waves: BTreeMap<(Version, Arc<str>, Option<usize>), usize>,
}

impl Population {
    pub(crate) fn of(scenario: &Scenario) -> Self {
        let mut found = Self {
            seats: Vec::with_capacity(scenario.nodes.len()),
            kinds: Vec::with_capacity(scenario.nodes.len()),
            kinds_len: 0,
            units: Vec::new(),
            alike: Vec::new(),
            waves: BTreeMap::new(),
        };
        let mut known = Known::default();
        for (number, node) in scenario.nodes.iter().enumerate() {
            let seats = scenario
                .history
                .seats(&node.scope(), scenario.retired_through);
            let seats = known.seats(seats);
            let kind = known.kind(node, &seats);
            found.kinds.push(kind);
            found.count(node, &seats);
            found.put(&mut known, number, &seats);
            found.seats.push(seats);
        }
        found.kinds_len = known.kinds.len();
        found.alike = found.alike();
        found
    }

    fn count(&mut self, node: &PlannedNode, seats: &ClassSeats) {
        for (version, seat) in seats.iter().filter(|(version, _)| **version > node.version) {
            let key = (*version, Arc::clone(&seat.class), seat.wave);
            *self.waves.entry(key).or_default() += 1;
        }
    }

    /// Puts a node into its unit.
    fn put(&mut self, known: &mut Known, number: usize, seats: &ClassSeats) {
        let newest = seats.iter().next_back();
        let group = newest.and_then(|(version, seat)| {
            let group = Arc::clone(seat.group.as_ref()?);
            Some((*version, group, Arc::clone(&seat.class)))
        });
        let Some((version, group, class)) = group else {
            self.units.push(Unit {
                group: None,
                nodes: vec![number],
            });
            return;
        };
        let next = self.units.len();
        let at = *known
            .units
            .entry((version, Arc::clone(&group)))
            .or_insert(next);
        if at == next {
            self.units.push(Unit {
                group: Some((version, group, class)),
                nodes: Vec::new(),
            });
        }
        self.units[at].nodes.push(number);
    }

    /// The units that are alike: with equally many nodes of each kind, or, where that makes too many ways to differ, with the same kinds.
    fn alike(&self) -> Vec<Vec<usize>> {
        let exact = self.by(|kinds| kinds.iter().map(|(kind, count)| (*kind, *count)).collect());
        if exact.len() <= WAYS_MAX {
            return exact;
        }
        self.by(|kinds| {
            let all = kinds.values().sum();
            let kinds = kinds.keys().map(|kind| (*kind, 0));
            kinds.chain([(u32::MAX, all)]).collect()
        })
    }

    fn by(&self, looks: impl Fn(&BTreeMap<u32, usize>) -> Vec<(u32, usize)>) -> Vec<Vec<usize>> {
        let mut ways: BTreeMap<Vec<(u32, usize)>, Vec<usize>> = BTreeMap::new();
        for (number, unit) in self.units.iter().enumerate() {
            let mut kinds: BTreeMap<u32, usize> = BTreeMap::new();
            for node in &unit.nodes {
                *kinds.entry(self.kinds[*node]).or_default() += 1;
            }
            ways.entry(looks(&kinds)).or_default().push(number);
        }
        ways.into_values().collect()
    }
}

/// What was seen before, while the nodes are looked at one by one.
#[derive(Default)]
struct Known {
    seats: HashMap<String, Arc<ClassSeats>>,
    kinds: HashMap<String, u32>,
    units: HashMap<(Version, Arc<str>), usize>,
    text: String,
}

impl Known {
    /// The same seats are kept once: millions of nodes have few.
    fn seats(&mut self, seats: ClassSeats) -> Arc<ClassSeats> {
        self.text.clear();
        for (version, seat) in &seats {
            let _ = write!(self.text, "{version} {seat:?};");
        }
        if let Some(seats) = self.seats.get(&self.text) {
            return Arc::clone(seats);
        }
        let seats = Arc::new(seats);
        self.seats.insert(self.text.clone(), Arc::clone(&seats));
        seats
    }

    /// Everything of a node that schedules look at, but for its name and which group it is in.
    fn kind(&mut self, node: &PlannedNode, seats: &ClassSeats) -> u32 {
        self.text.clear();
        for (version, seat) in seats {
            let grouped = seat.group.is_some();
            let _ = write!(
                self.text,
                "{version} {} {:?} {grouped};",
                seat.class, seat.wave
            );
        }
        let zone = node.attributes.get(ZONE_ATTRIBUTE);
        let _ = write!(
            self.text,
            "{zone:?} {} {:?} {:?} {:?} {:?} {:?} {} {}",
            node.class,
            node.version,
            node.staged,
            node.blocked_on,
            node.leaving_for,
            node.child,
            node.reachable,
            node.poll_ms
        );
        if let Some(kind) = self.kinds.get(&self.text) {
            return *kind;
        }
        let kind = u32::try_from(self.kinds.len()).unwrap_or(u32::MAX - 1);
        self.kinds.insert(self.text.clone(), kind);
        kind
    }
}
