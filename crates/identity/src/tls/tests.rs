//! Who is let in and who is believed, by handshakes in memory.

use super::{client_config, node_client_config, node_server_config, server_config};
use crate::{Authority, CertificateTerms, Credential, CredentialFolder, KeyRequest};
use model::api::Principal;
use rustls::pki_types::ServerName;
use rustls::{
    CipherSuite, ClientConfig, ClientConnection, HandshakeKind, ServerConfig, ServerConnection,
};
use std::sync::Arc;

const HOUR_MS: u64 = 3_600_000;
const NOW_MS: u64 = 1_800_000_000_000;

fn authority() -> (tempfile::TempDir, Authority) {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::open(&folder.path().join("authority.pem")).expect("made");
    (folder, authority)
}

fn certified(authority: &Authority, name: &str, counter: u64, hours: u64) -> Credential {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = CredentialFolder::open(folder.path()).expect("made");
    let request = KeyRequest::read(&folder.request().expect("signed")).expect("a request");
    let terms = CertificateTerms {
        counter,
        now_ms: NOW_MS,
        expires_at_ms: NOW_MS + hours * HOUR_MS,
    };
    let certificate = authority.certify(&request, &Principal::node(name), terms);
    folder
        .keep(&certificate.expect("certified"))
        .expect("of its key")
}

/// Shakes hands in memory; gives what the server sees of the client's certificate.
fn shake(authority: &Authority, client: ClientConfig) -> Result<Option<Vec<u8>>, String> {
    let config = Arc::new(server_config(authority).expect("a configuration"));
    let shaken = shake_with(&config, &Arc::new(client))?;
    Ok(shaken.shown)
}

/// What came of shaking hands.
struct Shaken {
    shown: Option<Vec<u8>>,
    kind: Option<HandshakeKind>,
    suite: Option<CipherSuite>,
}

fn shake_with(config: &Arc<ServerConfig>, client: &Arc<ClientConfig>) -> Result<Shaken, String> {
    let mut server = ServerConnection::new(Arc::clone(config)).expect("a server");
    let name = ServerName::try_from("10.0.0.5").expect("an address");
    let mut client = ClientConnection::new(Arc::clone(client), name).expect("a client");
    // Once more at the end: what the server gives for the next time comes behind the handshake.
    let mut is_over = false;
    while !is_over {
        is_over = !client.is_handshaking() && !server.is_handshaking();
        let mut wire = Vec::new();
        client.write_tls(&mut wire).expect("in memory");
        if !wire.is_empty() {
            server.read_tls(&mut wire.as_slice()).expect("in memory");
        }
        let read = server.process_new_packets();
        let mut wire = Vec::new();
        server.write_tls(&mut wire).expect("in memory");
        if !wire.is_empty() {
            client.read_tls(&mut wire.as_slice()).expect("in memory");
        }
        client
            .process_new_packets()
            .map_err(|error| error.to_string())?;
        read.map_err(|error| error.to_string())?;
    }
    let shown = server
        .peer_certificates()
        .and_then(|shown| shown.first().cloned());
    Ok(Shaken {
        shown: shown.map(|certificate| certificate.to_vec()),
        kind: server.handshake_kind(),
        suite: server.negotiated_cipher_suite().map(|suite| suite.suite()),
    })
}

#[test]
fn whoever_comes_back_goes_on_with_a_session_and_is_known_by_the_same_certificate() {
    let (_folder, authority) = authority();
    let server = Arc::new(server_config(&authority).expect("a configuration"));
    let clients = ["a", "b"].map(|name| {
        let credential = certified(&authority, name, 1, 24);
        Arc::new(client_config(Some(authority.pin()), Some(&credential)).expect("a configuration"))
    });
    let first = clients
        .each_ref()
        .map(|client| shake_with(&server, client).expect("let in"));
    assert!(
        first
            .iter()
            .all(|shaken| shaken.kind == Some(HandshakeKind::Full))
    );
    for _ in 0..3 {
        for (client, first) in clients.iter().zip(&first) {
            let again = shake_with(&server, client).expect("let in");
            assert_eq!(again.kind, Some(HandshakeKind::Resumed));
            assert_eq!(again.shown, first.shown);
        }
    }
    let restarted = Arc::new(server_config(&authority).expect("a configuration"));
    let elsewhere = shake_with(&restarted, &clients[0]).expect("let in");
    assert_eq!(
        elsewhere.kind,
        Some(HandshakeKind::Full),
        "another server's keys"
    );
    assert_eq!(elsewhere.shown, first[0].shown);
}

