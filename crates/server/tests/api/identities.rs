//! Who may do what: real servers over TLS, real keys, and those who try what is not theirs.

use crate::callers::{Caller, HOUR_MS, enrolling, invited, node, operator, over_tls, started};
use crate::support::{Running, TOKEN, bundle, kind, question, report};
use client::ClientError;
use identity::PinnedToken;
use model::api::{
    CertifyRequest, Endpoint, EnrolRequest, Event, InviteRequest, Moment, NodeIdentity,
    PauseRequest, Principal, Problem, Role, SyncRequest,
};
use model::ids::{PermitId, Version};
use model::network::Network;
use std::net::IpAddr;
use std::path::Path;

async fn told(server: &Running, kind: &str) -> Vec<Event> {
    let events = server.client.events(None, Some(1_000), None).await;
    let mut events = events.expect("the history").items;
    events.retain(|event| event.kind == kind);
    events
}

fn pause() -> PauseRequest {
    PauseRequest {
        reason: "on purpose".to_owned(),
    }
}

fn detail<T: std::fmt::Debug>(result: Result<T, ClientError>) -> String {
    match result {
        Err(ClientError::Problem(Problem { detail, .. })) => detail,
        other => panic!("not a problem: {other:?}"),
    }
}

#[tokio::test]
async fn a_node_enrols_with_a_one_time_token_and_its_key_says_who_it_is() {
    let (_site, server) = started().await;
    let (a, enrolled) = node(&server, "a").await;
    a.tell(&enrolled, "a", report(1)).await.expect("heard");
    let view = server.client.identities().await.expect("listed");
    assert_eq!((view.identities.len(), view.invitations.len()), (1, 0));
    let fact = &view.identities[0];
    assert_eq!(fact.principal, Principal::node("a"));
    assert_eq!((fact.counter, fact.shown), (1, 1));
    assert_eq!(told(&server, "identity.certified").await.len(), 1);
    server.stop().await;
}

/// Each role does what it may, and gets a refusal that says which role it needs for the rest.
#[tokio::test]
async fn an_operator_does_what_the_role_allows_and_no_more() {
    let (_site, server) = started().await;
    for role in Role::ALL {
        let caller = operator(&server, role.as_str(), role).await;
        let client = &caller.client;
        client.system().await.expect("everybody may look");
        let paused = client.pause(&pause()).await;
        let may_operate = matches!(role, Role::Operator | Role::Admin);
        assert_eq!(paused.is_ok(), may_operate, "{role}: {paused:?}");
        let (digest, bytes) = crate::support::content(10);
        let put = client.put_artifact(&digest, bytes).await;
        let may_publish = matches!(role, Role::Publisher | Role::Admin);
        assert_eq!(put.is_ok(), may_publish, "{role}: {put:?}");
        let listed = client
            .invite(&InviteRequest {
                principal: Principal::node("x"),
                role: None,
                networks: Vec::new(),
                valid_ms: HOUR_MS,
            })
            .await;
        assert_eq!(listed.is_ok(), role == Role::Admin, "{role}: {listed:?}");
        if role != Role::Admin {
            assert!(detail(listed).contains("needs the role admin"));
        }
    }
    let paused = told(&server, "system.paused").await;
    let authors: Vec<&str> = paused.iter().map(|event| event.author.as_str()).collect();
    assert_eq!(authors, ["operator", "admin"], "authors are proven");
    assert_eq!(told(&server, "identity.refused").await.len(), 3);
    server.stop().await;
}

