//! What somebody does who has taken the server, a mirror, or the way between: each is refused, and what was trusted before stays.

use super::{Site, days_later, files, manifest, noon, place, versions};
use crate::TrustError as E;
use crate::metadata::{SignedDocument, next};
use model::ids::Version;
use std::fs;
use tough::schema::{Snapshot, Timestamp};

#[tokio::test]
async fn what_was_signed_is_trusted() {
    let mut site = Site::new().await;
    let mut client = site.client().await;
    assert!(versions(&client.verifier.catalogue()).is_empty());
    site.publish(1, "one").await;
    site.publish(2, "two").await;
    client.refresh(&site, noon()).await.expect("trusted");
    let transport = site.transport();
    let two = client.verifier.manifest(&transport, place(2, 1)).await;
    let two = two.expect("its manifest");
    assert_eq!(two, manifest(2, "two"));
    let mut bytes = Vec::new();
    let artifact = (client.verifier).artifact(&transport, &two.files[0], &mut bytes);
    artifact.await.expect("its artifact");
    assert_eq!(bytes, b"software: two");
    assert_eq!(client.again().catalogue(), client.verifier.catalogue());
}

#[tokio::test]
async fn an_altered_artifact_is_refused() {
    let mut site = Site::new().await;
    site.publish(1, "one").await;
    let client = site.client().await;
    let file = manifest(1, "one").files[0].clone();
    let path = site.path(&crate::artifact_path(file.sha256));
    for altered in ["software: onf", "software: one more", "soft"] {
        fs::write(&path, altered).expect("written");
        let transport = site.transport();
        let mut bytes = Vec::new();
        let taken = (client.verifier).artifact(&transport, &file, &mut bytes);
        let error = taken.await.expect_err("it is altered");
        assert!(matches!(error, E::Altered { .. }), "{altered}: {error}");
    }
}

#[tokio::test]
async fn an_altered_manifest_is_refused() {
    let mut site = Site::new().await;
    site.publish(1, "one").await;
    let client = site.client().await;
    let folder = site.path("targets/upgrades");
    let name = files(&folder).remove(0);
    let text = manifest(1, "eno").text();
    fs::write(folder.join(name), text).expect("written");
    let transport = site.transport();
    let taken = client.verifier.manifest(&transport, place(1, 1)).await;
    let error = taken.expect_err("it is altered");
    assert!(matches!(error, E::Altered { .. }), "{error}");
}

#[tokio::test]
async fn a_manifest_of_another_version_is_refused_though_publishers_signed_it() {
    let mut site = Site::new().await;
    site.publish(1, "one").await;
    let mut targets = site.targets();
    targets.version = next(targets.version);
    let one = targets.targets.iter().next();
    let one = one.map(|(_, target)| target.clone()).expect("a target");
    let name = tough::TargetName::new("upgrades/1.2.json").expect("a name");
    targets.targets.insert(name, one.clone());
    let targets = site.put(targets, &["alice", "bob"]).await;
    site.seal(&targets).await;
    let client = site.client().await;
    // The contents of version 1 as its revision are no harm; as version 2 they are not believed.
    let transport = site.transport();
    let mut other = client.verifier.trust().clone();
    other.system.name = "other".to_owned();
    let signed = client.verifier.catalogue().manifest(place(1, 1));
    let signed = signed.expect("signed");
    let taken = crate::verifier::manifest(&other, &transport, place(1, 1), signed).await;
    assert!(matches!(taken, Err(E::Altered { .. })));
    let taken = crate::verifier::manifest(client.verifier.trust(), &transport, place(2, 1), signed);
    assert!(matches!(
        taken.await,
        Err(E::Missing { .. } | E::Altered { .. })
    ));
}

#[tokio::test]
async fn a_new_version_that_nobody_signed_is_refused() {
    let (site, mut client) = with_one_version().await;
    let mut targets = site.targets();
    targets.version = next(targets.version);
    crate::catalogue::add(&mut targets, &manifest(2, "evil"), false).expect("added");
    let targets = site.put(targets, &[]).await;
    site.seal(&targets).await;
    let error = client.refuses(&site).await;
    assert!(matches!(error, E::UnknownKey { .. }), "{error}");
}

