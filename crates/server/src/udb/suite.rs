//! What every backend must do: run for each of them.

use super::{
    Change, ChangeSet, DeliveryLease, EventSelection, HeldPermit, KeptText, KeyRecord,
    MissedCommits, ServerLife, SignedLabels, StoppedClass, Stored, StoredWebhook, Udb, UdbError,
    WebhookChange, WebhookPlace,
};
use model::api::{
    Approval, Event, IdentityFact, InvitationFact, LabelMode, LabelOrder, LabelSecret, NodeFact,
    NodeReport, OnceFact, OnceState, Pause, PermitFact, Role, UpgradeSummary, WebhookRequest,
    WebhookSecret,
};
use model::bundle::UpgradeFile;
use model::ids::{NodeId, PermitId, Revision, Version};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Runs the suite; each call of `open` opens the same database again.
pub(crate) async fn run<U: Udb, F: Future<Output = U>>(open: impl Fn() -> F) {
    let udb = open().await;
    assert_eq!(
        udb.load().await,
        Ok(Stored::default()),
        "a new one is empty"
    );
    everything_comes_back(&udb).await;
    drop(udb);
    let udb = open().await;
    let stored = udb.load().await.expect("loads");
    let again = expected(udb.is_shared());
    assert_eq!(stored, again, "and after opening it again");
    conflicts_change_nothing(&udb, &stored).await;
    a_commit_happens_wholly_or_not_at_all(&udb, &stored).await;
    what_ends_is_gone(&udb).await;
    numbers_never_fall(&udb).await;
    history_comes_by_pages(&udb).await;
    what_another_commits_is_noticed(&udb, &open().await).await;
    some_entries_are_looked_for(&open().await).await;
}

/// A commit on this generation.
pub(crate) fn commit(expected: u64, changes: Vec<Change>) -> ChangeSet {
    ChangeSet {
        expected,
        generation: expected + 1,
        view: expected + 10,
        changes,
    }
}

/// An entry of the history.
pub(crate) fn event(sequence: u64, message: &str) -> Change {
    Change::Event(Event {
        sequence,
        at_ms: 1,
        author: "suite".to_owned(),
        proven: sequence
            .is_multiple_of(2)
            .then(|| "operator:suite".to_owned()),
        node: Some("n1".to_owned()),
        kind: "suite.event".to_owned(),
        version: sequence.is_multiple_of(2).then_some(Version(2)),
        message: message.to_owned(),
    })
}

pub(crate) async fn everything_comes_back(udb: &impl Udb) {
    let changes = vec![
        Change::System {
            name: "store".to_owned(),
            id: 7,
        },
        Change::Life(life(1, None)),
        Change::Life(life(4, Some(9))),
        Change::Node(Arc::new(node(5, "n5"))),
        Change::Forget(NodeId(5), "n5".to_owned()),
        Change::Publish {
            summary: summary(),
            proved: proved(),
        },
        Change::Text(kept()),
        Change::Text(kept()),
        Change::Withdraw(Version(1)),
        Change::Public("a/b".to_owned(), Some(Version(1))),
        Change::Public("a/b".to_owned(), Some(Version(2))),
        Change::Public("a/c".to_owned(), Some(Version(2))),
        Change::Public("a/c".to_owned(), None),
        Change::Pause(Some(pause())),
        Change::Labels(Some(labels())),
        Change::Stopped([stopped("web"), stopped("db")].into()),
        Change::Stopped([stopped("db")].into()),
        Change::Once(vec![once(1), once(2)]),
        Change::Once(vec![once(3)]),
        Change::Approve(approval()),
        Change::Node(Arc::new(node(1, "n1"))),
        Change::NodeQuietly(Arc::new(node(2, "n2"))),
        Change::NodeHeard(Arc::new(heard())),
        Change::Permit(permit(4)),
        Change::Retiring(Version(3)),
        Change::Retired(Version(2)),
        Change::Identity(Arc::new(identity("node:a", 1))),
        Change::Identity(Arc::new(identity("node:a", 2))),
        Change::Invitation(Arc::new(invitation("used up"))),
        Change::Invitation(Arc::new(invitation("open"))),
        Change::EndInvitation("used up".to_owned()),
        Change::Webhook(WebhookChange::Set(Arc::new(webhook("gone", "before")))),
        Change::Webhook(WebhookChange::Place(webhook_place("gone", 1))),
        Change::Webhook(WebhookChange::End("gone".to_owned())),
        Change::Webhook(WebhookChange::Set(Arc::new(webhook("ops", "before")))),
        Change::Webhook(WebhookChange::Set(Arc::new(webhook("ops", "after")))),
        Change::Webhook(WebhookChange::Place(webhook_place("ops", 1))),
        Change::Webhook(WebhookChange::Place(webhook_place("ops", 2))),
        event(1, "first"),
        Change::Key(key()),
    ];
    udb.commit(commit(0, changes)).await.expect("commits");
    assert_eq!(udb.load().await, Ok(expected(udb.is_shared())));
    assert_eq!(udb.generation().await, Ok(1));
    let text = udb.text(&kept().sha256).await;
    assert_eq!(text, Ok(Some(kept().text)));
    assert_eq!(udb.text("system").await, Ok(None), "no text of ours");
}

