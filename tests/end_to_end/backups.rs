//! The server's database is restored from a backup, or replaced by an empty one, under a running fleet: it heals by itself, or
//! stops with what to do. Nodes serve on, run nothing else, and nothing counts that is not so.

mod nodes;

use crate::harness::{Boxes, Bundle, Caller, Node, NodeOptions, System, until, until_ok};
use client::PublisherKeys;
use model::api::{Event, PauseRequest, Phase, PublicRequest, RetireRequest};
use model::ids::Version;
use repository::{RepositoryWriter, RoleType};
use std::path::{Path, PathBuf};

/// The database's files and the signed metadata, as they were copied while the server was stopped.
struct Backup(PathBuf);

fn files_of(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let is_database = |path: &PathBuf| {
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        name.starts_with("udb.sqlite")
    };
    paths.filter(is_database).collect()
}

fn remove_database(data: &Path) {
    for file in files_of(data) {
        std::fs::remove_file(file).expect("removed");
    }
}

fn copy_database(from: &Path, to: &Path) {
    remove_database(to);
    for file in files_of(from) {
        std::fs::copy(&file, to.join(file.file_name().expect("a name"))).expect("copied");
    }
    let metadata = |folder: &Path| folder.join("repository/metadata");
    if to.join("repository").exists() {
        std::fs::remove_dir_all(metadata(to)).expect("removed");
    }
    std::fs::create_dir_all(metadata(to)).expect("a folder");
    for entry in std::fs::read_dir(metadata(from)).expect("a folder") {
        let file = entry.expect("an entry");
        std::fs::copy(file.path(), metadata(to).join(file.file_name())).expect("copied");
    }
}

impl Backup {
    /// Backs the database up.
    fn of(system: &mut System) -> Self {
        let folder = system.folder().join("backup");
        std::fs::create_dir_all(&folder).expect("a folder");
        system.server.changed(|data| copy_database(data, &folder));
        Self(folder)
    }

    /// Puts it in the place of the database, under the fleet that runs.
    fn restore(&self, system: &mut System) {
        system.server.changed(|data| copy_database(&self.0, data));
    }
}

fn events(system: &System, kind: &str) -> Vec<Event> {
    let mut events = system.events();
    events.retain(|event| event.kind == kind);
    events
}

/// Waits until the server knows that it was set back: in a new epoch, and paused with what to do.
fn until_found(system: &System, epoch: u64) {
    until("the server to find that it was set back", || {
        let view = system.view();
        let pause = view.paused?;
        assert!(pause.reason.contains("upstart resume"), "{}", pause.reason);
        (view.epoch != epoch).then_some(())
    });
    let told = events(system, "system.set_back");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].message.contains("upstart resume"), "{told:?}");
}

/// The keys of a publisher who has seen nothing of what was signed before.
fn another_publisher(system: &System) -> PublisherKeys {
    let keys = system.keys().folder;
    let folder = system.folder().join("another-publisher");
    std::fs::create_dir(&folder).expect("a folder");
    let key = "publisher-1.pem";
    std::fs::copy(keys.join(key), folder.join(key)).expect("copied");
    PublisherKeys {
        folder,
        commands: Vec::new(),
        root: Some(keys.join("1.root.json")),
    }
}

fn renew(system: &System) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let folder = system.server.data().join("repository");
        let writer = RepositoryWriter::open(&folder).await.expect("there");
        let signers = system.keys().signers().expect("keys");
        let now = jiff::Timestamp::now();
        let signed = writer
            .sign_renewal(&[RoleType::Targets], None, &signers, now)
            .await;
        system
            .client
            .sign(&signed.expect("signed"))
            .await
            .expect("taken");
    });
}

fn resume(system: &System) {
    system.ask(system.client.resume());
}

/// The node serves members of this version.
fn serves(system: &System, node: &Node, number: u16, system_id: u64, version: u32) {
    let port = system.port(number);
    let mut caller = Caller::labelled(port, system_id, version).expect("connected");
    let name = &node.options.name;
    caller.put(name, i64::from(version)).expect("stored");
    assert_eq!(caller.get(name).expect("answered"), Some(version.into()));
}

fn approved(version: u32) -> Bundle {
    Boxes::version(version).schedule("approval = true").bundle()
}

