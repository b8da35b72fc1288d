//! Keys in files and behind commands, what publishers sign, and the drill.

use super::{KEYS, Site, manifest, noon, place, versions};
use crate::keys::read_private_key;
use crate::{RepositoryWriter, RoleType, RootChange, SignError, Signer, read_public_key};
use model::ids::{Revision, Version};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

#[test]
fn a_key_is_its_owners_alone() {
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("a.pem");
    let made = crate::make_key(&path).expect("a key");
    let mode = std::fs::metadata(&path)
        .expect("a file")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let again = crate::make_key(&path).expect("the same");
    assert_eq!(made, again, "a key that is there is never written over");
    for mode in [0o640, 0o604, 0o602] {
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("a mode");
        let refused = Signer::read(&path).expect_err("others can read it");
        assert!(refused.to_string().contains("others can read"), "{refused}");
        assert!(refused.advice().contains("chmod 600"));
    }
}

#[test]
fn what_is_no_key_is_said() {
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("a.pem");
    let refused = |text: &str| {
        std::fs::write(&path, text).expect("written");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("a mode");
        let private = read_private_key(&path).map(|_| ()).expect_err("no key");
        assert!(matches!(private, SignError::KeyFile { .. }), "{private}");
        read_public_key(&path).expect_err("no key");
    };
    refused("");
    refused("no key");
    refused("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    refused("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n");
    read_public_key(Path::new("/dev/zero")).expect_err("no file");
    read_public_key(&folder.path().join("none")).expect_err("no file");
}

#[tokio::test]
async fn publishers_sign_what_follows_and_nothing_else() {
    let mut site = Site::new().await;
    let all = site.signers(&["alice", "bob", "server"]);
    let writer = &mut site.writer;
    let refused = writer
        .publish(&manifest(2, "two"), false, &all, noon())
        .await;
    assert!(refused.is_err(), "there is no version 1");
    let one = manifest(1, "one");
    let published = writer.publish(&one, false, &all, noon()).await;
    assert_eq!(published.expect("published"), place(1, 1));
    let before = writer.trust().targets.clone().expect("targets").version();
    let again = writer.publish(&one, false, &all, noon()).await;
    assert_eq!(again.expect("the same"), place(1, 1));
    let after = writer.trust().targets.clone().expect("targets").version();
    assert_eq!(before, after, "nothing was signed anew");
    let mended = manifest(1, "mended");
    let refused = writer.publish(&mended, false, &all, noon()).await;
    assert!(refused.is_err(), "it is a revision");
    let revised = writer.publish(&mended, true, &all, noon()).await;
    assert_eq!(revised.expect("revised"), place(1, 2));
    let refused = writer
        .publish(&manifest(2, "two"), true, &all, noon())
        .await;
    assert!(refused.is_err(), "there is nothing to revise");
    writer
        .withdraw(Version(1), &all, noon())
        .await
        .expect("withdrawn");
    writer
        .withdraw(Version(1), &all, noon())
        .await
        .expect("the same");
    let refused = writer.publish(&mended, true, &all, noon()).await;
    assert!(refused.is_err(), "it is withdrawn");
    let mut two = manifest(2, "two");
    let refused = writer.publish(&two, false, &all, noon()).await;
    assert!(refused.is_err(), "it starts from what is withdrawn");
    two.from = Version(0);
    writer
        .publish(&two, false, &all, noon())
        .await
        .expect("published");
    writer
        .withdraw(Version(1), &all, noon())
        .await
        .expect_err("not the newest");
    let catalogue = writer.trust().catalogue();
    assert_eq!(versions(&catalogue), [1, 2]);
    let one = &catalogue.upgrades[&Version(1)];
    assert!(one.withdrawn && one.revisions.contains_key(&Revision(2)));
    let mut other = manifest(3, "three");
    other.system = "stop".to_owned();
    let refused = writer.publish(&other, false, &all, noon()).await;
    assert!(refused.is_err(), "it is of another system");
}

#[tokio::test]
async fn publishers_and_server_sign_in_different_places() {
    let mut site = Site::new().await;
    let publishers = site.signers(&["alice", "bob"]);
    let one = manifest(1, "one");
    let signed = crate::sign_upgrade(site.writer.trust(), &one, false, &publishers, noon()).await;
    let (_, targets) = signed.expect("signed without the server's key");
    let targets = targets.expect("something new");
    let server = site.signers(&["server"]);
    let sealed = site.writer.seal(&targets, &server, noon()).await;
    sealed.expect("sealed without a publisher's key");
    let refused = site
        .writer
        .publish(&manifest(2, "two"), false, &server, noon())
        .await;
    let refused = refused.expect_err("a server publishes nothing");
    assert!(matches!(
        refused,
        SignError::KeysMissing {
            valid: 0,
            threshold: 2,
            ..
        }
    ));
    let mut forged = String::from_utf8(targets).expect("text");
    forged = forged.replace("upgrades/1.1", "upgrades/1.9");
    let refused = site.writer.seal(forged.as_bytes(), &server, noon()).await;
    refused.expect_err("a server seals only what publishers have signed");
}

#[tokio::test]
async fn a_repository_is_begun_once() {
    let site = Site::new().await;
    let signers = Signer::read(site.folder.path()).expect("keys");
    let system = site.writer.trust().system().clone();
    let again = RepositoryWriter::create(site.writer.path(), &system, &[], &signers, noon()).await;
    again.expect_err("a role without keys");
    let standing = site.writer.standing();
    let keys: Vec<_> = standing
        .iter()
        .map(|it| (it.keys.len(), it.threshold))
        .collect();
    assert_eq!(keys, [(3, 2), (2, 2), (1, 1), (1, 1)]);
}

#[tokio::test]
async fn every_key_can_be_lost() {
    let site = Site::new().await;
    let mut signers = site.signers(&KEYS);
    let before = super::files(&site.path("metadata"));
    for key in KEYS {
        let lost = read_public_key(&site.key(key)).expect("a key").id;
        let drilled = crate::drill(&site.writer, &lost, signers, noon()).await;
        let (outcome, left) = drilled.expect("it is no harm");
        assert_eq!((outcome.key, outcome.root), (lost, 2));
        assert_eq!(left.len(), KEYS.len());
        signers = left;
    }
    assert_eq!(super::files(&site.path("metadata")), before);
}

#[tokio::test]
async fn a_drill_says_when_a_key_must_not_be_lost() {
    let site = Site::new().await;
    let lost = read_public_key(&site.key("root-1")).expect("a key").id;
    let signers = site.signers(&["root-1", "root-2"]);
    let drilled = crate::drill(&site.writer, &lost, signers, noon()).await;
    let error = drilled
        .map(|_| ())
        .expect_err("one key is left, two must sign");
    assert!(
        matches!(
            error,
            SignError::KeysMissing {
                valid: 1,
                threshold: 2,
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_change_that_leaves_a_role_without_keys_is_refused() {
    let mut site = Site::new().await;
    let signers = site.signers(&KEYS);
    let id = |site: &Site, key| read_public_key(&site.key(key)).expect("a key").id;
    let changes = [
        (vec![id(&site, "bob")], vec![]),
        (vec![], vec![(RoleType::Targets, 3)]),
        (vec![], vec![(RoleType::Targets, 0)]),
        (vec!["no-key".to_owned()], vec![]),
        (vec![String::new()], vec![]),
    ];
    for (remove, thresholds) in changes {
        let change = RootChange {
            add: Vec::new(),
            remove,
            thresholds,
        };
        let refused = site.writer.rotate(&change, &signers, noon()).await;
        assert!(
            matches!(refused, Err(SignError::Refused { .. })),
            "{change:?}"
        );
    }
    assert_eq!(site.writer.trust().root_version().get(), 1);
}

/// A hardware token is a key that only a command knows: here openssl's.
#[tokio::test]
async fn a_command_signs() {
    let mut site = Site::new().await;
    let key = site.key("token");
    let public = site.key("token-public");
    let openssl = |arguments: &[&str]| Command::new("openssl").args(arguments).output();
    let file = key.display().to_string();
    let made = openssl(&[
        "ecparam",
        "-genkey",
        "-name",
        "prime256v1",
        "-noout",
        "-out",
        &file,
    ]);
    if !made.is_ok_and(|made| made.status.success()) {
        println!("SKIPPED: a_command_signs: openssl is not installed");
        return;
    }
    let public_file = public.display().to_string();
    let told = openssl(&["ec", "-in", &file, "-pubout", "-out", &public_file]);
    assert!(told.expect("openssl runs").status.success());
    let change = RootChange {
        add: vec![(RoleType::Targets, read_public_key(&public).expect("a key"))],
        ..RootChange::default()
    };
    let signers = site.signers(&["root-1", "root-2"]);
    site.writer
        .rotate(&change, &signers, noon())
        .await
        .expect("added");
    let folder = tempfile::tempdir().expect("a directory");
    for (from, to) in [(&public, "token.pem"), (&site.key("alice"), "alice.pem")] {
        std::fs::copy(from, folder.path().join(to)).expect("copied");
    }
    let mut signers = Signer::read(folder.path()).expect("public keys do not sign");
    assert_eq!(signers.len(), 1);
    signers.extend(site.signers(&["server"]));
    signers.push(Signer::Command(format!(
        "openssl dgst -sha256 -sign {file}"
    )));
    let one = manifest(1, "one");
    let published = site.writer.publish(&one, false, &signers, noon()).await;
    published.expect("the command has signed in bob's place");
    assert_eq!(versions(&site.client().await.verifier.catalogue()), [1]);
    for (command, told) in [
        ("false", "failed"),
        ("true", "no signature"),
        ("echo no", "and got 1"),
        ("kill $$", "failed"),
    ] {
        let mut signers = site.signers(&["alice", "server"]);
        signers.push(Signer::Command(command.to_owned()));
        let refused = site
            .writer
            .publish(&manifest(2, "two"), false, &signers, noon())
            .await;
        let refused = refused.expect_err("not signed").to_string();
        assert!(refused.contains(told), "{command}: {refused}");
    }
}

#[tokio::test]
async fn the_drill_asks_commands_too() {
    let site = Site::new().await;
    let id = read_public_key(&site.key("server")).expect("a key").id;
    let signers = vec![Signer::Command("false".to_owned())];
    let drilled = crate::drill(&site.writer, &id, signers, noon()).await;
    let error = drilled.map(|_| ()).expect_err("the command fails");
    assert!(matches!(error, SignError::Command { .. }), "{error}");
}

#[tokio::test]
async fn who_writes_at_the_same_time_does_not_undo_what_the_other_wrote() {
    let mut site = Site::new().await;
    let signers = site.signers(&KEYS);
    let open = RepositoryWriter::open(site.writer.path()).await;
    let mut other = open.expect("a repository");
    let one = manifest(1, "one");
    let published = site.writer.publish(&one, false, &signers, noon()).await;
    published.expect("published");
    for roles in [&[RoleType::Timestamp][..], &[RoleType::Root]] {
        let refused = other.renew(roles, None, &signers, noon()).await;
        let refused = refused.expect_err("it knows nothing of version 1");
        assert!(
            refused.to_string().contains("changed meanwhile"),
            "{refused}"
        );
    }
    let again = RepositoryWriter::open(site.writer.path()).await;
    assert_eq!(
        versions(&again.expect("a repository").trust().catalogue()),
        [1]
    );
}