#[tokio::test]
async fn a_new_version_that_an_unknown_key_signed_is_refused() {
    let (site, mut client) = with_one_version().await;
    crate::make_key(&site.key("mallory")).expect("a key");
    let mut targets = site.targets();
    targets.version = next(targets.version);
    crate::catalogue::add(&mut targets, &manifest(2, "evil"), false).expect("added");
    // Keys of other roles are no publishers' either.
    let targets = site.put(targets, &["mallory", "server", "root-1"]).await;
    site.seal(&targets).await;
    let error = client.refuses(&site).await;
    assert!(matches!(error, E::UnknownKey { .. }), "{error}");
}

#[tokio::test]
async fn a_new_version_that_too_few_signed_is_refused() {
    let (site, mut client) = with_one_version().await;
    let mut targets = site.targets();
    targets.version = next(targets.version);
    crate::catalogue::add(&mut targets, &manifest(2, "evil"), false).expect("added");
    let targets = site.put(targets, &["alice"]).await;
    site.seal(&targets).await;
    let error = client.refuses(&site).await;
    let is_right = matches!(
        error,
        E::TooFewKeys {
            valid: 1,
            threshold: 2,
            ..
        }
    );
    assert!(is_right, "{error}");
}

#[tokio::test]
async fn one_key_does_not_count_twice() {
    let (site, mut client) = with_one_version().await;
    let mut targets = site.targets();
    targets.version = next(targets.version);
    let targets = site.put(targets, &["alice", "alice"]).await;
    site.seal(&targets).await;
    let error = client.refuses(&site).await;
    assert!(matches!(error, E::Malformed { .. }), "{error}");
}

#[tokio::test]
async fn a_signature_under_anothers_number_does_not_count() {
    let (site, mut client) = with_one_version().await;
    let mut targets = site.targets();
    targets.version = next(targets.version);
    let mut targets = site.put(targets, &["alice", "bob"]).await.content;
    targets.signatures[1].sig = targets.signatures[0].sig.clone();
    let targets = SignedDocument::write(targets);
    fs::write(site.path(&targets.path()), &targets.bytes).expect("written");
    site.seal(&targets).await;
    let error = client.refuses(&site).await;
    assert!(matches!(error, E::TooFewKeys { valid: 1, .. }), "{error}");
}

#[tokio::test]
async fn a_timestamp_that_is_rolled_back_is_refused() {
    let mut site = Site::new().await;
    site.publish(1, "one").await;
    let path = site.path("metadata/timestamp.json");
    let old = fs::read(&path).expect("a timestamp");
    site.publish(2, "two").await;
    let mut client = site.client().await;
    fs::write(&path, old).expect("written");
    let error = client.refuses(&site).await;
    assert!(matches!(error, E::Rollback { .. }), "{error}");
    assert_eq!(versions(&client.verifier.catalogue()), [1, 2]);
}

#[tokio::test]
async fn a_snapshot_that_is_rolled_back_is_refused() {
    let mut site = Site::new().await;
    site.publish(1, "one").await;
    let old = site.snapshot();
    site.publish(2, "two").await;
    let mut client = site.client().await;
    // A thief of the server's key names the old one in a new timestamp.
    let old: SignedDocument<Snapshot> =
        site.read(&format!("metadata/{}.snapshot.json", old.version));
    let mut timestamp = site.timestamp();
    timestamp.version = next(timestamp.version);
    timestamp
        .meta
        .insert("snapshot.json".to_owned(), old.reference());
    site.put(timestamp, &["server"]).await;
    let error = client.refuses(&site).await;
    let is_right = matches!(&error, E::Rollback { document, .. } if document == "snapshot");
    assert!(is_right, "{error}");
}

#[tokio::test]
async fn targets_that_are_rolled_back_are_refused() {
    let mut site = Site::new().await;
    site.publish(1, "one").await;
    let old = site.writer.trust().targets.clone().expect("targets");
    site.publish(2, "two").await;
    let mut client = site.client().await;
    site.seal(&old).await;
    let error = client.refuses(&site).await;
    let is_right = matches!(&error, E::Rollback { document, .. } if document == "targets");
    assert!(is_right, "{error}");
}

