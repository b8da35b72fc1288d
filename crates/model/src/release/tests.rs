//! Histories: what follows on what, which class a node is of, which interface a version speaks.

use super::check;
use super::*;
use crate::bundle::{BundleFiles, FileInfo};
use crate::manifest::{Digest, Mode};

/// An upgrade whose classes run nothing but `true`.
pub(crate) fn upgrade(text: &str) -> Arc<Upgrade> {
    let info = FileInfo {
        mode: Mode::Plain,
        size: 1,
        sha256: Digest::of(b""),
    };
    let files: BundleFiles = ["upgrade.toml", "lens.toml", "a.tar.gz"]
        .into_iter()
        .map(|path| (path.to_owned(), info))
        .collect();
    let text = text.replace(
        "RUN",
        "software = { command = [\"true\"] }\nlifecycle.probe = { alive_ms = 1 }",
    );
    match check(&text, &files) {
        Ok(checked) => Arc::new(checked.upgrade),
        Err(errors) => panic!("{text}\n{errors:?}"),
    }
}

/// Upgrades numbered from 1, each from the one before.
fn sequence(parts: &[&str]) -> Vec<Arc<Upgrade>> {
    let numbered = |(at, part): (usize, &&str)| {
        let from = if at == 0 {
            String::new()
        } else {
            format!("from = {at}\n")
        };
        upgrade(&format!(
            "system = \"store\"\nversion = {}\n{from}{part}",
            at + 1
        ))
    };
    parts.iter().enumerate().map(numbered).collect()
}

pub(crate) fn history(parts: &[&str]) -> Result<History, HistoryError> {
    History::new(sequence(parts), &BTreeSet::new())
}

pub(crate) fn good(parts: &[&str]) -> History {
    history(parts).unwrap_or_else(|error| panic!("{error}"))
}

fn told(parts: &[&str]) -> String {
    history(parts).map_or_else(|error| error.to_string(), |_| "nothing".to_owned())
}

pub(crate) fn node(class: &str, attributes: &[(&str, &str)]) -> NodeScope {
    NodeScope {
        name: "n1".to_owned(),
        class: class.to_owned(),
        attributes: attributes
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
    }
}

const STORAGE: &str = "[class.storage]\nRUN\nservice.data = { port = 1, protocol = \"http\" }\n";

fn data(interface: &str) -> String {
    format!(
        "[class.storage]\nRUN\nservice.data = {{ port = 1, protocol = \"http\", {interface} }}\n"
    )
}

#[test]
fn a_class_that_is_not_mentioned_takes_the_number_and_keeps_its_bundle() {
    let history = good(&[STORAGE, "[class.gateway]\nadded = true\nRUN"]);
    let release = history.release(Version(2)).expect("there");
    assert_eq!(release.classes["storage"].provided_by, Version(1));
    assert_eq!(release.classes["gateway"].provided_by, Version(2));
    let lineage = history.lineage(&node("storage", &[]), None).expect("known");
    assert_eq!(lineage.work(Version(1)), crate::machine::Work::Restart);
    assert_eq!(lineage.work(Version(2)), crate::machine::Work::Number);
    assert!(lineage.same_interface("data", Version(1), Version(2)));
}

