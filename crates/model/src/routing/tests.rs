//! Routes for chosen cases, and for histories made at random.

use super::*;
use crate::release::Lineage;
use crate::release::tests::{good, node};
use proptest::prelude::*;

const FIRST: &str = "[class.storage]\nRUN\nservice.data = { port = 1, protocol = \"http\" }\n";

fn data(interface: &str) -> String {
    format!(
        "[class.storage]\nRUN\nservice.data = {{ port = 1, protocol = \"http\", {interface} }}\n"
    )
}

fn changed() -> String {
    data("interface = \"changed\", adapter = \"lens.toml\"")
}

fn lineage(parts: &[&str]) -> Lineage {
    good(parts)
        .lineage(&node("storage", &[]), None)
        .expect("known class")
}

fn standing(version: u32, staged: u32, retired: u32) -> Standing {
    Standing {
        version: Version(version),
        staged: Version(staged),
        retired_through: Version(retired),
    }
}

fn step(upgrade: u32, direction: AdapterDirection) -> RouteStep {
    RouteStep {
        upgrade: Version(upgrade),
        direction,
    }
}

#[test]
fn calls_pass_one_adapter_for_each_changed_interface() {
    use AdapterDirection::{Future, Past};
    let lineage = lineage(&[FIRST, &changed(), &changed()]);
    let route = |node, label| lineage.route("data", standing(node, 3, 0), Version(label));
    assert_eq!(route(1, 1), Route::Direct);
    assert_eq!(route(2, 1), Route::Chain(vec![step(2, Past)]));
    assert_eq!(
        route(3, 1),
        Route::Chain(vec![step(2, Past), step(3, Past)])
    );
    assert_eq!(route(1, 2), Route::Chain(vec![step(2, Future)]));
    assert_eq!(
        route(1, 3),
        Route::Chain(vec![step(3, Future), step(2, Future)])
    );
    assert_eq!(
        lineage.adapter("data", step(3, Past)),
        Some(&Adapter::File("lens.toml".to_owned()))
    );
}

#[test]
fn versions_with_the_same_interface_are_direct_whatever_their_numbers() {
    let lineage = lineage(&[
        FIRST,
        &data("interface = \"same\""),
        &changed(),
        &data("interface = { as_version = 1 }, adapter = \"lens.toml\""),
        "[class.other]\nadded = true\nRUN",
    ]);
    let direct = |version| lineage.direct_versions("data", standing(version, 5, 0));
    assert_eq!(direct(1), [1, 2, 4, 5].map(Version));
    assert_eq!(direct(3), [3].map(Version));
    assert_eq!(
        lineage.direct_versions("data", standing(4, 5, 1)),
        [2, 4, 5].map(Version)
    );
    // A number that is taken without work needs no staging.
    assert_eq!(
        lineage.route("data", standing(4, 4, 0), Version(5)),
        Route::Direct
    );
}

#[test]
fn a_way_that_leads_round_is_cut_short() {
    let as_first = data("interface = { as_version = 1 }, adapter = \"lens.toml\"");
    let lineage = lineage(&[FIRST, &changed(), &as_first, &changed()]);
    let route = lineage.route("data", standing(4, 4, 0), Version(1));
    assert_eq!(route, Route::Chain(vec![step(4, AdapterDirection::Past)]));
    let route = lineage.route("data", standing(1, 4, 0), Version(4));
    assert_eq!(route, Route::Chain(vec![step(4, AdapterDirection::Future)]));
    let route = lineage.route("data", standing(3, 4, 0), Version(2));
    assert_eq!(route, Route::Chain(vec![step(3, AdapterDirection::Past)]));
}

#[test]
fn what_is_not_staged_or_retired_is_said_so() {
    let lineage = lineage(&[FIRST, &changed(), &changed()]);
    let route = |standing, label| lineage.route("data", standing, Version(label));
    assert_eq!(route(standing(1, 1, 0), 2), Route::NotStaged);
    assert_eq!(route(standing(1, 2, 0), 3), Route::NotStaged);
    assert_eq!(route(standing(1, 3, 0), 9), Route::NotStaged);
    assert_eq!(route(standing(3, 3, 1), 1), Route::Retired);
    assert_eq!(route(standing(3, 3, 1), 0), Route::Retired);
    assert_eq!(
        route(standing(3, 3, 1), 2),
        Route::Chain(vec![step(3, AdapterDirection::Past)])
    );
}

#[test]
fn a_withdrawn_label_is_not_waited_for() {
    use crate::release::{History, tests::upgrade};
    let first = upgrade(&format!("system = \"s\"\nversion = 1\n{FIRST}"));
    let third = upgrade(&format!(
        "system = \"s\"\nversion = 3\nfrom = 1\n{}",
        changed()
    ));
    let history = History::new([first, third], &[Version(2)].into()).expect("follows");
    let lineage = history.lineage(&node("storage", &[]), None).expect("known");
    assert_eq!(
        lineage.route("data", standing(1, 3, 0), Version(2)),
        Route::Withdrawn
    );
    let past = Route::Chain(vec![step(3, AdapterDirection::Past)]);
    assert_eq!(lineage.route("data", standing(3, 3, 0), Version(1)), past);
}

#[test]
fn refusals_and_missing_services_are_told_apart() {
    let refusing = data("interface = \"changed\", past = \"refuse\", future = \"lens.toml\"");
    let vanished = "[class.storage]\nRUN\n";
    let lineage = lineage(&[FIRST, &refusing, vanished, FIRST]);
    let route = |node, label| lineage.route("data", standing(node, 4, 0), Version(label));
    assert_eq!(route(2, 1), Route::Refused(step(2, AdapterDirection::Past)));
    assert_eq!(
        route(1, 2),
        Route::Chain(vec![step(2, AdapterDirection::Future)])
    );
    assert_eq!(route(3, 2), Route::NoSuchService);
    assert_eq!(route(2, 3), Route::NoSuchService);
    assert_eq!(route(4, 1), Route::NoSuchService);
    assert_eq!(
        lineage.route("nothing", standing(1, 4, 0), Version(1)),
        Route::NoSuchService
    );
}

