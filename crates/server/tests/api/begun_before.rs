//! Requests that were begun before a key was revoked: what was asked for is not done after it.

use crate::callers::{Caller, node, operator, started};
use crate::support::{Running, kind, report};
use identity::Credential;
use model::api::{NewEvent, NodeIdentity, PauseRequest, Principal, Role, SyncRequest};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;

/// A connection that shows a certificate, for requests that are sent piece by piece.
async fn connected(server: &Running, credential: &Credential) -> TlsStream<TcpStream> {
    let config = identity::client_config(Some(credential.pin()), Some(credential));
    let connector = TlsConnector::from(Arc::new(config.expect("a key")));
    let address = server.url.trim_start_matches("http://");
    let stream = TcpStream::connect(address).await.expect("listens");
    let name = ServerName::try_from("localhost").expect("a name");
    connector.connect(name, stream).await.expect("a server")
}

/// Reads up to the end of a head.
async fn head(stream: &mut TlsStream<TcpStream>) -> String {
    let mut seen = Vec::new();
    while !seen.ends_with(b"\r\n\r\n") {
        seen.push(stream.read_u8().await.expect("a head"));
    }
    String::from_utf8(seen).expect("text")
}

/// A request of which the server has the head, and waits for the body: it has looked at who asks.
async fn begun(
    server: &Running,
    credential: &Credential,
    path: &str,
    length: usize,
) -> TlsStream<TcpStream> {
    let mut stream = connected(server, credential).await;
    let begun = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n\r\n"
    );
    stream.write_all(begun.as_bytes()).await.expect("sent");
    assert!(head(&mut stream).await.starts_with("HTTP/1.1 100 "));
    stream
}

async fn revoke(server: &Running, name: &str) {
    let revoked = server.client.revoke(&Principal::node(name)).await;
    revoked.expect("revoked");
}

fn own(caller: &Caller) -> Credential {
    let credential = caller.own().credential().expect("readable");
    credential.expect("certified")
}

/// The server has looked at who asks, and waits for the rest, which comes when the key does not count any more.
#[tokio::test]
async fn a_request_whose_body_comes_after_the_revocation_does_nothing() {
    let (_site, server) = started().await;
    let (a, enrolled) = node(&server, "a").await;
    let asked = SyncRequest {
        identity: Some(NodeIdentity {
            system_id: enrolled.system_id,
            name: "a".to_owned(),
        }),
        report: Some(report(1)),
        events: vec![NewEvent {
            kind: "node.settled".to_owned(),
            version: None,
            message: "it says so after its end".to_owned(),
            node_at_ms: 0,
        }],
        ..SyncRequest::default()
    };
    let body = serde_json::to_vec(&asked).expect("JSON");
    let path = format!("/v1/nodes/{}/sync", enrolled.node);
    let mut stream = begun(&server, &own(&a), &path, body.len()).await;
    revoke(&server, "a").await;
    stream.write_all(&body).await.expect("sent");
    let answer = head(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    let history = server.client.events(None, None, None).await;
    let told = history.expect("answers").items;
    assert!(
        told.iter().all(|event| event.kind != "node.settled"),
        "{told:?}"
    );
    server.stop().await;
}

/// What a node waits for when it is revoked is told to it no more.
#[tokio::test]
async fn whoever_waits_for_news_when_the_key_is_revoked_gets_none() {
    let (_site, server) = started().await;
    let (a, enrolled) = node(&server, "a").await;
    let identity = Some(NodeIdentity {
        system_id: enrolled.system_id,
        name: "a".to_owned(),
    });
    let first = SyncRequest {
        identity: identity.clone(),
        report: Some(report(1)),
        ..SyncRequest::default()
    };
    let told = a.client.sync(enrolled.node, &first, None).await;
    let view = told.expect("heard").view.expect("the first");
    let waiting = SyncRequest {
        identity,
        seen_view: Some(view.view),
        events: vec![NewEvent {
            kind: "node.waits".to_owned(),
            version: None,
            message: "for news".to_owned(),
            node_at_ms: 0,
        }],
        ..SyncRequest::default()
    };
    let patience = Some(Duration::from_secs(7));
    let waits = a.client.sync(enrolled.node, &waiting, patience);
    let meanwhile = async {
        // Taken in, it waits.
        crate::support::until("the node to wait", async || {
            let history = server.client.events(None, None, None).await.ok()?;
            let mut told = history.items.into_iter();
            told.find(|event| event.kind == "node.waits")
        })
        .await;
        revoke(&server, "a").await;
        let pause = PauseRequest {
            reason: "news".to_owned(),
        };
        server.client.pause(&pause).await.expect("paused");
    };
    let (answer, ()) = tokio::join!(waits, meanwhile);
    assert_eq!(kind(answer), "/problems/identity-ended");
    server.stop().await;
}

/// What a publisher signs is stored without a decision about the state: the signed repository is not changed either.
#[tokio::test]
async fn nothing_is_taken_from_a_publisher_after_the_revocation() {
    let (_site, server) = started().await;
    for (number, path) in [
        "/v1/repository/metadata",
        "/v1/repository/sealed",
        "/v1/repository",
        "/v1/upgrades",
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("pat-{number}");
        let pat = operator(&server, &name, Role::Admin).await;
        let mut stream = begun(&server, &own(&pat), path, 2).await;
        let revoked = server.client.revoke(&Principal::operator(&name)).await;
        revoked.expect("revoked");
        stream.write_all(b"{}").await.expect("sent");
        let answer = head(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{path}: {answer}");
    }
    server.stop().await;
}

/// A viewer who waits for the next entry of the history is not told it.
#[tokio::test]
async fn whoever_waits_for_the_history_when_the_key_is_revoked_is_told_no_more() {
    let (_site, server) = started().await;
    let vic = operator(&server, "vic", Role::Viewer).await;
    let history = vic.client.events(None, None, None).await.expect("answers");
    let waits = vic
        .client
        .events(history.next.as_deref(), None, Some(Duration::from_secs(20)));
    let revoked = async {
        let revoked = server.client.revoke(&Principal::operator("vic")).await;
        revoked.expect("revoked");
    };
    let (told, ()) = tokio::join!(waits, revoked);
    assert_eq!(kind(told), "/problems/identity-ended");
    server.stop().await;
}