#[tokio::test]
async fn a_mix_of_two_snapshots_is_refused() {
    let mut site = Site::new().await;
    let mut client = site.client().await;
    site.publish(1, "one").await;
    let old = site.snapshot().version;
    site.publish(2, "two").await;
    // A mirror gives the snapshot of before under the name of the one that the timestamp names.
    let (from, to) = (old, site.snapshot().version);
    let path = |version| site.path(&format!("metadata/{version}.snapshot.json"));
    fs::copy(path(from), path(to)).expect("copied");
    let error = client.refuses(&site).await;
    assert!(
        matches!(error, E::Mixed { .. } | E::TooLarge { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_snapshot_of_the_same_number_but_with_other_contents_is_refused() {
    let (site, mut client) = with_one_version().await;
    let mut timestamp = site.timestamp();
    let mut snapshot = site.snapshot();
    snapshot.version = next(snapshot.version);
    let named = site.put(snapshot.clone(), &["server"]).await;
    timestamp.version = next(timestamp.version);
    timestamp
        .meta
        .insert("snapshot.json".to_owned(), named.reference());
    site.put(timestamp, &["server"]).await;
    let bob_expects = snapshot.expires;
    snapshot.expires = "2030-06-28T12:00:00Z".parse().expect("a time");
    assert_ne!(snapshot.expires, bob_expects);
    site.put(snapshot, &["server"]).await;
    let error = client.refuses(&site).await;
    assert!(matches!(error, E::Mixed { .. }), "{error}");
}

#[tokio::test]
async fn two_timestamps_of_one_number_are_refused() {
    let (site, mut client) = with_one_version().await;
    let mut timestamp = site.timestamp();
    timestamp.expires = days_later(20);
    site.put(timestamp, &["server"]).await;
    let error = client.refuses(&site).await;
    assert!(matches!(error, E::Contradiction { .. }), "{error}");
}

#[tokio::test]
async fn a_frozen_timestamp_holds_up_what_is_new_and_nothing_else() {
    let mut site = Site::new().await;
    site.publish(1, "one").await;
    let mut client = site.client().await;
    site.publish(2, "two").await;
    // Whoever holds the timestamp back shows an old state for as long as it is good, and no longer.
    let late = days_later(31);
    let error = client
        .refresh(&site, late)
        .await
        .expect_err("it has expired");
    let is_right = matches!(&error, E::Expired { document, .. } if document == "timestamp");
    assert!(is_right, "{error}");
    assert_eq!(versions(&client.verifier.catalogue()), [1]);
    // A start, a recovery or a flip back goes by what was trusted, and says that it has expired.
    let again = client.again();
    assert_eq!(versions(&again.catalogue()), [1]);
    let expired = again.expired(late);
    let expired: Vec<&str> = expired.iter().map(|it| it.document.as_str()).collect();
    assert_eq!(expired, ["snapshot", "timestamp"]);
    let taken = again.manifest(&site.transport(), place(1, 1)).await;
    taken.expect("what was trusted can be read");
    let server = site.signers(&["server"]);
    let roles = [crate::RoleType::Snapshot, crate::RoleType::Timestamp];
    (site.writer.renew(&roles, None, &server, late).await).expect("renewed");
    client.refresh(&site, late).await.expect("it is good again");
    assert_eq!(versions(&client.verifier.catalogue()), [1, 2]);
}

#[tokio::test]
async fn a_state_without_anything_new_expires_too() {
    let (site, mut client) = with_one_version().await;
    let error = client.refresh(&site, days_later(31)).await;
    assert!(matches!(error, Err(E::Expired { .. })));
    assert_eq!(versions(&client.verifier.catalogue()), [1]);
}

#[tokio::test]
async fn a_clock_that_steps_back_is_no_error() {
    let (mut site, mut client) = with_one_version().await;
    client
        .refresh(&site, days_later(10))
        .await
        .expect("trusted");
    site.publish(2, "two").await;
    client
        .refresh(&site, days_later(-300))
        .await
        .expect("trusted");
    assert_eq!(versions(&client.verifier.catalogue()), [1, 2]);
}

#[tokio::test]
async fn oversized_metadata_is_refused() {
    let (site, mut client) = with_one_version().await;
    let path = site.path("metadata/timestamp.json");
    let mut text = fs::read_to_string(&path).expect("a timestamp");
    text.push_str(&" ".repeat(1 << 20));
    fs::write(&path, text).expect("written");
    let error = client.refuses(&site).await;
    assert!(matches!(error, E::TooLarge { .. }), "{error}");
}

#[tokio::test]
async fn a_snapshot_that_is_longer_than_the_timestamp_says_is_refused() {
    let (mut site, mut client) = with_one_version().await;
    site.publish(2, "two").await;
    let path = site.path(&format!(
        "metadata/{}.snapshot.json",
        site.snapshot().version
    ));
    let mut text = fs::read_to_string(&path).expect("a snapshot");
    text.push(' ');
    fs::write(&path, text).expect("written");
    let error = client.refuses(&site).await;
    assert!(matches!(error, E::TooLarge { .. }), "{error}");
}

#[tokio::test]
async fn metadata_that_is_no_regular_file_is_refused() {
    let (site, mut client) = with_one_version().await;
    let path = site.path("metadata/timestamp.json");
    fs::remove_file(&path).expect("removed");
    std::os::unix::fs::symlink("/dev/zero", &path).expect("a link");
    let error = client.refuses(&site).await;
    assert!(matches!(error, E::Transport { .. }), "{error}");
}

#[tokio::test]
async fn metadata_of_another_system_is_refused_though_the_keys_are_the_same() {
    let (site, mut client) = with_one_version().await;
    for (name, number) in [("shop", 8), ("stop", 7)] {
        let other = Site::of(name, number, Some(&site)).await;
        let error = client.refuses(&other).await;
        let is_right = matches!(error, E::OtherSystem { .. } | E::Contradiction { .. });
        assert!(is_right, "{error}");
        let one: SignedDocument<Timestamp> = other.read("metadata/timestamp.json");
        let mut later = one.content.signed;
        later.version = "99".parse().expect("a number");
        other.put(later, &["server"]).await;
        let error = client.refuses(&other).await;
        assert!(matches!(error, E::OtherSystem { .. }), "{error}");
    }
}

#[tokio::test]
async fn metadata_that_is_missing_is_said() {
    let (mut site, mut client) = with_one_version().await;
    site.publish(2, "two").await;
    let name = format!("metadata/{}.targets.json", site.targets().version);
    fs::remove_file(site.path(&name)).expect("removed");
    let error = client.refuses(&site).await;
    assert!(
        matches!(&error, E::Missing { name: it } if *it == name),
        "{error}"
    );
}

#[tokio::test]
async fn a_trusted_state_that_is_damaged_is_said() {
    let (_site, client) = with_one_version().await;
    let text = fs::read_to_string(client.path()).expect("a state");
    fs::write(client.path(), text.replace("upgrades/1.1", "upgrades/2.1")).expect("written");
    let error = crate::Verifier::open(&client.path()).expect_err("it is damaged");
    assert!(matches!(error, E::State { .. }), "{error}");
    assert!(error.advice().contains("pin the root anew"));
}

#[tokio::test]
async fn a_withdrawal_cannot_be_undone_by_the_server() {
    let (mut site, mut client) = with_one_version().await;
    let before = site.writer.trust().targets.clone().expect("targets");
    let signers = site.signers(&["alice", "bob", "server"]);
    let withdrawn = site.writer.withdraw(Version(1), &signers, noon());
    withdrawn.await.expect("withdrawn");
    client.refresh(&site, noon()).await.expect("trusted");
    assert!(client.verifier.catalogue().upgrades[&Version(1)].withdrawn);
    site.seal(&before).await;
    let error = client.refuses(&site).await;
    assert!(matches!(error, E::Rollback { .. }), "{error}");
}

async fn with_one_version() -> (Site, super::Client) {
    let mut site = Site::new().await;
    site.publish(1, "one").await;
    let client = site.client().await;
    (site, client)
}

#[tokio::test]
async fn a_flipped_bit_adds_nothing_to_what_is_trusted() {
    let mut site = Site::new().await;
    site.publish(1, "one").await;
    let good = site.client().await.verifier.catalogue();
    let numbers = (site.targets().version, site.snapshot().version);
    let names = [
        "metadata/timestamp.json".to_owned(),
        format!("metadata/{}.snapshot.json", numbers.1),
        format!("metadata/{}.targets.json", numbers.0),
    ];
    for path in names.iter().map(|name| site.path(name)) {
        let bytes = fs::read(&path).expect("it is there");
        // Every place, with bits that differ from place to place.
        for place in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[place] ^= 1 << (place % 8);
            fs::write(&path, &flipped).expect("written");
            let mut trust = crate::Trust::pin(site.writer.root()).expect("a root");
            let taken = crate::verifier::bring_forward(&mut trust, &site.transport(), noon()).await;
            let found = trust.catalogue();
            let is_same = taken.is_ok() && found == good;
            assert!(is_same || found.upgrades.is_empty(), "{path:?} at {place}");
        }
        fs::write(&path, &bytes).expect("written");
    }
}