/// Processors have instructions for all of it.
#[test]
fn what_is_cheapest_is_spoken_with_servers_and_between_nodes() {
    let (_folder, authority) = authority();
    let [a, b] = ["a", "b"].map(|name| certified(&authority, name, 1, 24));
    let server = server_config(&authority).expect("a configuration");
    let client = client_config(Some(authority.pin()), Some(&a)).expect("a configuration");
    let serving = node_server_config(&b).expect("a configuration");
    let fetching = node_client_config(&a, &b.says().key).expect("a configuration");
    for (server, client) in [(server, client), (serving, fetching)] {
        let shaken = shake_with(&Arc::new(server), &Arc::new(client)).expect("let in");
        let cheapest = CipherSuite::TLS13_AES_128_GCM_SHA256;
        assert_eq!(shaken.suite, Some(cheapest));
    }
}

#[test]
fn both_sides_know_each_other_by_the_authority_at_any_address() {
    let (_folder, authority) = authority();
    let anonymous = client_config(Some(authority.pin()), None).expect("a configuration");
    assert_eq!(shake(&authority, anonymous), Ok(None));
    let credential = certified(&authority, "storage-\u{e4}", 7, 24);
    assert_eq!(credential.pin(), authority.pin());
    let client = client_config(Some(authority.pin()), Some(&credential)).expect("a configuration");
    let shown = shake(&authority, client)
        .expect("let in")
        .expect("a certificate");
    let read = crate::PeerCertificate::read(&shown).expect("read");
    assert_eq!(&read, credential.says());
    assert_eq!(read.principal, Principal::node("storage-\u{e4}"));
    assert_eq!(
        (read.counter, read.expires_at_ms),
        (7, NOW_MS + 24 * HOUR_MS)
    );
    assert_eq!(read.renew_at_ms(), NOW_MS + 12 * HOUR_MS);
}

#[test]
fn a_certificate_that_has_expired_still_shows_whose_key_it_is() {
    let (_folder, authority) = authority();
    // Its times are long over, or begin in the future, whatever the host's clock shows.
    let credential = certified(&authority, "n", 1, 0);
    let client = client_config(Some(authority.pin()), Some(&credential)).expect("a configuration");
    assert!(shake(&authority, client).expect("let in").is_some());
}

#[test]
fn another_authoritys_server_is_told_nothing_and_its_nodes_are_not_let_in() {
    let (_folder, mine) = authority();
    let (_other_folder, other) = authority();
    let refused = shake(
        &other,
        client_config(Some(mine.pin()), None).expect("a configuration"),
    );
    assert!(
        refused
            .as_ref()
            .is_err_and(|why| why.contains(super::UNPROVEN)),
        "{refused:?}"
    );
    let credential = certified(&other, "n", 1, 24);
    let client = client_config(Some(mine.pin()), Some(&credential)).expect("a configuration");
    let refused = shake(&mine, client);
    assert!(refused.is_err(), "{refused:?}");
}

/// A node's certificate is none of a server: a node that listens in a server's place is told nothing.
#[test]
fn a_nodes_certificate_makes_no_server() {
    let (_folder, authority) = authority();
    let credential = certified(&authority, "n", 1, 24);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let impostor = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(
            vec![credential.certificate(), authority.certificate().clone()],
            credential.key(),
        )
        .expect("a configuration");
    let mut server = ServerConnection::new(Arc::new(impostor)).expect("a server");
    let config = client_config(Some(authority.pin()), None).expect("a configuration");
    let name = ServerName::try_from("localhost").expect("a name");
    let mut client = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut wire = Vec::new();
    client.write_tls(&mut wire).expect("in memory");
    server.read_tls(&mut wire.as_slice()).expect("in memory");
    server.process_new_packets().expect("a hello");
    let mut wire = Vec::new();
    server.write_tls(&mut wire).expect("in memory");
    client.read_tls(&mut wire.as_slice()).expect("in memory");
    let refused = client.process_new_packets().expect_err("no server");
    assert!(refused.to_string().contains(super::UNPROVEN), "{refused:?}");
}
