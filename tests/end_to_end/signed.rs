//! Nodes run what publishers have signed, whoever has the server; and what they run goes on, whatever is the matter with signatures.

use crate::harness::{Boxes, Caller, NodeOptions, System, until, until_ok};
use client::PublisherKeys;
use model::ids::Version;
use model::manifest::Manifest;
use repository::{
    PublicKey, RepositoryWriter, RoleRule, RoleType, RootChange, Signer, SystemIdentity, make_key,
    sign_first,
};
use std::future::Future;
use std::path::{Path, PathBuf};

fn wait<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(work)
}

fn repository(system: &System) -> PathBuf {
    system.server.data().join("repository")
}

fn server_key(system: &System) -> Vec<Signer> {
    Signer::read(&system.server.data().join("server.pem")).expect("the server's key")
}

/// The keys of somebody who has the server's machine, and has begun its repository anew for the same system and version 1.
fn steal(system: &System, folder: &Path, number: u64) -> PublisherKeys {
    std::fs::create_dir(folder).expect("a folder");
    let own = make_key(&folder.join("publisher-1.pem")).expect("a key");
    let theirs = repository::read_public_key(&system.server.data().join("server.pem"));
    let rule = |role, key: &PublicKey| RoleRule {
        role,
        keys: vec![key.clone()],
        threshold: 1,
    };
    let theirs = theirs.expect("a key");
    let rules = [
        rule(RoleType::Root, &own),
        rule(RoleType::Targets, &own),
        rule(RoleType::Snapshot, &theirs),
        rule(RoleType::Timestamp, &theirs),
    ];
    let identity = SystemIdentity {
        name: system.view().system,
        number,
    };
    let manifests = repository(system).join("targets/upgrades");
    let first = std::fs::read_dir(manifests)
        .expect("there")
        .next()
        .expect("version 1");
    let first = std::fs::read_to_string(first.expect("an entry").path()).expect("text");
    let first = Manifest::parse(&first).expect("a manifest");
    std::fs::rename(repository(system).join("metadata"), folder.join("honest")).expect("moved");
    let now = jiff::Timestamp::now();
    wait(async {
        let mut signers = Signer::read(folder).expect("keys");
        let begun = sign_first(&identity, &rules, &signers, now)
            .await
            .expect("signed");
        std::fs::write(folder.join("1.root.json"), &begun.root).expect("written");
        signers.extend(server_key(system));
        let writer = RepositoryWriter::begin(&repository(system), &begun, &signers, now).await;
        let mut writer = writer.expect("begun");
        writer
            .publish(&first, false, &signers, now)
            .await
            .expect("signed");
    });
    PublisherKeys {
        folder: folder.to_owned(),
        commands: Vec::new(),
        root: Some(folder.join("1.root.json")),
    }
}

#[test]
fn a_thief_of_the_servers_machine_has_nothing_run_that_publishers_have_not_signed() {
    let mut system = System::with(&Boxes::version(1).bundle());
    let mut node = system.settled_box("a", 1, 1);
    let number = system.view().system_id;
    let thief = steal(&system, &system.folder().join("thief"), number);
    system.server.restart();
    let published = system.try_publish_with(&thief, &Boxes::version(2).bundle(), false);
    published.expect("the server is the thief's");
    let told = until("the node to tell", || {
        system.events_of(&node, "node.distrusts").pop()
    });
    assert!(
        told.message.contains("serves on with what it has"),
        "{told:?}"
    );
    until("the status to say so too", || {
        let remarks = system.fact("a").report.remarks;
        remarks.into_iter().find(|remark| *remark == told.message)
    });
    // Neither now, nor when everything starts again.
    node.end_agent();
    node.stop_software();
    node.start_agent();
    until_ok("the software to serve again", || {
        system.member(system.port(1), 1)?.put("apples", 1)
    });
    assert_eq!(system.fact("a").report.status.staged, Version(1));
    // Nor at a node that is new, if it was told whom to trust.
    let mut options = NodeOptions::new("b", system.port(2));
    options.root = Some(system.keys().folder.join("1.root.json"));
    let new = system.node(options);
    until("the new node to tell", || {
        system.events_of(&new, "node.distrusts").pop()
    });
    assert_eq!(system.fact("b").report.status.bundle, None);
}