#[test]
fn a_split_without_room_for_the_node_leaves_older_versions_alone() {
    let split = "[class.hot]\nwas = \"storage\"\nfilter = 'attributes.tier == \"hot\"'\n\
                 [class.cold]\nwas = \"storage\"\nfilter = 'attributes.tier != \"hot\"'\n";
    let lineage = lineage(&[FIRST, split]);
    assert!(
        lineage
            .problem()
            .is_some_and(|(version, _)| *version == Version(2))
    );
    assert_eq!(
        lineage.route("data", standing(1, 1, 0), Version(1)),
        Route::Direct
    );
    assert_eq!(
        lineage.route("data", standing(1, 1, 0), Version(2)),
        Route::NotStaged
    );
}

/// What each upgrade after the first does to the service.
#[derive(Clone, Debug)]
enum Change {
    Same,
    Changed,
    Unmentioned,
    Back(u32),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let change = prop_oneof![
        Just(Change::Same),
        Just(Change::Changed),
        Just(Change::Unmentioned),
        (1u32..8).prop_map(Change::Back),
    ];
    prop::collection::vec(change, 0..8)
}

/// The upgrades' texts and the interface of each version, by a rule of its own.
fn spelled(changes: &[Change]) -> (Vec<String>, Vec<u32>) {
    let (mut texts, mut interfaces) = (vec![FIRST.to_owned()], vec![1u32]);
    for change in changes {
        let version = u32::try_from(interfaces.len()).expect("small") + 1;
        let before = interfaces[interfaces.len() - 1];
        let older = |back: &u32| {
            interfaces
                .get(*back as usize - 1)
                .copied()
                .filter(|older| *older != before)
        };
        let (text, interface) = match change {
            Change::Back(back) if older(back).is_some() => {
                let text =
                    format!("interface = {{ as_version = {back} }}, adapter = \"lens.toml\"");
                (data(&text), older(back).unwrap_or(before))
            }
            Change::Same | Change::Back(_) => (data("interface = \"same\""), before),
            Change::Changed => (changed(), version),
            Change::Unmentioned => (format!("[class.x{version}]\nadded = true\nRUN"), before),
        };
        texts.push(text);
        interfaces.push(interface);
    }
    (texts, interfaces)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// A chain leads from the caller's interface to the node's, step by step, never twice through the same one; equal
    /// interfaces are direct; nothing unstaged or retired is used.
    #[test]
    fn chains_lead_from_the_callers_interface_to_the_nodes(
        changes in changes(), node_at in 1u32..9, label in 0u32..10, staged in 1u32..9, retired in 0u32..4,
    ) {
        let (texts, interfaces) = spelled(&changes);
        let parts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let lineage = lineage(&parts);
        let newest = u32::try_from(interfaces.len()).expect("small");
        let node_at = node_at.min(newest);
        let staged = staged.clamp(node_at, newest);
        let retired = retired.min(node_at - 1);
        let of = |version: u32| interfaces[version as usize - 1];
        match lineage.route("data", standing(node_at, staged, retired), Version(label)) {
            Route::Retired => prop_assert!(label <= retired),
            Route::NotStaged => prop_assert!(label > staged),
            Route::Direct => prop_assert!(label > retired && of(label) == of(node_at)),
            Route::Chain(steps) => {
                prop_assert!(label > retired && of(label) != of(node_at));
                let mut seen = vec![of(label)];
                for step in steps {
                    let upgrade = step.upgrade.0;
                    prop_assert!(upgrade <= staged && upgrade - 1 > retired);
                    let (near, far) = match step.direction {
                        AdapterDirection::Past => (upgrade - 1, upgrade),
                        AdapterDirection::Future => (upgrade, upgrade - 1),
                    };
                    prop_assert_eq!(Some(&of(near)), seen.last());
                    prop_assert!(!seen.contains(&of(far)));
                    prop_assert!(lineage.adapter("data", step).is_some());
                    seen.push(of(far));
                }
                prop_assert_eq!(Some(&of(node_at)), seen.last());
            }
            other => prop_assert!(false, "{other:?}"),
        }
    }
}

#[test]
fn adapters_follow_the_calls_of_the_version_next_to_them() {
    use AdapterDirection::{Future, Past};
    let observed =
        data("interface = \"changed\", adapter = \"lens.toml\", dispatch = \"observed\"");
    let same = data("interface = \"same\"");
    let lineage = lineage(&[FIRST, &observed, &observed, &same, &observed, &changed()]);
    let followers = |at: Standing, direction| lineage.followers("data", at, direction);
    let all = standing(3, 6, 0);
    assert_eq!(followers(all, Past), [step(3, Past), step(2, Past)]);
    assert_eq!(
        followers(all, Future),
        [step(5, Future)],
        "the upgrade to 6 is not told of anything"
    );
    assert_eq!(followers(standing(3, 6, 1), Past), [step(3, Past)]);
    assert_eq!(followers(standing(3, 6, 2), Past), []);
    assert_eq!(followers(standing(3, 4, 0), Future), [], "not staged");
    assert_eq!(
        followers(standing(4, 4, 0), Past),
        [step(3, Past), step(2, Past)]
    );
    assert_eq!(followers(standing(6, 6, 0), Past), [], "one is in between");
}