async fn conflicts_change_nothing(udb: &impl Udb, before: &Stored) {
    for stale in [0, 2] {
        let late = udb.commit(commit(stale, vec![Change::Pause(None)])).await;
        assert_eq!(late, Err(UdbError::Conflict));
    }
    assert_eq!(udb.load().await.as_ref(), Ok(before));
}

async fn a_commit_happens_wholly_or_not_at_all(udb: &impl Udb, before: &Stored) {
    let twice = vec![Change::Pause(None), event(1, "a sequence number twice")];
    let refused = udb.commit(commit(1, twice)).await;
    assert!(matches!(refused, Err(UdbError::Failed(_))), "{refused:?}");
    assert_eq!(udb.load().await.as_ref(), Ok(before));
}

async fn what_ends_is_gone(udb: &impl Udb) {
    let mut confirmed = permit(5);
    confirmed.expires_at_ms = None;
    let changes = vec![
        Change::Forget(NodeId(2), "n2".to_owned()),
        Change::EndPermit(PermitId(4)),
        Change::Permit(confirmed.clone()),
        Change::Pause(None),
        Change::Labels(None),
        Change::ForgetKeysBefore(100),
    ];
    udb.commit(commit(1, changes)).await.expect("commits");
    let stored = udb.load().await.expect("loads");
    assert_eq!(stored.nodes.keys().collect::<Vec<_>>(), [&NodeId(1)]);
    assert_eq!(stored.permits, BTreeMap::from([(PermitId(5), confirmed)]));
    assert_eq!((stored.paused, stored.keys), (None, Vec::new()));
    assert_eq!(stored.labels, None, "no key is left");
}

async fn numbers_never_fall(udb: &impl Udb) {
    let changes = vec![
        Change::Forget(NodeId(1), "n1".to_owned()),
        Change::EndPermit(PermitId(5)),
    ];
    udb.commit(commit(2, changes)).await.expect("commits");
    let stored = udb.load().await.expect("loads");
    assert!(stored.nodes.is_empty() && stored.permits.is_empty());
    assert_eq!(
        (stored.last_node, stored.last_permit),
        (NodeId(5), PermitId(5))
    );
}

/// Two servers over one database: neither commits on what it has not read, and what it missed leads to what is stored.
async fn what_another_commits_is_noticed(one: &impl Udb, other: &impl Udb) {
    let before = one.load().await.expect("loads");
    assert_eq!(other.load().await.as_ref(), Ok(&before));
    let at = before.generation;
    assert_eq!(one.since(at).await, Ok(MissedCommits::Nothing));
    let changes = vec![Change::Pause(Some(pause())), event(6, "a\0b")];
    let (first, second) = (commit(at, changes.clone()), commit(at + 1, Vec::new()));
    other.commit(first).await.expect("commits");
    other.commit(second).await.expect("commits");
    let late = one.commit(commit(at, vec![Change::Pause(None)])).await;
    assert_eq!(late, Err(UdbError::Conflict));
    let missed = one.since(at).await.expect("reads");
    if let MissedCommits::Commits(commits) = &missed {
        let told: Vec<_> = commits.iter().map(|of| (of.generation, of.view)).collect();
        assert_eq!(told, [(at + 1, at + 10), (at + 2, at + 11)]);
        assert_eq!(commits[0].changes, changes);
    } else {
        assert_eq!(
            (missed, one.is_shared()),
            (MissedCommits::Everything, false)
        );
    }
    assert_eq!(one.load().await, other.load().await);
    let next = one.commit(commit(at + 2, vec![event(7, "next")])).await;
    next.expect("goes on");
    let last = one.events(5, 9).await.expect("reads");
    assert_eq!(last.len(), 2);
    assert_eq!(last[0].message, "a\0b");
}

