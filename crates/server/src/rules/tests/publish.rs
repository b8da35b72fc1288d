//! Publishing, revising, withdrawing, and public versions along the way.

use super::super::Order;
use super::{STORAGE, STORAGE_CHANGED, World, publication, report};
use crate::problem::RequestRefusal;
use model::api::{ChildState, Phase, PublicRequest, UpgradeSummary};
use model::ids::{Revision, Version};
use std::collections::BTreeMap;

impl World {
    fn revise(
        &mut self,
        version: u32,
        from: u32,
        part: &str,
    ) -> Result<UpgradeSummary, RequestRefusal> {
        self.ask(Order::Publish(Box::new(publication(
            version, from, part, true,
        ))))
    }

    fn withdraw(&mut self, version: u32) -> Result<UpgradeSummary, RequestRefusal> {
        self.ask(Order::Withdraw(Version(version)))
    }

    fn public(
        &mut self,
        service: Option<&str>,
        version: u32,
    ) -> Result<BTreeMap<String, Version>, &'static str> {
        let request = PublicRequest {
            service: service.map(str::to_owned),
            version: Version(version),
        };
        self.ask(Order::SetPublic(request))
            .map_err(|refusal| refusal.kind.name)
    }
}

fn kind<T: std::fmt::Debug>(refused: Result<T, RequestRefusal>) -> &'static str {
    refused.expect_err("refused").kind.name
}

#[test]
fn versions_follow_one_another_from_the_newest_in_use() {
    let mut world = World::new();
    assert_eq!(
        kind(world.publish(2, 1, STORAGE_CHANGED)),
        "publish-refused"
    );
    world.publish(1, 0, STORAGE).expect("the first");
    assert_ne!(world.view().system_id, 0);
    world
        .publish(1, 0, STORAGE)
        .expect("the same again is the same");
    assert_eq!(world.view().upgrades.len(), 1);
    let other = format!("description = \"other\"\n{STORAGE}");
    assert_eq!(kind(world.publish(1, 0, &other)), "publish-refused");
    assert_eq!(
        kind(world.publish(3, 1, STORAGE_CHANGED)),
        "publish-refused"
    );
    world.publish(2, 1, STORAGE_CHANGED).expect("the next");
    let mut foreign = publication(3, 2, STORAGE_CHANGED, false);
    let mut upgrade = foreign.upgrade.as_ref().clone();
    upgrade.system = "other".to_owned();
    foreign.upgrade = upgrade.into();
    assert_eq!(
        world.refused(Order::Publish(Box::new(foreign))).kind.name,
        "publish-refused"
    );
}

#[test]
fn a_withdrawn_number_is_never_used_again_and_the_next_starts_before_it() {
    let mut world = World::with(&[STORAGE, STORAGE_CHANGED]);
    assert!(world.withdraw(2).expect("withdrawn").withdrawn);
    assert!(world.withdraw(2).expect("again").withdrawn);
    assert_eq!(
        kind(world.publish(2, 1, STORAGE_CHANGED)),
        "publish-refused"
    );
    assert_eq!(kind(world.revise(2, 1, STORAGE_CHANGED)), "publish-refused");
    assert_eq!(
        kind(world.publish(3, 2, STORAGE_CHANGED)),
        "publish-refused"
    );
    world
        .publish(3, 1, STORAGE_CHANGED)
        .expect("from the newest in use");
    let withdrawn: Vec<bool> = world
        .view()
        .upgrades
        .iter()
        .map(|upgrade| upgrade.withdrawn)
        .collect();
    assert_eq!(withdrawn, [false, true, false]);
}

#[test]
fn withdrawal_ends_where_somebody_depends_on_the_version() {
    let mut world = World::with(&[STORAGE, STORAGE_CHANGED]);
    let a = world.settled("a", 1);
    let mut flipping = report(1);
    flipping.status.phase = Phase::Transforming;
    flipping.status.target = Some(Version(2));
    world.report(a, flipping.clone());
    assert_eq!(kind(world.withdraw(2)), "withdraw-refused");
    flipping.status.phase = Phase::Blocked;
    flipping.status.child = ChildState::Running;
    world.report(a, flipping);
    let held = world.go(a);
    let _: serde_json::Value = world
        .ask(Order::ConfirmPermit(held, None))
        .expect("confirmed");
    assert_eq!(kind(world.withdraw(2)), "withdraw-refused");
    let () = world.ask(Order::EndPermit(held, None)).expect("ended");
    assert_eq!(kind(world.withdraw(1)), "withdraw-refused", "2 builds on 1");
    let mut staged = report(1);
    staged.status.staged = Version(2);
    world.report(a, staged.clone());
    world.context.now_ms += 15_000;
    let () = world.ask(Order::Sweep).expect("swept");
    assert_eq!(
        kind(world.withdraw(2)),
        "withdraw-refused",
        "it may have settled unheard"
    );
    world.report(a, report(2));
    assert_eq!(kind(world.withdraw(2)), "withdraw-refused", "settled");
    world.report(a, staged);
    world.withdraw(2).expect("nobody is there");
}

#[test]
fn a_revision_keeps_versions_and_interfaces() {
    let mut world = World::with(&[STORAGE, STORAGE_CHANGED]);
    let mended = format!("description = \"mended\"\n{STORAGE_CHANGED}");
    let summary = world.revise(2, 1, &mended).expect("revised");
    assert_eq!(summary.revision, Revision(2));
    assert_eq!(
        world.revise(2, 1, &mended).expect("the same").revision,
        Revision(2)
    );
    let view = world.view();
    assert_eq!(
        (view.upgrades.len(), view.upgrades[1].description.as_str()),
        (2, "mended")
    );
    let same = STORAGE_CHANGED.replace(
        "interface = \"changed\", adapter = \"lens.toml\"",
        "interface = \"same\"",
    );
    assert_eq!(kind(world.revise(2, 1, &same)), "publish-refused");
    assert_eq!(kind(world.revise(3, 2, STORAGE_CHANGED)), "unknown-version");
}

#[test]
fn public_versions_begin_at_the_first_and_move_when_told() {
    let mut world = World::with(&[STORAGE]);
    assert_eq!(
        world.view().public,
        BTreeMap::from([("storage/data".to_owned(), Version(1))])
    );
    world.publish(2, 1, STORAGE_CHANGED).expect("published");
    assert_eq!(world.view().public["storage/data"], Version(1));
    assert_eq!(
        world.public(Some("storage/dada"), 2).err(),
        Some("unknown-service")
    );
    assert_eq!(world.public(None, 3).err(), Some("unknown-version"));
    assert_eq!(
        world.public(None, 2).expect("moved")["storage/data"],
        Version(2)
    );
    world.withdraw(2).expect("withdrawn");
    assert_eq!(
        world.view().public["storage/data"],
        Version(1),
        "it goes back with the version"
    );
    assert_eq!(world.public(None, 2).err(), Some("public-refused"));
}

#[test]
fn a_renamed_class_keeps_its_public_version_under_both_names() {
    let renamed = STORAGE_CHANGED.replace("class.storage]", "class.store]\nwas = \"storage\"");
    let mut world = World::with(&[STORAGE, &renamed]);
    assert_eq!(world.view().public["store/data"], Version(1));
    let public = world.public(Some("store/data"), 2).expect("moved");
    assert_eq!(
        (public["store/data"], public["storage/data"]),
        (Version(2), Version(2))
    );
}
