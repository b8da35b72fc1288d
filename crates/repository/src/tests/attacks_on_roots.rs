//! Roots that do not follow on the pinned one, and what rotation takes from a thief.

use super::{Site, days_later, manifest, noon, versions};
use crate::TrustError as E;
use crate::metadata::next;
use crate::{RepositoryWriter, RoleType, RootChange, make_key};
use std::num::NonZeroU64;

/// The site with a key in the place of another one, in a role.
async fn rotated(site: &mut Site, role: RoleType, old: &str, new: &str) {
    let old = crate::read_public_key(&site.key(old)).expect("a key");
    let change = RootChange {
        add: vec![(role, make_key(&site.key(new)).expect("a key"))],
        remove: vec![old.id],
        thresholds: Vec::new(),
    };
    let names = ["root-1", "root-2", "alice", "bob", "server", new];
    let signers = site.signers(&names);
    let rotated = site.writer.rotate(&change, &signers, noon()).await;
    rotated.expect("rotated");
}

#[tokio::test]
async fn clients_of_an_old_root_follow_to_the_new_one() {
    let mut site = Site::new().await;
    let (mut client, mut late) = (site.client().await, site.new_client());
    rotated(&mut site, RoleType::Root, "root-3", "root-4").await;
    rotated(&mut site, RoleType::Root, "root-4", "root-5").await;
    rotated(&mut site, RoleType::Targets, "bob", "carol").await;
    client.refresh(&site, noon()).await.expect("it follows");
    late.refresh(&site, noon()).await.expect("it follows");
    assert_eq!(client.verifier.root_version().get(), 4);
    assert_eq!(client.again().root_version().get(), 4);
    let writer = RepositoryWriter::open(site.writer.path()).await;
    writer.expect("the writer follows too");
}

#[tokio::test]
async fn a_root_that_strangers_signed_is_refused() {
    let site = Site::new().await;
    let mut client = site.client().await;
    for key in ["mallory-1", "mallory-2"] {
        make_key(&site.key(key)).expect("a key");
    }
    let mut root = site.root();
    root.version = next(root.version);
    site.put(root, &["mallory-1", "mallory-2", "server", "alice"])
        .await;
    let error = client.refuses(&site).await;
    assert!(matches!(error, E::UnknownKey { .. }), "{error}");
}

#[tokio::test]
async fn a_root_that_only_its_own_keys_signed_is_refused() {
    let site = Site::new().await;
    let mut client = site.client().await;
    let other = Site::of("shop", 7, None).await;
    let mut root = other.root();
    root.version = next(root.version);
    let root = other.put(root, &["root-1", "root-2"]).await;
    std::fs::write(site.path("metadata/2.root.json"), &root.bytes).expect("written");
    let error = client.refuses(&site).await;
    assert!(matches!(error, E::UnknownKey { .. }), "{error}");
}

#[tokio::test]
async fn a_root_that_its_own_keys_did_not_sign_is_refused() {
    let site = Site::new().await;
    let mut client = site.client().await;
    let mut root = Site::of("shop", 7, None).await.root();
    root.version = next(root.version);
    site.put(root, &["root-1", "root-2"]).await;
    let error = client.refuses(&site).await;
    assert!(matches!(error, E::UnknownKey { .. }), "{error}");
}

#[tokio::test]
async fn a_root_that_too_few_signed_is_refused() {
    let site = Site::new().await;
    let mut client = site.client().await;
    let mut root = site.root();
    root.version = next(root.version);
    site.put(root, &["root-1"]).await;
    let error = client.refuses(&site).await;
    assert!(matches!(error, E::TooFewKeys { .. }), "{error}");
}

#[tokio::test]
async fn a_rotation_that_skips_a_version_is_refused() {
    let mut site = Site::new().await;
    let mut client = site.client().await;
    rotated(&mut site, RoleType::Root, "root-3", "root-4").await;
    rotated(&mut site, RoleType::Root, "root-4", "root-5").await;
    let from = site.path("metadata/3.root.json");
    std::fs::rename(from, site.path("metadata/2.root.json")).expect("renamed");
    let error = client.refuses(&site).await;
    let is_right = matches!(
        error,
        E::RootSkipped {
            trusted: 1,
            found: 3
        }
    );
    assert!(is_right, "{error}");
}

