//! Several servers whose artifacts, and what is signed, lie in an OCI registry: it may be away, be cleared of garbage, or be damaged, and a
//! server may begin with an empty disk.

use crate::harness::{Boxes, Caller, NodeOptions, OciRegistry, Postgres, System, upstart};
use client::{Client, ClientError};
use model::manifest::Digest;
use std::path::Path;

#[test]
fn artifacts_in_a_registry_outlive_its_outages_its_garbage_and_a_servers_disk() {
    let test = "artifacts_in_a_registry_outlive_its_outages_its_garbage_and_a_servers_disk";
    let (Some(postgres), Some(mut registry)) =
        (Postgres::start(test), OciRegistry::start_with_tls(test))
    else {
        return;
    };
    let mut system = System::start_elsewhere(&postgres.url(), &registry.place());
    system.publish(&Boxes::version(1).bundle());
    let node = system.node(NodeOptions::new("a", system.port(1)));
    system.until_settled(&node, 1);
    let text = std::fs::read(system.folder().join("bundle-0/software/box.py"));
    let text = text.expect("published");
    assert!(registry.blob(Digest::of(&text)).exists(), "it lies there");
    for folder in ["repository", "server/repository/artifacts"] {
        let folder = system.folder().join(folder);
        assert!(!folder.exists(), "and in no folder");
    }
    registry.collect_garbage();
    // Its database is elsewhere, too: it has nothing but the keys that all servers have.
    system.others[0].changed(empty_but_for_keys);
    for server in [&system.server, &system.others[0]] {
        finds_everything(&system, &server.url(), &text);
    }
    registry.kill();
    let away = system.try_ask(system.client.artifact(&Digest::of(&text).to_string(), 0));
    told(away.map(drop), 503, "see that the registry runs");
    let second = Boxes::version(2).bundle();
    let refused = system.try_publish(&second, false).expect_err("away");
    assert!(refused.to_string().contains("ask again"), "{refused}");
    let mut caller = Caller::labelled(system.port(1), system.view().system_id, 1).expect("serves");
    caller.put("apples", 1).expect("nodes go on");
    system.server.restart();
    registry.resume();
    system.publish(&second);
    system.until_settled(&node, 2);
    let mut caller = Caller::labelled(system.port(1), system.view().system_id, 2).expect("serves");
    assert_eq!(caller.get("apples").expect("answered"), Some(1));
}

/// What a server has lost with its disk.
fn empty_but_for_keys(data: &Path) {
    for entry in std::fs::read_dir(data).expect("reads").flatten() {
        let path = entry.path();
        let is_key = path.extension().is_some_and(|ending| ending == "pem");
        if path.is_dir() {
            std::fs::remove_dir_all(path).expect("removed");
        } else if !is_key && entry.file_name() != "token" {
            std::fs::remove_file(path).expect("removed");
        }
    }
    assert!(data.join("server.pem").exists());
}

/// Artifacts, and the system that is signed there.
fn finds_everything(system: &System, server: &str, text: &[u8]) {
    let one = Client::new(&[server.to_owned()], None).expect("a client");
    let end = system.ask(end_of(&one, Digest::of(text), 7));
    assert_eq!(end, text[7..], "from {server}");
    let signed = system.ask(one.repository()).system;
    let there = signed.map(|signed| signed.system_id);
    assert_eq!(there, Some(system.view().system_id), "at {server}");
}

#[test]
fn a_blob_that_is_damaged_in_the_registry_is_refused_by_its_digest() {
    let test = "a_blob_that_is_damaged_in_the_registry_is_refused_by_its_digest";
    let Some(mut registry) = OciRegistry::start(test) else {
        return;
    };
    let system = System::start_with_options(&["--artifacts", &registry.address()]);
    system.publish(&Boxes::version(1).bundle());
    let text = std::fs::read(system.folder().join("bundle-0/software/box.py"));
    let whole = text.expect("published");
    let blob = registry.blob(Digest::of(&whole));
    let mut damaged = whole.clone();
    damaged[0] ^= 1;
    std::fs::write(&blob, damaged).expect("damaged");
    let node = system.node(NodeOptions::new("a", system.port(1)));
    node.until_said("something else came than");
    std::fs::remove_file(&blob).expect("removed");
    // It forgets what it remembers of blobs.
    registry.kill();
    registry.resume();
    system.publish(&Boxes::version(1).bundle());
    system.until_settled(&node, 1);
    // A site without a network gets everything, wherever it lies.
    let archive = system.folder().join("box.tar");
    let exported = upstart()
        .args(["export", "--server", &system.server.url(), "--keys"])
        .arg(system.keys().folder)
        .arg(&archive)
        .output()
        .expect("runs");
    assert!(exported.status.success(), "{exported:?}");
    let exported = std::fs::read(archive).expect("exported");
    let name = Digest::of(&whole).to_string();
    let is_there = |part: &[u8]| exported.windows(part.len()).any(|window| window == part);
    assert!(is_there(name.as_bytes()) && is_there(&whole), "{name}");
}

/// An artifact from this byte on.
async fn end_of(client: &Client, digest: Digest, from: u64) -> Result<Vec<u8>, ClientError> {
    let mut body = client.artifact(&digest.to_string(), from).await?;
    let mut found = Vec::new();
    while let Some(chunk) = body.chunk().await? {
        found.extend_from_slice(&chunk);
    }
    Ok(found)
}

fn told(answer: Result<(), ClientError>, status: u16, what: &str) {
    let error = answer.expect_err("refused");
    assert_eq!(error.status(), Some(status), "{error}");
    assert!(error.to_string().contains(what), "{error}");
}
