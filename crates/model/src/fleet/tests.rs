//! What is counted step by step is what is there.

use super::*;
use crate::ids::Revision;
use proptest::prelude::*;

/// A node of one of two classes, which change their names at version 2, in one of two groups.
fn node(number: u32) -> impl Strategy<Value = CountedNode> {
    let children = [
        ChildState::Stopped,
        ChildState::Starting,
        ChildState::Running,
        ChildState::Silent,
        ChildState::Crashed,
    ];
    let place = || {
        let place = (1..4_u32, 1..3_u32).prop_map(|(version, revision)| Place {
            version: Version(version),
            revision: Revision(revision),
        });
        proptest::option::of(place)
    };
    let standing = (0..4_u32, 0..4_u32, place(), place());
    let life = (prop::sample::select(children.to_vec()), 0..4_u64);
    let flags = any::<(bool, bool, bool, bool, bool)>();
    (standing, life, flags).prop_map(move |(standing, (child, steady_since_ms), flags)| {
        let (version, staged, bundle, blocked_on) = standing;
        let (reachable, joined, has_permit, first, grouped) = flags;
        let class: Arc<str> = Arc::from(if first { "a" } else { "b" });
        let seats = (1..4).map(|version| {
            let class = match version {
                1 => Arc::clone(&class),
                _ => Arc::from(format!("new-{class}")),
            };
            let group = grouped.then(|| Arc::clone(&class));
            let wave = None;
            (Version(version), ClassSeat { class, group, wave })
        });
        CountedNode {
            name: Arc::from(format!("n{number}")),
            seats: Arc::new(seats.collect()),
            version: Version(version),
            staged: Version(version.max(staged)),
            bundle,
            blocked_on,
            child,
            reachable,
            joined,
            steady_since_ms,
            has_permit,
            role: None,
        }
    })
}

/// A node that has changed, or is forgotten.
fn change() -> impl Strategy<Value = (NodeId, Option<CountedNode>)> {
    (0..6_u32).prop_flat_map(|number| {
        proptest::option::weighted(0.8, node(number)).prop_map(move |is| (NodeId(number), is))
    })
}

proptest! {
    #[test]
    fn counting_changes_comes_to_the_same_as_counting_anew(
        changes in proptest::collection::vec(change(), 0..40)
    ) {
        let mut fleet = Fleet::default();
        for (node, is) in changes {
            match is {
                Some(is) => fleet.put(node, is),
                None => fleet.remove(node),
            }
        }
        let mut anew = Fleet::default();
        for (node, is) in &fleet.nodes {
            anew.put(*node, is.clone());
        }
        prop_assert_eq!(fleet, anew);
    }

    #[test]
    fn what_is_counted_is_what_is_there(nodes in [node(0), node(1), node(2), node(3)]) {
        let mut fleet = Fleet::default();
        for (number, is) in (0..).zip(&nodes) {
            fleet.put(NodeId(number), is.clone());
        }
        let (asking, others) = nodes.split_first().expect("four");
        let version = Version(2);
        let behind = |other: &&CountedNode| {
            other.reachable && other.version > Version(0) && other.staged < version
        };
        let counted = fleet.not_answering(version, asking).count;
        prop_assert_eq!(counted, others.iter().filter(behind).count());

        let seat = &asking.seats[&version];
        let peers: Vec<_> = others.iter().filter(|other| other.seats[&version].class == seat.class).collect();
        let class = fleet.class(version, &seat.class).expect("its own");
        let there = |other: &&&CountedNode| other.version >= version;
        let counted = class.not_there(Revision(0), asking).count;
        prop_assert_eq!(counted, peers.iter().filter(|other| !there(other)).count());
        let well = |other: &&&CountedNode| matches!(other.child, ChildState::Running | ChildState::Stopped);
        let last = peers.iter().filter(there).filter(well).map(|other| other.steady_since_ms).max();
        prop_assert_eq!(class.steady_since_ms(Revision(0), asking), last);
        let ill = peers.iter().filter(there).filter(|other| !well(other)).count();
        prop_assert_eq!(class.not_healthy(Revision(0), asking).count, ill);

        if let Some(group) = &seat.group {
            let absent = peers.iter().filter(|other| other.seats[&version].group.is_some() && other.absence().is_some());
            prop_assert_eq!(fleet.absent(version, group, asking).count, absent.count());
        }
    }
}