#[tokio::test]
async fn the_same_root_again_is_no_next_one() {
    let site = Site::new().await;
    let mut client = site.client().await;
    let (one, two) = ("metadata/1.root.json", "metadata/2.root.json");
    std::fs::copy(site.path(one), site.path(two)).expect("copied");
    let error = client.refuses(&site).await;
    assert!(matches!(error, E::RootSkipped { .. }), "{error}");
}

#[tokio::test]
async fn a_root_of_another_system_is_refused() {
    let site = Site::new().await;
    let mut client = site.client().await;
    let mut root = Site::of("shop", 8, Some(&site)).await.root();
    root.version = next(root.version);
    site.put(root, &["root-1", "root-2"]).await;
    let error = client.refuses(&site).await;
    assert!(matches!(error, E::OtherSystem { .. }), "{error}");
    let other = Site::of("shop", 8, Some(&site)).await;
    let pinned = crate::Verifier::pin(&client.path(), other.writer.root());
    assert!(matches!(pinned, Err(E::OtherSystem { .. })));
}

#[tokio::test]
async fn an_expired_root_vouches_for_nothing_new() {
    let mut site = Site::new().await;
    let mut client = site.client().await;
    let late = days_later(366);
    let error = client.refresh(&site, late).await;
    assert!(matches!(&error, Err(E::Expired { document, .. }) if document == "root"));
    let signers = site.signers(&["root-2", "root-3", "alice", "bob", "server"]);
    let renewed = site.writer.renew(&crate::ROLES, None, &signers, late).await;
    renewed.expect("renewed");
    client.refresh(&site, late).await.expect("it is good again");
}

#[tokio::test]
async fn a_version_signed_with_a_key_that_was_rotated_away_is_refused() {
    let mut site = Site::new().await;
    site.publish(1, "one").await;
    rotated(&mut site, RoleType::Targets, "bob", "carol").await;
    let mut client = site.client().await;
    assert_eq!(versions(&client.verifier.catalogue()), [1]);
    let mut targets = site.targets();
    targets.version = next(targets.version);
    crate::catalogue::add(&mut targets, &manifest(2, "evil"), false).expect("added");
    let targets = site.put(targets, &["alice", "bob"]).await;
    site.seal(&targets).await;
    let error = client.refuses(&site).await;
    assert!(matches!(error, E::TooFewKeys { .. }), "{error}");
}

#[tokio::test]
async fn what_ran_before_a_rotation_can_start_again_before_the_next_refresh() {
    let mut site = Site::new().await;
    site.publish(1, "one").await;
    let mut client = site.client().await;
    rotated(&mut site, RoleType::Targets, "bob", "carol").await;
    std::fs::remove_file(site.path("metadata/timestamp.json")).expect("removed");
    let error = client.refuses(&site).await;
    assert!(matches!(error, E::Missing { .. }), "{error}");
    assert_eq!(client.again().root_version().get(), 2);
    assert_eq!(versions(&client.again().catalogue()), [1]);
}

#[tokio::test]
async fn numbers_of_a_thief_go_with_the_stolen_key() {
    let mut site = Site::new().await;
    let mut client = site.client().await;
    let good = std::fs::read(site.path("metadata/timestamp.json")).expect("a timestamp");
    let mut timestamp = site.timestamp();
    timestamp.version = NonZeroU64::MAX;
    site.put(timestamp, &["server"]).await;
    client
        .refresh(&site, noon())
        .await
        .expect("it was the server's key");
    std::fs::write(site.path("metadata/timestamp.json"), good).expect("written");
    let error = client.refuses(&site).await;
    assert!(matches!(error, E::Rollback { .. }), "{error}");
    let server = crate::read_public_key(&site.key("server")).expect("a key");
    let new = make_key(&site.key("server-2")).expect("a key");
    let change = RootChange {
        add: vec![
            (RoleType::Snapshot, new.clone()),
            (RoleType::Timestamp, new),
        ],
        remove: vec![server.id],
        thresholds: Vec::new(),
    };
    let signers = site.signers(&["root-1", "root-3", "server-2"]);
    let rotated = site.writer.rotate(&change, &signers, noon()).await;
    rotated.expect("the server needs no publisher");
    client
        .refresh(&site, noon())
        .await
        .expect("the numbers begin anew");
}