/// Settled at version 2, from a backup without it.
fn behind(names: &[&str]) -> (System, Vec<Node>, Backup) {
    let mut system = System::with(&Boxes::version(1).bundle());
    let numbers = 1..;
    let nodes: Vec<Node> = (names.iter().zip(numbers))
        .map(|(name, number)| system.settled_box(name, number, 1))
        .collect();
    let backup = Backup::of(&mut system);
    system.publish(&Boxes::version(2).bundle());
    for node in &nodes {
        system.until_settled(node, 2);
    }
    (system, nodes, backup)
}

#[test]
fn of_before_version_2_nodes_stay_at_it_until_the_same_folder_is_published_again() {
    let (mut system, nodes, backup) = behind(&["a", "b"]);
    let (id, epoch) = (system.view().system_id, system.view().epoch);
    let pids: Vec<i32> = nodes.iter().map(Node::running_child).collect();
    backup.restore(&mut system);
    until_found(&system, epoch);
    for (node, number) in nodes.iter().zip(1..) {
        let fact = system.until_fact(node, "told that the server lags", |fact| {
            let reason = fact.report.status.reason.as_deref().unwrap_or_default();
            reason.contains("does not know upgrade 2.1")
        });
        assert_eq!(fact.report.status.version, Version(2));
        assert!(fact.report.status.phase == Phase::Settled, "{fact:?}");
        for version in [1, 2] {
            serves(&system, node, number, id, version);
        }
        until("the event", || {
            let events = system.events_of(node, "node.server_lags");
            (!events.is_empty()).then_some(())
        });
    }
    assert_eq!(system.view().disagreeing.len(), 2);

    // Other contents do not get the number that nodes run.
    let other = Boxes::version(2).bundle().file("notes.txt", "other");
    let refused = system.try_publish(&other, false).expect_err("another");
    assert!(
        refused.to_string().contains("signed with other contents"),
        "{refused}"
    );

    system.publish(&Boxes::version(2).bundle());
    for node in &nodes {
        system.until_fact(node, "agreed with", |fact| {
            fact.report.status.reason.is_none()
        });
    }
    assert!(system.view().disagreeing.is_empty());
    system.publish(&Boxes::version(3).bundle());
    for (node, pid) in nodes.iter().zip(pids) {
        system.until_staged(node, 3);
        assert_eq!(node.running_child(), pid, "its software did not notice");
    }
    resume(&system);
    for node in &nodes {
        system.until_settled(node, 3);
    }
}

#[test]
fn of_before_a_node_settled_it_is_heard_where_it_is() {
    let mut system = System::with(&Boxes::version(1).bundle());
    let node = system.settled_box("a", 1, 1);
    system.publish(&approved(2));
    system.until_staged(&node, 2);
    let backup = Backup::of(&mut system);
    system.approve(2, None);
    system.until_settled(&node, 2);
    let (pid, epoch) = (node.running_child(), system.view().epoch);
    let last = system.events().last().expect("events").sequence;
    backup.restore(&mut system);
    until_found(&system, epoch);
    system.until_settled(&node, 2);
    // Whoever follows the history from its last number misses nothing.
    assert!(events(&system, "system.set_back")[0].sequence > last);
    assert!(system.view().permits.is_empty());
    assert_eq!(node.running_child(), pid);
    system.publish(&Boxes::version(3).bundle());
    system.until_staged(&node, 3);
    resume(&system);
    system.until_settled(&node, 3);
}

#[test]
fn of_before_an_upgrade_was_withdrawn_it_stays_withdrawn() {
    let mut system = System::with(&Boxes::version(1).bundle());
    let node = system.settled_box("a", 1, 1);
    system.publish(&approved(2));
    system.until_staged(&node, 2);
    let backup = Backup::of(&mut system);
    system.withdraw(Version(2));
    until("it to be dropped", || {
        let events = system.events_of(&node, "node.unstaged");
        (!events.is_empty()).then_some(())
    });
    let epoch = system.view().epoch;
    backup.restore(&mut system);
    until_found(&system, epoch);
    assert!(system.view().upgrades[1].withdrawn);
    system.publish(&Boxes::version(3).from(1).dialect(2).bundle());
    resume(&system);
    system.until_settled(&node, 3);
}