async fn history_comes_by_pages(udb: &impl Udb) {
    let more = (2..=5).map(|sequence| event(sequence, "more")).collect();
    udb.commit(commit(3, more)).await.expect("commits");
    let sequences = async |after, limit| -> Vec<u64> {
        let page = udb.events(after, limit).await.expect("reads");
        page.iter().map(|event| event.sequence).collect()
    };
    assert_eq!(sequences(0, 2).await, [1, 2]);
    assert_eq!(sequences(2, 9).await, [3, 4, 5]);
    assert!(sequences(5, 9).await.is_empty());
    assert!(sequences(u64::MAX, 9).await.is_empty());
    let backwards = async |before, limit| -> Vec<u64> {
        let page = udb.events_before(before, limit).await.expect("reads");
        page.iter().map(|event| event.sequence).collect()
    };
    assert_eq!(backwards(u64::MAX, 2).await, [5, 4]);
    assert_eq!(backwards(4, 9).await, [3, 2, 1]);
    assert!(backwards(1, 9).await.is_empty());
    let first = udb.events(0, 1).await.expect("reads");
    assert_eq!(Change::Event(first[0].clone()), event(1, "first"));
    let forgetting = commit(4, vec![Change::ForgetEventsBefore(4)]);
    udb.commit(forgetting).await.expect("commits");
    assert_eq!(sequences(0, 9).await, [4, 5]);
    assert_eq!(udb.load().await.map(|stored| stored.last_event), Ok(5));
}

/// What a message says makes no other entry of it.
async fn some_entries_are_looked_for(udb: &impl Udb) {
    let Change::Event(plain) = event(0, "") else {
        unreachable!("an event is one");
    };
    let about = |sequence, node: &str, version, message: &str| {
        Change::Event(Event {
            sequence,
            node: Some(node.to_owned()),
            kind: format!("looked.{sequence}"),
            version: Some(Version(version)),
            message: message.to_owned(),
            ..plain.clone()
        })
    };
    let lies = "\"node\":\"a\"b\",\"kind\":\"looked.\",\"version\":2,";
    let added = vec![
        about(106, "a\"b", 2, "x"),
        about(107, "a", 22, lies),
        about(108, "a\"b", 22, "z"),
    ];
    // Whoever commits has read first.
    let at = udb.load().await.expect("reads").generation;
    udb.commit(commit(at, added)).await.expect("commits");
    let found = async |node: Option<&str>, kind: &str, version: Option<u32>| -> Vec<u64> {
        let selection = EventSelection {
            node: node.map(str::to_owned),
            kind: kind.to_owned(),
            version: version.map(Version),
        };
        let page = udb.events_selected(selection, 109, 2).await.expect("reads");
        page.iter().map(|event| event.sequence).collect()
    };
    assert_eq!(found(None, "", None).await, [108, 107]);
    assert_eq!(found(Some("a\"b"), "", None).await, [108, 106]);
    assert_eq!(found(Some("a"), "looked", None).await, [107]);
    assert_eq!(found(None, "looked.", Some(2)).await, [106]);
    assert_eq!(found(None, "looked.107", Some(2)).await, [0; 0]);
}

/// That a node was heard is stored where other servers are to know it.
fn expected(is_shared: bool) -> Stored {
    let last_heard = if is_shared { heard() } else { node(2, "n2") };
    Stored {
        generation: 1,
        view: 10,
        system: Some(("store".to_owned(), 7)),
        lives: vec![life(1, None), life(4, Some(9))],
        forgotten: [(NodeId(5), "n5".to_owned())].into(),
        upgrades: [((Version(1), Revision(1)), summary())].into(),
        texts: [kept().sha256].into(),
        withdrawn: [Version(1)].into(),
        public: [("a/b".to_owned(), Version(2))].into(),
        paused: Some(pause()),
        labels: Some(labels()),
        stopped: [stopped("db")].into(),
        once: vec![once(3)],
        approvals: vec![approval()],
        nodes: [(NodeId(1), node(1, "n1")), (NodeId(2), last_heard)].into(),
        permits: [(PermitId(4), permit(4))].into(),
        retiring_through: Version(3),
        retired_through: Version(2),
        last_node: NodeId(5),
        last_permit: PermitId(4),
        last_event: 1,
        identities: [identity("node:a", 2)]
            .map(|fact| (fact.principal.clone(), fact))
            .into(),
        invitations: [("open".to_owned(), invitation("open"))].into(),
        webhooks: [("ops".to_owned(), webhook("ops", "after"))].into(),
        webhook_places: [("ops".to_owned(), webhook_place("ops", 2))].into(),
        keys: vec![key()],
    }
}

fn webhook(name: &str, template: &str) -> StoredWebhook {
    StoredWebhook {
        name: name.to_owned(),
        number: 1,
        request: WebhookRequest {
            to: WebhookSecret("https://example.org/\"quoted\"".to_owned()),
            template: Some(template.to_owned()),
            ..WebhookRequest::default()
        },
        author: "suite".to_owned(),
        changed_at_ms: 1,
    }
}