#[test]
fn metadata_that_has_expired_holds_up_what_is_new_and_nothing_else() {
    let mut system = System::with(&Boxes::version(1).bundle());
    let mut node = system.settled_box("a", 1, 1);
    system.server.kill();
    let signers = Signer::read(&system.keys().folder).expect("keys");
    let past = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(72);
    wait(async {
        let writer = RepositoryWriter::open(&repository(&system)).await;
        let mut writer = writer.expect("there");
        let signed = writer
            .sign_renewal(&[RoleType::Root], Some(1), &signers, past)
            .await;
        let (signed, own) = (signed.expect("signed"), server_key(&system));
        let taken = writer.take_signed(&signed, &own, past).await;
        taken.expect("taken");
    });
    system.server.resume();
    until("the server to say so", || {
        let mut events = system.events().into_iter();
        events.find(|it| it.kind == "repository.expires" && it.message.contains("root has expired"))
    });
    system.publish(&Boxes::version(2).bundle());
    let told = until("the node to tell", || {
        system.events_of(&node, "node.distrusts").pop()
    });
    assert!(told.message.contains("expired"), "{told:?}");
    node.end_agent();
    node.stop_software();
    node.start_agent();
    until_ok("the software to serve again", || {
        system.member(system.port(1), 1)?.put("apples", 1)
    });
    wait(async {
        let writer = RepositoryWriter::open(&repository(&system))
            .await
            .expect("there");
        let now = jiff::Timestamp::now();
        let signed = writer
            .sign_renewal(&[RoleType::Root], None, &signers, now)
            .await;
        system
            .client
            .sign(&signed.expect("signed"))
            .await
            .expect("taken");
    });
    system.until_settled(&node, 2);
}

#[test]
fn nodes_follow_a_publishers_new_key_and_forget_the_old_one() {
    let system = System::with(&Boxes::version(1).bundle());
    let node = system.settled_box("a", 1, 1);
    let keys = system.keys();
    let old = system.folder().join("old");
    std::fs::create_dir(&old).expect("a folder");
    std::fs::copy(keys.folder.join("publisher-1.pem"), old.join("old.pem")).expect("copied");
    let new = make_key(&keys.folder.join("publisher-2.pem")).expect("a key");
    let old_key = repository::read_public_key(&old.join("old.pem")).expect("a key");
    let change = RootChange {
        add: vec![(RoleType::Targets, new)],
        remove: vec![old_key.id],
        thresholds: Vec::new(),
    };
    wait(async {
        let writer = RepositoryWriter::open(&repository(&system))
            .await
            .expect("there");
        let signers = keys.signers().expect("keys");
        let now = jiff::Timestamp::now();
        let signed = writer
            .sign_rotation(&change, &signers, now)
            .await
            .expect("signed");
        system.client.sign(&signed).await.expect("taken");
    });
    let second = Boxes::version(2).bundle();
    let lost = PublisherKeys {
        folder: old,
        commands: Vec::new(),
        root: Some(keys.folder.join("1.root.json")),
    };
    let refused = system
        .try_publish_with(&lost, &second, false)
        .expect_err("the old key");
    assert!(refused.to_string().contains("got 0"), "{refused}");
    system.publish(&second);
    system.until_settled(&node, 2);
}

#[test]
fn a_server_with_a_new_key_seals_again_when_the_root_trusts_it() {
    let mut system = System::with(&Boxes::version(1).bundle());
    let node = system.settled_box("a", 1, 1);
    let stolen = system.server.changed(|data| {
        let file = data.join("server.pem");
        let stolen = repository::read_public_key(&file).expect("a key");
        std::fs::remove_file(&file).expect("removed");
        stolen
    });
    let second = Boxes::version(2).bundle();
    let refused = system
        .try_publish(&second, false)
        .expect_err("nobody seals");
    assert!(refused.to_string().contains("snapshot"), "{refused}");
    wait(async {
        let view = system.client.repository().await.expect("answers");
        let new = PublicKey::parse(&view.server_key).expect("a key");
        let change = RootChange {
            add: vec![
                (RoleType::Snapshot, new.clone()),
                (RoleType::Timestamp, new),
            ],
            remove: vec![stolen.id],
            thresholds: Vec::new(),
        };
        let writer = RepositoryWriter::open(&repository(&system))
            .await
            .expect("there");
        let signers = system.keys().signers().expect("keys");
        let now = jiff::Timestamp::now();
        let signed = writer
            .sign_rotation(&change, &signers, now)
            .await
            .expect("signed");
        system.client.sign(&signed).await.expect("taken");
    });
    system.publish(&second);
    system.until_settled(&node, 2);
}