#[test]
fn of_before_a_retirement_nobody_is_promised_the_old_version_again() {
    let mut system = System::with(&Boxes::version(1).bundle());
    let node = system.settled_box("a", 1, 1);
    system.publish(&Boxes::version(2).bundle());
    system.until_settled(&node, 2);
    let backup = Backup::of(&mut system);
    let id = system.view().system_id;
    let version = Version(2);
    let public = PublicRequest {
        service: None,
        version,
    };
    system.ask(system.client.set_public(&public));
    let retire = RetireRequest {
        version: Version(1),
        close: true,
    };
    until_ok("the retirement to begin", || {
        system.try_ask(system.client.retire(&retire))
    });
    let retired = |system: &System| {
        until("the retirement to end", || {
            (system.view().retired_through == Version(1)).then_some(())
        });
    };
    retired(&system);
    let epoch = system.view().epoch;
    backup.restore(&mut system);
    until_found(&system, epoch);
    retired(&system);
    serves(&system, &node, 1, id, 2);
    let mut old = Caller::labelled(system.port(1), id, 1).expect("connected");
    assert!(old.get("a").is_err(), "a retired version was answered");
    let mut outside = Caller::unlabelled(system.port(1), 2).expect("connected");
    outside.get("a").expect("served at the public version");
}

#[test]
fn of_before_a_pause_nobody_leaves_before_an_operator_has_looked() {
    let mut system = System::with(&Boxes::version(1).bundle());
    let node = system.settled_box("a", 1, 1);
    let backup = Backup::of(&mut system);
    let reason = "not now".to_owned();
    system.ask(system.client.pause(&PauseRequest { reason }));
    let two = Boxes::version(2).bundle();
    system.publish(&two);
    system.until_staged(&node, 2);
    let epoch = system.view().epoch;
    backup.restore(&mut system);
    until_found(&system, epoch);
    system.publish(&two);
    system.until_fact(&node, "held by the pause", |fact| {
        let reason = fact.report.status.reason.as_deref().unwrap_or_default();
        reason.contains("was set back")
    });
    assert_eq!(system.fact("a").report.status.version, Version(1));
    resume(&system);
    system.until_settled(&node, 2);
}

#[test]
fn of_before_an_approval_it_is_asked_for_again() {
    let mut system = System::with(&Boxes::version(1).bundle());
    let first = system.settled_box("a", 1, 1);
    let second = system.settled_box("b", 2, 1);
    system.publish(&approved(2));
    for node in [&first, &second] {
        system.until_staged(node, 2);
    }
    let backup = Backup::of(&mut system);
    system.approve(2, Some(&first));
    system.until_settled(&first, 2);
    let epoch = system.view().epoch;
    backup.restore(&mut system);
    until_found(&system, epoch);
    system.until_settled(&first, 2);
    resume(&system);
    system.until_fact(&second, "waiting for an approval", |fact| {
        let reason = fact.report.status.reason.as_deref().unwrap_or_default();
        reason.contains("approv")
    });
    assert!(system.view().approvals.is_empty());
    system.approve(2, None);
    system.until_settled(&second, 2);
}

#[test]
fn of_before_a_public_version_moved_callers_are_served_as_they_were() {
    let mut system = System::with(&Boxes::version(1).bundle());
    let node = system.settled_box("a", 1, 1);
    system.publish(&Boxes::version(2).bundle());
    system.until_settled(&node, 2);
    let backup = Backup::of(&mut system);
    let version = Version(2);
    let public = PublicRequest {
        service: None,
        version,
    };
    system.ask(system.client.set_public(&public));
    let port = system.port(1);
    until_ok("callers to be served at version 2", || {
        Caller::unlabelled(port, 2)?.put("x", 5)
    });
    let epoch = system.view().epoch;
    backup.restore(&mut system);
    until_found(&system, epoch);
    assert_eq!(system.view().public["box/data"], version);
    let mut caller = Caller::unlabelled(port, 2).expect("connected");
    assert_eq!(caller.get("x").expect("answered"), Some(5));
}