#[test]
fn upgrades_follow_on_each_other_over_withdrawn_numbers_only() {
    let first = || upgrade(&format!("system = \"store\"\nversion = 1\n{STORAGE}"));
    let third =
        || upgrade("system = \"store\"\nversion = 3\nfrom = 1\n[class.b]\nadded = true\nRUN");
    let build = |upgrades, withdrawn: &[u32]| {
        let withdrawn = withdrawn.iter().copied().map(Version).collect();
        History::new(upgrades, &withdrawn).map_err(|error| error.to_string())
    };
    assert_eq!(
        build(vec![third(), first()], &[]).expect_err("gap"),
        "version 3: version 2 is missing and was not withdrawn; use the next free number"
    );
    let history = build(vec![third(), first()], &[2]).expect("follows");
    assert_eq!(
        history.path(Version(0), Version(3)),
        Some(vec![Version(1), Version(3)])
    );
    assert_eq!(history.path(Version(1), Version(1)), Some(vec![]));
    assert_eq!(history.path(Version(3), Version(1)), None);
    assert_eq!(history.path(Version(1), Version(2)), None);
    assert_eq!(history.newest(), Version(3));
    assert_eq!(
        build(vec![first(), first()], &[]).expect_err("twice"),
        "two upgrades lead to version 1"
    );
    assert_eq!(
        build(vec![third()], &[2]).expect_err("no first"),
        "version 3: from is 1, but the version before it is 0; write `from = 0`"
    );
    let other = upgrade("system = \"shop\"\nversion = 2\nfrom = 1\n[class.b]\nadded = true\nRUN");
    assert_eq!(
        build(vec![first(), other], &[]).expect_err("other"),
        "version 2: system is `shop`, but the versions before are of `store`"
    );
}

#[test]
fn interfaces_are_numbered_by_the_version_that_brought_them() {
    let history = good(&[
        STORAGE,
        &data("interface = \"changed\", adapter = \"lens.toml\""),
        &data("interface = \"same\""),
        &data("interface = { as_version = 1 }, adapter = \"lens.toml\""),
    ]);
    let lineage = history.lineage(&node("storage", &[]), None).expect("known");
    let ids: Vec<_> = (1..=4)
        .map(|version| {
            lineage
                .interface("data", Version(version))
                .expect("there")
                .0
                .0
        })
        .collect();
    assert_eq!(ids, [1, 2, 2, 1]);
    assert!(lineage.same_interface("data", Version(1), Version(4)));
    assert!(!lineage.same_interface("data", Version(1), Version(3)));
    assert!(!lineage.same_interface("dat", Version(1), Version(1)));
}

#[test]
fn a_service_says_how_it_relates_to_the_version_before() {
    assert_eq!(
        told(&[STORAGE, STORAGE]),
        "version 2: class.storage.service.data: it was there before: write `interface = \"same\"` or `interface = \"changed\"`"
    );
    assert_eq!(
        told(&[
            STORAGE,
            "[class.storage]\nRUN\nservice.dat = { port = 1, protocol = \"http\", interface = \"same\" }"
        ]),
        "version 2: class.storage.service.dat: there was no such service before, so leave `interface` out (did you mean service `data`?)"
    );
    assert_eq!(
        told(&[
            STORAGE,
            "[class.storage]\nRUN\nservice.data = { port = 1, protocol = \"raw\", interface = \"same\" }"
        ]),
        "version 2: class.storage.service.data: its protocol changes, so its interface does: write `interface = \"changed\"`"
    );
    assert_eq!(
        told(&[
            STORAGE,
            &data("interface = { as_version = 1 }, adapter = \"refuse\"")
        ]),
        "version 2: class.storage.service.data: version 1 had the same interface as the version before: write `interface = \"same\"`"
    );
    let vanished = "[class.storage]\nRUN\n";
    let back = "[class.storage]\nRUN\nservice.data = { port = 1, protocol = \"http\" }";
    let history = good(&[STORAGE, vanished, back]);
    let lineage = history.lineage(&node("storage", &[]), None).expect("known");
    assert_eq!(lineage.interface("data", Version(2)), None);
    assert!(
        !lineage.same_interface("data", Version(1), Version(3)),
        "a service that was away is a new one"
    );
    assert_eq!(lineage.first_published("data", Version(3)), Version(3));
}