fn webhook_place(name: &str, through: u64) -> WebhookPlace {
    WebhookPlace {
        name: name.to_owned(),
        epoch: (1 << 53) - 1,
        through,
        trouble: Some("a\0b".to_owned()),
        lease: Some(DeliveryLease {
            holder: 3,
            until_ms: 4,
        }),
        ..WebhookPlace::default()
    }
}

fn kept() -> KeptText {
    KeptText {
        sha256: "ab".repeat(32),
        text: "a text\n\"quoted\", with a \0".to_owned(),
    }
}

fn proved() -> Arc<model::bundle::Upgrade> {
    let text = "system = \"store\"\nversion = 1\n[class.a]\nsoftware = { command = [\"true\"] }\nlifecycle.probe = { alive_ms = 1 }";
    let file = UpgradeFile::parse(text).expect("reads");
    Arc::new(file.prove(&BTreeMap::new()).expect("proves"))
}

fn summary() -> UpgradeSummary {
    UpgradeSummary {
        version: Version(1),
        from: Version(0),
        revision: Revision(1),
        manifest_sha256: "00".repeat(32),
        description: "with \"quotes\" and ünïcode".to_owned(),
        withdrawn: false,
        published_at_ms: 3,
        author: "suite".to_owned(),
    }
}

fn labels() -> SignedLabels {
    let secret = LabelSecret {
        generation: 3,
        key: "ab".repeat(32),
    };
    SignedLabels {
        mode: LabelMode::Demand,
        order: LabelOrder::new(5, true, Some(3), vec![secret]),
    }
}

fn once(attempts: u32) -> OnceFact {
    OnceFact {
        version: Version(1),
        revision: Revision(2),
        name: "finish".to_owned(),
        state: OnceState::Failed,
        attempts,
        node: "a".to_owned(),
        at_ms: 7,
        why: "busy".to_owned(),
    }
}

fn stopped(class: &str) -> StoppedClass {
    StoppedClass {
        version: Version(1),
        class: class.to_owned(),
    }
}

fn pause() -> Pause {
    Pause {
        reason: "lunch".to_owned(),
        author: "suite".to_owned(),
        since_ms: 1,
    }
}

fn approval() -> Approval {
    Approval {
        version: Version(1),
        revision: Revision(1),
        class: None,
        node: Some("n1".to_owned()),
        author: "suite".to_owned(),
        at_ms: 1,
    }
}

fn node(number: u32, name: &str) -> NodeFact {
    NodeFact {
        node: NodeId(number),
        name: name.to_owned(),
        class: "a".to_owned(),
        attributes: [("region".to_owned(), "here".to_owned())].into(),
        host: "host".to_owned(),
        data_directory: "/data".to_owned(),
        report: NodeReport {
            connections: [(Version(1), 3)].into(),
            counters: [("calls.past".to_owned(), u64::from(u32::MAX))].into(),
            ..NodeReport::default()
        },
        seen_at_ms: 1,
        reachable: true,
        settled_at_ms: 1,
        steady_since_ms: 1,
        retry: 2,
        ..NodeFact::default()
    }
}

fn identity(principal: &str, counter: u64) -> IdentityFact {
    IdentityFact {
        principal: principal.parse().expect("a principal"),
        role: None,
        key: "00ff".to_owned(),
        counter,
        shown: 1,
        certified_at_ms: 5,
        expires_at_ms: 6,
        revoked_at_ms: Some(7),
        networks: vec!["10.0.0.0/8".parse().expect("a network")],
        ended_keys: vec!["0123".to_owned()],
        counts_from_ms: 4,
    }
}

fn invitation(digest: &str) -> InvitationFact {
    InvitationFact {
        digest: digest.to_owned(),
        principal: "operator:ann".parse().expect("a principal"),
        role: Some(Role::Viewer),
        networks: Vec::new(),
        expires_at_ms: 9,
        key: Some("00ff".to_owned()),
    }
}

fn heard() -> NodeFact {
    NodeFact {
        seen_at_ms: 9,
        ..node(2, "n2")
    }
}

fn life(number: u64, lost: Option<u64>) -> ServerLife {
    ServerLife {
        number,
        epoch: (1 << 53) - 1,
        life: 3,
        began_at: 1,
        lost,
    }
}

fn permit(number: u64) -> HeldPermit {
    HeldPermit {
        fact: PermitFact {
            permit: PermitId(number),
            node: NodeId(1),
            version: Version(2),
            revision: Revision(1),
            group: "a".to_owned(),
            confirmed: false,
            since_ms: 5,
        },
        expires_at_ms: Some(99),
    }
}

fn key() -> KeyRecord {
    KeyRecord {
        key: "k".to_owned(),
        fingerprint: "f".to_owned(),
        reply: serde_json::json!({"permit": 4}),
        at_ms: 2,
    }
}