#[test]
fn another_folder_that_was_published_as_version_2_meanwhile_is_refused_and_told() {
    let (mut system, mut nodes, backup) = behind(&["a", "b"]);
    let id = system.view().system_id;
    for node in &mut nodes {
        node.end_agent();
    }
    let pid = nodes[0].running_child();
    backup.restore(&mut system);
    let other = Boxes::version(2).bundle().file("notes.txt", "other");
    let keys = another_publisher(&system);
    let published = system.try_publish_with(&keys, &other, false);
    let published = published.expect("published");
    nodes[0].start_agent();
    let fact = system.until_fact(&nodes[0], "told that the server differs", |fact| {
        let reason = fact.report.status.reason.as_deref().unwrap_or_default();
        reason.contains("the server has another upgrade 2.1 than the one that this node has")
    });
    assert_eq!(fact.report.status.version, Version(2));
    assert_eq!(nodes[0].running_child(), pid);
    serves(&system, &nodes[0], 1, id, 2);
    until("the event", || {
        let events = system.events_of(&nodes[0], "node.server_differs");
        (!events.is_empty()).then_some(())
    });
    let shown = system.view().disagreeing;
    assert_eq!(shown[0].node, "a");
    let there = shown[0].disagreement.published.clone();
    assert_eq!(there, Some(published.manifest_sha256));
    // Nobody goes to that version 2 beside it: a node that joins stays at version 1.
    resume(&system);
    let third = system.node(NodeOptions::new("c", system.port(3)));
    system.until_fact(&third, "kept from it", |fact| {
        let reason = fact.report.status.reason.as_deref().unwrap_or_default();
        reason.contains("a has another upgrade 2.1")
            && fact.report.status.version == Version(1)
            && fact.report.status.staged == Version(2)
    });

    // What to do: the database back once more, what the nodes run first, the other one as the next version.
    backup.restore(&mut system);
    nodes[1].start_agent();
    system.publish(&Boxes::version(2).bundle());
    // Whoever has seen the other history goes on from where this one is longer.
    renew(&system);
    for node in &nodes {
        system.until_fact(node, "agreed with", |fact| {
            fact.report.status.reason.is_none() && fact.report.status.version == Version(2)
        });
    }
    // What was only staged gives way.
    resume(&system);
    system.until_settled(&third, 2);
    let two = system.view().upgrades[1].manifest_sha256.clone();
    let holds = system.fact("c").report.holds;
    assert!(
        holds.iter().any(|held| held.manifest_sha256 == two),
        "{holds:?}"
    );
    assert!(system.view().disagreeing.is_empty());
}

#[test]
fn an_empty_database_is_filled_by_publishing_the_same_folders_and_nobody_counts_as_forgotten() {
    let (mut system, mut nodes, _) = behind(&["a", "b"]);
    let (id, pid) = (system.view().system_id, nodes[0].running_child());
    let numbers = [system.fact("a").node, system.fact("b").node];
    system.server.changed(remove_database);
    nodes[0].until_said("This server knows no system");
    for (node, number) in nodes.iter().zip(1..) {
        serves(&system, node, number, id, 2);
    }
    // One of them is rebooted meanwhile.
    nodes[1].end_agent();
    nodes[1].stop_software();
    nodes[1].start_agent();
    until_ok("the software to serve", || {
        Caller::labelled(system.port(2), id, 2)?.get("b")
    });
    system.publish(&Boxes::version(1).bundle());
    until("the nodes to come", || {
        (system.view().nodes.len() == 2).then_some(())
    });
    assert_eq!(
        system.view().system_id,
        id,
        "the nodes have brought it along"
    );
    assert_eq!([system.fact("a").node, system.fact("b").node], numbers);
    assert_eq!(events(&system, "system.set_back").len(), 1);
    system.publish(&Boxes::version(2).bundle());
    for node in &nodes {
        system.until_fact(node, "agreed with", |fact| {
            fact.report.status.reason.is_none() && fact.report.status.version == Version(2)
        });
        let log = node.log();
        assert!(!log.contains("forgotten by an operator"), "{log}");
    }
    assert_eq!(nodes[0].running_child(), pid);
    system.publish(&Boxes::version(3).bundle());
    resume(&system);
    for node in &nodes {
        system.until_settled(node, 3);
    }
}

#[test]
fn a_server_that_is_only_started_again_stays_in_its_epoch() {
    let mut system = System::with(&Boxes::version(1).bundle());
    let mut node = system.settled_box("a", 1, 1);
    let epoch = system.view().epoch;
    assert_ne!(epoch, 0);
    for _ in 0..2 {
        system.server.restart();
        node.kill_agent();
        node.start_agent();
        system.publish(&Boxes::version(2).bundle());
        system.until_settled(&node, 2);
    }
    let view = system.view();
    assert_eq!((view.epoch, view.paused), (epoch, None));
    assert!(events(&system, "system.set_back").is_empty());
    let fresh = system.node(NodeOptions::new("b", system.port(2)));
    system.until_settled(&fresh, 2);
}