#[test]
fn classes_are_added_removed_and_renamed_on_purpose_only() {
    assert_eq!(
        told(&[STORAGE, "[class.storge]\nRUN"]),
        "version 2: class.storge: version 1 has no class `storge` (did you mean `storage`?); write `added = true` if it is new"
    );
    assert_eq!(
        told(&[STORAGE, "[class.shard]\nwas = \"storge\"\n"]),
        "version 2: class.shard: version 1 has no class `storge` (did you mean `storage`?)"
    );
    assert_eq!(
        told(&[STORAGE, "[removed]\nclasses = [\"storag\"]\n"]),
        "version 2: class.storag: is to be removed, but version 1 has no class `storag` (did you mean `storage`?)"
    );
    assert_eq!(
        told(&[
            STORAGE,
            "[removed]\nclasses = [\"storage\"]\n[class.shard]\nwas = \"storage\""
        ]),
        "version 2: class.storage: is removed and taken over at once"
    );
    assert_eq!(
        told(&[STORAGE, "[class.storage]\nadded = true\nRUN"]),
        "version 2: class.storage: the name was used by another class before, and nodes are known by it; choose a new one"
    );
    let two = "[class.a]\nRUN\n[class.b]\nRUN\n";
    assert_eq!(
        told(&[two, "[class.b]\nwas = \"a\""]),
        "version 2: class.b: the name was used by another class before, and nodes are known by it; choose a new one"
    );
}

#[test]
fn an_order_of_classes_can_be_kept() {
    let order = |a: &str, b: &str| {
        let upgrade =
            format!("[class.a]\nRUN\nschedule = {{ {a} }}\n[class.b]\nRUN\nschedule = {{ {b} }}\n");
        told(&["[class.a]\nRUN\n[class.b]\nRUN\n", &upgrade])
    };
    assert_eq!(order("after = [\"b\"]", "max_unavailable = 1"), "nothing");
    assert_eq!(
        order("after = [\"c\"]", ""),
        "version 2: class.a: schedule.after: version 2 has no class `c`; did you mean `a`?"
    );
    let round = "version 2: class.a: schedule.after: it would wait for itself, so no node could ever upgrade";
    assert_eq!(order("after = [\"a\"]", ""), round);
    assert_eq!(order("after = [\"b\"]", "after = [\"a\"]"), round);
}

#[test]
fn a_renamed_class_is_followed_both_ways() {
    let history = good(&[
        STORAGE,
        "[class.shard]\nwas = \"storage\"",
        "[removed]\nclasses = [\"shard\"]",
    ]);
    for class in ["storage", "shard"] {
        let at = |version| {
            history
                .class_at(&node(class, &[]), None, Version(version))
                .expect("known")
        };
        assert_eq!(at(1).as_deref(), Some("storage"));
        assert_eq!(at(2).as_deref(), Some("shard"));
        assert_eq!(at(3), None);
    }
    let lineage = history.lineage(&node("shard", &[]), None).expect("known");
    assert_eq!(lineage.work(Version(2)), crate::machine::Work::Number);
    assert_eq!(lineage.work(Version(3)), crate::machine::Work::Remove);
    assert_eq!(
        history
            .lineage(&node("shrd", &[]), None)
            .expect_err("unknown")
            .to_string(),
        "node `n1`: no version of the system has a class `shrd`; did you mean `shard`?"
    );
}

const SPLIT: &str = "[class.hot]\nwas = \"storage\"\nfilter = 'attributes.tier == \"hot\"'\n";

#[test]
fn a_split_sends_each_node_to_one_class() {
    let rest = "[class.cold]\nwas = \"storage\"\nfilter = 'attributes.tier != \"hot\"'\n";
    let history = good(&[STORAGE, &format!("{SPLIT}{rest}")]);
    let at = |tier| history.class_at(&node("storage", &[("tier", tier)]), None, Version(2));
    assert_eq!(at("hot").expect("chosen").as_deref(), Some("hot"));
    assert_eq!(at("warm").expect("chosen").as_deref(), Some("cold"));
    let bare = node("storage", &[]);
    let error = history
        .class_at(&bare, None, Version(2))
        .expect_err("no attribute");
    let source = std::error::Error::source(&error)
        .expect("has one")
        .to_string();
    assert_eq!(error.to_string(), "version 2: node `n1`");
    assert_eq!(
        source,
        "class.cold.filter: `attributes.tier != \"hot\"`: this node has no `tier`; give it to the node, or ask with has(...) first"
    );
    assert_eq!(
        history
            .class_at(&bare, None, Version(1))
            .expect("before the split")
            .as_deref(),
        Some("storage")
    );
    assert_eq!(
        history
            .check_nodes([&bare, &node("storage", &[("tier", "x")])])
            .len(),
        1
    );
}