/// What a node's key is good for, tried at every route that is not the node's own.
#[tokio::test]
async fn a_malicious_node_gets_nowhere() {
    let (_site, server) = started().await;
    let (a, mine) = node(&server, "a").await;
    let (_b, other) = node(&server, "b").await;
    let client = &a.client;
    let mut refusals: Vec<(&str, String)> = Vec::new();
    macro_rules! refused {
        ($what:literal, $asked:expr) => {
            refusals.push(($what, kind($asked.await)))
        };
    }
    refused!("look at the system", client.system());
    refused!("read the history", client.events(None, None, None));
    refused!("list the nodes", client.nodes(None, None));
    refused!("look at another node", client.node("b"));
    refused!("pause", client.pause(&pause()));
    refused!("resume", client.resume());
    refused!("forget another node", client.forget("b"));
    refused!("have another node try again", client.retry("b"));
    refused!("break a permit", client.break_permit(PermitId(1)));
    refused!("list identities", client.identities());
    refused!("revoke", client.revoke(&Principal::node("b")));
    let (digest, bytes) = crate::support::content(10);
    refused!("upload", client.put_artifact(&digest, bytes));
    refused!("report as another", a.tell(&other, "b", report(1)));
    refused!("enrol as another", client.enrol(&enrolling("b")));
    let asked = question(1);
    refused!(
        "ask for another's leave",
        client.verdict(other.node, &asked)
    );
    let invite = InviteRequest {
        principal: Principal::operator("a"),
        role: Some(Role::Admin),
        networks: Vec::new(),
        valid_ms: HOUR_MS,
    };
    refused!("invite", client.invite(&invite));
    let mut elsewhere = report(1);
    elsewhere.endpoints = vec![Endpoint {
        version: Version(1),
        service: "data".to_owned(),
        address: IpAddr::from([192, 0, 2, 1]),
        port: 1,
    }];
    refused!("claim an address", a.tell(&mine, "a", elsewhere));
    let mut callers = report(1);
    callers.addresses = vec![IpAddr::from([192, 0, 2, 1])];
    refused!("label from an address", a.tell(&mine, "a", callers));
    for (what, kind) in &refusals {
        assert_eq!(kind, "/problems/forbidden", "{what}");
    }
    // A permit of another node is none of its own, whoever it says that it is.
    let held = client.confirm_permit(PermitId(1)).await;
    assert_eq!(kind(held), "/problems/permit-lost");
    assert_eq!(told(&server, "identity.refused").await.len(), 1);
    a.tell(&mine, "a", report(1)).await.expect("its own");
    server.stop().await;
}

/// What a server does that was set back concerns everybody: no node can make it believe so.
#[tokio::test]
async fn a_node_that_makes_up_a_lost_history_is_not_believed() {
    let (_site, server) = started().await;
    let (a, mine) = node(&server, "a").await;
    let true_moment = mine.moment.expect("the server's history");
    for moment in [
        Moment {
            epoch: 1,
            ..true_moment
        },
        Moment {
            commit: true_moment.commit + 1_000,
            ..true_moment
        },
    ] {
        let lie = SyncRequest {
            identity: Some(NodeIdentity {
                system_id: mine.system_id,
                name: "a".to_owned(),
            }),
            moment: Some(moment),
            remembered: Some(Box::default()),
            report: Some(report(1)),
            ..SyncRequest::default()
        };
        a.client
            .sync(mine.node, &lie, None)
            .await
            .expect("its report");
        let again = EnrolRequest {
            moment: Some(moment),
            remembered: Some(Box::default()),
            ..enrolling("a")
        };
        a.client.enrol(&again).await.expect("the same node");
    }
    assert_eq!(told(&server, "system.set_back").await, []);
    let view = server.client.system().await.expect("answers");
    assert!(view.paused.is_none());
    server.stop().await;
}