#[test]
fn a_node_that_has_lost_what_it_trusted_goes_on_and_takes_nothing_new() {
    let system = System::with(&Boxes::version(1).bundle());
    let mut node = system.settled_box("a", 1, 1);
    node.end_agent();
    node.stop_software();
    let trusted = node.data.join("trusted.json");
    std::fs::write(&trusted, "damaged").expect("written");
    node.start_agent();
    until_ok("the software to serve again", || {
        system.member(system.port(1), 1)?.put("apples", 1)
    });
    system.publish(&Boxes::version(2).bundle());
    let told = until("the node to tell", || {
        system.events_of(&node, "node.distrusts").pop()
    });
    assert!(told.message.contains("is damaged"), "{told:?}");
    assert_eq!(system.fact("a").report.status.version, Version(1));
    std::fs::remove_file(&trusted).expect("removed");
    system.until_settled(&node, 2);
}

#[test]
fn a_view_that_is_older_than_what_the_node_has_is_not_followed_at_a_start() {
    let mut system = System::with(&Boxes::version(1).bundle());
    let id = system.view().system_id;
    let mut node = system.settled_box("a", 1, 1);
    let (view, old) = (
        node.data.join("from-server/view.json"),
        system.folder().join("old"),
    );
    std::fs::copy(&view, &old).expect("copied");
    system.publish(&Boxes::version(2).bundle());
    system.until_settled(&node, 2);
    node.end_agent();
    node.stop_software();
    system.server.kill();
    std::fs::copy(&old, &view).expect("set back");
    node.start_agent();
    until_ok("the software to serve again", || {
        Caller::labelled(system.port(1), id, 2)?.put("apples", 1)
    });
    assert!(node.data.join("versions/2.1/bundle").exists());
}

#[test]
fn a_root_of_another_system_is_refused_by_a_node_that_trusts_one() {
    let system = System::with(&Boxes::version(1).bundle());
    let other = System::with(&Boxes::version(1).bundle());
    let mut node = system.settled_box("a", 1, 1);
    node.end_agent();
    node.options.root = Some(other.keys().folder.join("1.root.json"));
    node.start_agent();
    let told = until("the node to tell", || {
        system.events_of(&node, "node.distrusts").pop()
    });
    assert!(told.message.contains("not of system"), "{told:?}");
    assert!(system.member(system.port(1), 1).is_ok());
}

/// The server has lost its folder `repository` and its database: publishing would begin another system of the same name, whose upgrades no
/// node of the first one takes, and the root that nodes are to be given would be gone.
#[test]
fn nobody_begins_another_system_with_the_keys_of_one_by_accident() {
    let mut system = System::with(&Boxes::version(1).bundle());
    let number = system.view().system_id;
    let root = system.keys().folder.join("1.root.json");
    let pinned = std::fs::read(&root).expect("a root");
    system.server.changed(|data| {
        let kept = ["authority.pem", "server.pem", "token"].map(|name| data.join(name));
        for entry in std::fs::read_dir(data)
            .expect("the server's data")
            .flatten()
        {
            let path = entry.path();
            if path.is_dir() {
                std::fs::remove_dir_all(path).expect("lost");
            } else if !kept.contains(&path) {
                std::fs::remove_file(path).expect("lost");
            }
        }
    });
    let refused = system.try_publish(&Boxes::version(1).bundle(), false);
    let refused = refused.expect_err("refused").to_string();
    assert!(
        refused.contains(&format!("(number {number}) were published")),
        "{refused}"
    );
    assert_eq!(std::fs::read(&root).expect("a root"), pinned);
    assert_eq!(system.view().system, "");
    let known = system.keys().folder.join(format!("trusted-{number}.json"));
    std::fs::remove_file(known).expect("removed");
    system.publish(&Boxes::version(1).bundle());
    assert_ne!(system.view().system_id, number);
}