#[test]
fn filters_that_overlap_or_leave_nodes_out_are_refused() {
    let case = |rest: &str| told(&[STORAGE, &format!("{SPLIT}{rest}")]);
    assert_eq!(
        case(""),
        "version 2: class `storage` splits, but for a node with tier = \"(any other)\" no filter holds"
    );
    assert_eq!(
        case("[class.cold]\nwas = \"storage\"\n"),
        "version 2: class.cold: class `storage` splits, so each of its parts needs a `filter`"
    );
    assert_eq!(
        case(
            "[class.cold]\nwas = \"storage\"\nfilter = 'attributes[\"tier\"] in [\"hot\", \"cold\"]'"
        ),
        "version 2: class `storage` splits, but for a node with tier = \"(any other)\" no filter holds"
    );
    assert_eq!(
        case(
            "[class.cold]\nwas = \"storage\"\nfilter = 'node.attributes.region == \"a\" || attributes.tier != \"hot\"'"
        ),
        "version 2: class `storage` splits, but for a node with region = \"a\", tier = \"hot\" several filters hold: cold, hot"
    );
    assert_eq!(
        case("[class.storage]\nfilter = 'attributes.tier != \"hot\"'"),
        "nothing"
    );
}

#[test]
fn a_split_that_keeps_the_old_name_is_decided_by_the_filter() {
    let rest = "[class.storage]\nfilter = 'attributes.tier != \"hot\"'\n";
    let history = good(&[STORAGE, &format!("{SPLIT}{rest}")]);
    let at = |class, tier, enrolled: Option<u32>, version| {
        let node = node(class, &[("tier", tier)]);
        history
            .class_at(&node, enrolled.map(Version), Version(version))
            .expect("chosen")
    };
    assert_eq!(at("storage", "hot", None, 2).as_deref(), Some("hot"));
    assert_eq!(at("storage", "cold", None, 2).as_deref(), Some("storage"));
    assert_eq!(at("hot", "hot", Some(2), 1).as_deref(), Some("storage"));
    assert_eq!(
        at("storage", "hot", Some(2), 2).as_deref(),
        Some("storage"),
        "enrolled after the split"
    );
}

#[test]
fn the_public_version_is_the_first_until_it_is_moved() {
    let history = good(&[
        STORAGE,
        &data("interface = \"changed\", adapter = \"lens.toml\""),
        "[class.shard]\nwas = \"storage\"",
    ]);
    let lineage = history.lineage(&node("storage", &[]), None).expect("known");
    let public = |moved: &[(&str, u32)]| {
        let moved = moved
            .iter()
            .map(|(key, version)| ((*key).to_owned(), Version(*version)))
            .collect();
        lineage.public("data", Version(3), &moved)
    };
    assert_eq!(public(&[]), Public::At(Version(1)));
    assert_eq!(public(&[("storage/data", 2)]), Public::At(Version(2)));
    assert_eq!(
        public(&[("storage/data", 2), ("shard/data", 3)]),
        Public::At(Version(3))
    );
    assert_eq!(public(&[("gateway/data", 2)]), Public::At(Version(1)));
    assert_eq!(
        lineage.public("nothing", Version(3), &BTreeMap::new()),
        Public::Nobody
    );
    let latest = good(&[
        "[class.a]\nRUN\nservice.s = { port = 1, protocol = \"raw\", public = \"latest\" }",
    ]);
    let lineage = latest.lineage(&node("a", &[]), None).expect("known");
    assert_eq!(
        lineage.public("s", Version(1), &BTreeMap::new()),
        Public::Own
    );
}