/// What somebody can do who has seen a one-time token, or has kept one.
#[tokio::test]
async fn a_one_time_token_is_good_once_for_one_key_and_for_a_while() {
    let (site, server) = started().await;
    let token = invited(&server, Principal::node("a"), None).await;
    let first = Caller::new(&server, &token);
    let asked = EnrolRequest {
        certificate_request: Some(first.request().certificate_request),
        ..enrolling("a")
    };
    // An answer that is lost is asked for again; a second key is not certified meanwhile.
    first.client.enrol(&asked).await.expect("enrolled");
    let thief = Caller::new(&server, &token);
    let stolen = thief.enrol("a").await;
    assert!(detail(stolen).contains("was shown with a second key"));
    first.enrol("a").await.expect("the same key again");
    let late = thief.enrol("a").await;
    assert_eq!(kind(late), "/problems/unauthorized", "used up");
    // For another name, another route, without a key, after its time, and when it was withdrawn.
    let token = invited(&server, Principal::node("b"), None).await;
    let caller = Caller::new(&server, &token);
    assert_eq!(kind(caller.enrol("c").await), "/problems/forbidden");
    assert_eq!(kind(caller.client.system().await), "/problems/forbidden");
    assert_eq!(kind(caller.log_in().await), "/problems/forbidden");
    let keyless = caller.client.enrol(&enrolling("b")).await;
    assert_eq!(kind(keyless), "/problems/invalid");
    site.pass_ms(HOUR_MS + 1);
    assert_eq!(kind(caller.enrol("b").await), "/problems/unauthorized");
    let token = invited(&server, Principal::node("b"), None).await;
    server
        .client
        .revoke(&Principal::node("b"))
        .await
        .expect("withdrawn");
    let caller = Caller::new(&server, &token);
    assert_eq!(kind(caller.enrol("b").await), "/problems/unauthorized");
    server.stop().await;
}

#[tokio::test]
async fn a_revoked_key_gets_nowhere_at_once_on_connections_that_are_open_too() {
    let (_site, server) = started().await;
    let (a, enrolled) = node(&server, "a").await;
    let ann = operator(&server, "ann", Role::Admin).await;
    a.tell(&enrolled, "a", report(1)).await.expect("heard");
    ann.client
        .revoke(&Principal::node("a"))
        .await
        .expect("revoked");
    let told_after = a.tell(&enrolled, "a", report(1)).await;
    assert_eq!(kind(told_after), "/problems/identity-ended");
    let renewed = a.client.certify(&a.request()).await;
    assert_eq!(kind(renewed), "/problems/identity-ended");
    let enrols = a.client.enrol(&enrolling("a")).await;
    assert_eq!(kind(enrols), "/problems/identity-ended");
    // She may revoke herself: then it is over.
    ann.client
        .revoke(&Principal::operator("ann"))
        .await
        .expect("revoked");
    assert_eq!(kind(ann.client.system().await), "/problems/identity-ended");
    // A new invitation takes the node in again, under another key: the one that was revoked is never certified again.
    let token = invited(&server, Principal::node("a"), None).await;
    let same = a.folder;
    let client = over_tls(&server, Some(token.clone()));
    let a = Caller {
        folder: same,
        client,
    };
    assert_eq!(kind(a.enrol("a").await), "/problems/identity-ended");
    let again = Caller::new(&server, &token);
    let enrolled = again.enrol("a").await.expect("taken in again");
    again.tell(&enrolled, "a", report(1)).await.expect("heard");
    a.client.show(a.own().credential().expect("readable"));
    let old = a.tell(&enrolled, "a", report(1)).await;
    assert_eq!(kind(old), "/problems/identity-ended", "the key before");
    server.stop().await;
}

#[tokio::test]
async fn a_forgotten_node_is_told_that_it_is_forgotten() {
    let (_site, server) = started().await;
    let (a, enrolled) = node(&server, "a").await;
    server.client.forget("a").await.expect("forgotten");
    let told = a.tell(&enrolled, "a", report(1)).await;
    assert_eq!(kind(told), "/problems/node-forgotten");
    server.stop().await;
}

