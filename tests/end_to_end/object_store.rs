//! Several servers whose artifacts lie in a bucket: an object store that is away is told, and what it has lost is put back.

use crate::harness::{Boxes, Caller, NodeOptions, ObjectStore, Postgres, System, until_ok};
use client::{Client, ClientError};
use model::manifest::Digest;

#[test]
fn artifacts_in_a_bucket_are_every_servers_and_an_outage_costs_none() {
    let test = "artifacts_in_a_bucket_are_every_servers_and_an_outage_costs_none";
    let (Some(postgres), Some(mut objects)) = (Postgres::start(test), ObjectStore::start(test))
    else {
        return;
    };
    let mut system = System::start_elsewhere(&postgres.url(), &objects.place());
    system.publish(&Boxes::version(1).bundle());
    let node = system.node(NodeOptions::new("a", system.port(1)));
    system.until_settled(&node, 1);
    assert!(objects.count() > 0, "the artifacts lie there");
    for folder in ["repository", "server/repository/artifacts"] {
        let folder = system.folder().join(folder);
        assert!(!folder.exists(), "and in no folder");
    }
    let text = std::fs::read(system.folder().join("bundle-0/software/box.py"));
    let text = text.expect("published");
    for server in [&system.server, &system.others[0]] {
        let one = Client::new(&[server.url()], None).expect("a client");
        let end = system.ask(end_of(&one, Digest::of(&text), 7));
        assert_eq!(end, text[7..], "from {}", server.url());
    }
    objects.kill();
    let away = system.try_ask(system.client.artifact(&Digest::of(&text).to_string(), 0));
    told(away.map(drop), 503, "s3://shop/artifacts");
    let second = Boxes::version(2).bundle();
    let refused = system.try_publish(&second, false).expect_err("away");
    assert!(refused.to_string().contains("ask again"), "{refused}");
    let mut caller = Caller::labelled(system.port(1), system.view().system_id, 1).expect("serves");
    caller.put("apples", 1).expect("nodes go on");
    system.server.restart();
    objects.resume();
    system.others[0].restart();
    let restarted = Client::new(&[system.others[0].url()], None).expect("a client");
    until_ok("the status to tell what is missing", || {
        let view = system.try_ask(restarted.system());
        let damaged = view.map_err(|error| error.to_string())?.damaged;
        let mut told = damaged.iter();
        let is_told = told.any(|file| file.contains("s3://shop/artifacts/"));
        is_told.then_some(()).ok_or(damaged.join("\n"))
    });
    let gone = system.try_ask(system.client.artifact(&Digest::of(&text).to_string(), 0));
    told(gone.map(drop), 404, "upstart publish DIR");
    system.publish(&Boxes::version(1).bundle());
    assert_eq!(
        system.ask(end_of(&system.client, Digest::of(&text), 0)),
        text
    );
    system.publish(&second);
    system.until_settled(&node, 2);
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