#[tokio::test]
async fn a_certificate_is_renewed_with_the_key_also_when_it_has_expired() {
    let (site, server) = started().await;
    let (a, enrolled) = node(&server, "a").await;
    let week_ms = 7 * 24 * HOUR_MS;
    site.pass_ms(week_ms / 2);
    let renewed = a.client.certify(&a.request()).await.expect("renewed");
    assert_eq!(renewed.counter, 2);
    a.keep(&renewed.certificate);
    a.tell(&enrolled, "a", report(1)).await.expect("heard");
    site.pass_ms(2 * week_ms);
    let expired = a.tell(&enrolled, "a", report(1)).await;
    assert_eq!(kind(expired), "/problems/certificate-expired");
    let renewed = a.client.certify(&a.request()).await.expect("by the key");
    assert_eq!(renewed.counter, 3);
    a.keep(&renewed.certificate);
    a.tell(&enrolled, "a", report(1)).await.expect("heard");
    server.stop().await;
}

/// A copy of a node's data directory: the first of the two that renews goes on, the other is found out.
#[tokio::test]
async fn a_copied_key_is_found_when_both_renew() {
    let (_site, server) = started().await;
    let (a, _) = node(&server, "a").await;
    let copy = Caller::new(&server, "unused-token-of-the-copy");
    for file in ["key.pem", "certificate.pem"] {
        std::fs::copy(a.folder.path().join(file), copy.folder.path().join(file)).expect("copied");
    }
    copy.client.show(copy.own().credential().expect("readable"));
    let renewed = a.client.certify(&a.request()).await.expect("renewed");
    a.keep(&renewed.certificate);
    a.client.certificate_is_good().await.expect("shown");
    let copied = copy.client.certify(&copy.request()).await;
    assert_eq!(kind(copied), "/problems/identity-cloned");
    assert_eq!(told(&server, "identity.cloned").await.len(), 1);
    // An answer that was lost is no copy: the newest certificate was never shown.
    a.client.certify(&a.request()).await.expect("lost");
    a.client.certify(&a.request()).await.expect("asked again");
    server.stop().await;
}

/// Another server with the same address, and another authority, is told nothing.
#[tokio::test]
async fn a_malicious_server_is_shown_neither_token_nor_certificate() {
    let (_site, server) = started().await;
    let (a, enrolled) = node(&server, "a").await;
    let token = invited(&server, Principal::node("b"), None).await;
    let (_other_site, other) = started().await;
    let to_other = |token: Option<String>| over_tls(&other, token);
    let client = to_other(None);
    client.show(a.own().credential().expect("readable"));
    let refused = client
        .sync(enrolled.node, &SyncRequest::default(), None)
        .await;
    let said = refused.expect_err("not believed").to_string();
    assert!(
        said.contains("does not show that it is a server of the authority"),
        "{said}"
    );
    let pinned = to_other(Some(token)).system().await;
    let said = pinned.expect_err("not believed").to_string();
    assert!(
        said.contains("does not show that it is a server of the authority"),
        "{said}"
    );
    server.stop().await;
    other.stop().await;
}

/// Where the database is one of yesterday, a node that was enrolled since is taken in again by its certificate.
#[tokio::test]
async fn a_node_that_the_database_has_lost_comes_back_by_its_certificate() {
    let (site, server) = started().await;
    let (a, _) = node(&server, "a").await;
    server.stop().await;
    site.lose_database();
    let server = site.start().await;
    server
        .publish(&bundle(1, ""), false)
        .await
        .expect("published");
    let a = Caller {
        client: over_tls(&server, None),
        ..a
    };
    a.client.show(a.own().credential().expect("readable"));
    let unknown = a.client.certificate_is_good().await;
    assert_eq!(kind(unknown), "/problems/identity-ended");
    let enrolled = a.enrol("a").await.expect("taken in again");
    a.tell(&enrolled, "a", report(1)).await.expect("heard");
    server.stop().await;
}

/// Keys and one-time tokens are there after a restart, and on disk no secret is.
#[tokio::test]
async fn identities_outlive_the_server_and_the_database_knows_no_secret() {
    let (site, server) = started().await;
    let (a, enrolled) = node(&server, "a").await;
    let token = invited(&server, Principal::operator("ann"), Some(Role::Viewer)).await;
    let secret = PinnedToken::of(&token).secret;
    let database = site.data.path().join("server");
    for file in ["udb.sqlite", "udb.sqlite-wal", "udb.sqlite-shm"] {
        assert_private(&database.join(file));
    }
    server.stop().await;
    for file in ["udb.sqlite", "udb.sqlite-wal"] {
        let bytes = std::fs::read(database.join(file)).unwrap_or_default();
        assert!(!holds(&bytes, &secret), "{file}");
        assert!(!holds(&bytes, TOKEN), "{file}");
    }
    let server = site.start().await;
    let a = Caller {
        client: over_tls(&server, None),
        ..a
    };
    a.client.show(a.own().credential().expect("readable"));
    a.tell(&enrolled, "a", report(1)).await.expect("known");
    let ann = Caller::new(&server, &token);
    ann.log_in().await.expect("invited before");
    ann.client.system().await.expect("a viewer looks");
    assert_private(&database.join("authority.pem"));
    server.stop().await;
}

fn holds(bytes: &[u8], secret: &str) -> bool {
    bytes
        .windows(secret.len())
        .any(|window| window == secret.as_bytes())
}

fn assert_private(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path)
        .expect("a file")
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o600, "{}", path.display());
}

/// What is asked for an invitation or a certificate that cannot be.
#[tokio::test]
async fn invitations_and_certificates_are_refused_with_what_is_wrong() {
    let (_site, server) = started().await;
    let invite = |principal: Principal, role: Option<Role>, valid_ms: u64| InviteRequest {
        principal,
        role,
        networks: Vec::new(),
        valid_ms,
    };
    let client = &server.client;
    let invalid = [
        invite(Principal::node("a"), Some(Role::Admin), HOUR_MS),
        invite(Principal::operator("a"), None, HOUR_MS),
        invite(Principal::node("a"), None, 0),
        invite(Principal::node("a"), None, 1_000 * HOUR_MS),
        InviteRequest {
            networks: vec!["10.0.0.0/8".parse::<Network>().expect("a network")],
            ..invite(Principal::operator("a"), Some(Role::Viewer), HOUR_MS)
        },
    ];
    for request in invalid {
        let refused = client.invite(&request).await;
        assert_eq!(kind(refused), "/problems/invalid", "{request:?}");
    }
    let token = invited(&server, Principal::operator("ann"), Some(Role::Viewer)).await;
    let ann = Caller::new(&server, &token);
    let damaged = CertifyRequest {
        certificate_request: "no request".to_owned(),
    };
    let refused = ann.client.certify(&damaged).await;
    assert_eq!(kind(refused), "/problems/invalid");
    ann.log_in().await.expect("logged in");
    let another = Caller::new(&server, "unused-token-of-another");
    let for_another_key = ann.client.certify(&another.request()).await;
    assert_eq!(kind(for_another_key), "/problems/forbidden");
    let nobody = client.revoke(&Principal::node("nobody")).await;
    assert_eq!(kind(nobody), "/problems/unknown-identity");
    server.stop().await;
}

/// The networks of an invitation are a node's own addresses, too.
#[tokio::test]
async fn a_node_tells_of_addresses_in_the_networks_that_it_was_invited_for() {
    let (_site, server) = started().await;
    let request = InviteRequest {
        principal: Principal::node("a"),
        role: None,
        networks: vec!["192.0.2.0/24".parse().expect("a network")],
        valid_ms: HOUR_MS,
    };
    let token = server.client.invite(&request).await.expect("invited").token;
    let a = Caller::new(&server, &token);
    let enrolled = a.enrol("a").await.expect("enrolled");
    let mut there = report(1);
    there.addresses = vec![IpAddr::from([192, 0, 2, 7])];
    a.tell(&enrolled, "a", there).await.expect("its own");
    let mut behind = report(1);
    behind.addresses = vec![IpAddr::from([192, 0, 3, 7])];
    let refused = a.tell(&enrolled, "a", behind).await;
    assert!(detail(refused).contains("192.0.3.7"));
    server.stop().await;
}
