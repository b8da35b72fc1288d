//! What a server promised it still knows after a restart.

use crate::support::{Running, Site, bundle, report, staged, until};
use model::api::{ApproveRequest, PauseRequest, PublicRequest, VerdictAnswer};
use model::ids::{NodeId, PermitId, Revision, Version};
use model::manifest::Digest;
use server::ServerError;
use std::path::PathBuf;

/// Makes one change of every kind; answers the number of a confirmed permit.
async fn change_everything(server: &Running, nodes: &[NodeId]) -> PermitId {
    server
        .publish(&bundle(2, "mended"), true)
        .await
        .expect("revised");
    for node in nodes {
        server.report(*node, staged()).await.expect("heard");
    }
    let VerdictAnswer::Go { permit, .. } = server.judge(nodes[0], 2).await else {
        panic!("it may not go");
    };
    server.client.confirm_permit(permit).await.expect("held");
    let approval = ApproveRequest {
        version: Version(2),
        class: None,
        node: None,
    };
    server.client.approve(&approval).await.expect("approved");
    let public = PublicRequest {
        service: None,
        version: Version(2),
    };
    server.client.set_public(&public).await.expect("moved");
    let pause = PauseRequest {
        reason: "restart".to_owned(),
    };
    server.client.pause(&pause).await.expect("paused");
    permit
}

#[tokio::test]
async fn everything_survives_a_restart_and_the_view_goes_on() {
    let site = Site::new();
    let server = site.start().await;
    let nodes = server.populate(&["a", "b"]).await;
    let permit = change_everything(&server, &nodes).await;
    let before = server.client.system().await.expect("answers");
    let history = server
        .client
        .events(None, None, None)
        .await
        .expect("answers");
    server.stop().await;

    site.pass_ms(1_000_000);
    let server = site.start().await;
    let mut after = server.client.system().await.expect("answers");
    for (fact, old) in after.nodes.iter_mut().zip(&before.nodes) {
        assert!(
            fact.reachable,
            "a restart of the server makes nobody unreachable"
        );
        fact.seen_at_ms = old.seen_at_ms;
    }
    assert_eq!(after, before);
    assert_eq!(
        server
            .client
            .events(None, None, None)
            .await
            .expect("answers"),
        history
    );
    server
        .client
        .confirm_permit(permit)
        .await
        .expect("still held");
    server.client.resume().await.expect("resumed");
    assert!(server.client.system().await.expect("answers").view > before.view);
    server
        .report(nodes[1], report(1))
        .await
        .expect("its number is still its own");
    let manifest = server
        .client
        .manifest(Version(2), Revision(2))
        .await
        .expect("there");
    assert!(manifest.contains("mended"));
    server.stop().await;
}

#[tokio::test]
async fn a_remembered_answer_is_remembered_across_a_restart() {
    let site = Site::new();
    let pause = async |url: &str| {
        let request = reqwest::Client::new().post(format!("{url}/v1/pause"));
        let request = request
            .bearer_auth(crate::support::TOKEN)
            .header("Idempotency-Key", "k");
        let answer = request
            .body(r#"{"reason":"lunch"}"#)
            .send()
            .await
            .expect("answers");
        answer.text().await.expect("whole")
    };
    let server = site.start().await;
    let first = pause(&server.url).await;
    server.stop().await;
    site.pass_ms(1000);
    let server = site.start().await;
    assert_eq!(pause(&server.url).await, first);
    server.stop().await;
}

#[tokio::test]
async fn a_directory_serves_one_server_at_a_time() {
    let site = Site::new();
    let server = site.start().await;
    let second = server::Server::bind(site.config()).await;
    assert!(matches!(second.err(), Some(ServerError::InUse(_))));
    server.stop().await;
    site.start().await.stop().await;
}

/// Two versions, and everything of the first one's repository is gone but its metadata.
async fn publish_and_lose(site: &Site, lost: impl Fn(&Digest) -> bool) -> [Digest; 3] {
    let server = site.start().await;
    let summary = (server.publish(&bundle(1, ""), false).await).expect("published");
    (server.publish(&bundle(2, ""), false).await).expect("published");
    server.stop().await;
    let manifest = summary.manifest_sha256.parse().expect("a digest");
    let files = [
        manifest,
        Digest::of(bundle(1, "").as_bytes()),
        Digest::of(b""),
    ];
    for file in files.iter().filter(|file| lost(file)) {
        std::fs::remove_file(artifact(site, *file)).expect("removed");
    }
    files
}

fn artifact(site: &Site, digest: Digest) -> PathBuf {
    let artifacts = site.data.path().join("server/repository/artifacts");
    artifacts.join(digest.to_string())
}

#[tokio::test]
async fn a_text_that_the_repository_has_lost_or_that_is_damaged_is_put_back() {
    let site = Site::new();
    let lens = Digest::of(b"");
    let [manifest, upgrade_file, _] = publish_and_lose(&site, |file| *file != lens).await;
    let server = site.start().await;
    let text = server.client.manifest(Version(1), Revision(1)).await;
    assert_eq!(Digest::of(text.expect("there").as_bytes()), manifest);
    let back = std::fs::read(artifact(&site, upgrade_file)).expect("put back");
    assert_eq!(back, bundle(1, "").as_bytes());
    server.stop().await;
    for file in [manifest, upgrade_file] {
        std::fs::write(artifact(&site, file), "something else").expect("written");
    }
    let placed = site.data.path().join(format!(
        "server/repository/targets/upgrades/{manifest}.1.1.json"
    ));
    std::fs::write(&placed, "something else").expect("written");
    site.start().await.stop().await;
    for file in [manifest, upgrade_file] {
        let back = std::fs::read(artifact(&site, file)).expect("put back");
        assert_eq!(Digest::of(&back), file);
    }
    let back = std::fs::read(&placed).expect("put back");
    assert_eq!(Digest::of(&back), manifest);
}

/// A database of an earlier build has no texts; the first start keeps them.
#[tokio::test]
async fn texts_that_the_database_does_not_have_are_kept_at_a_start() {
    let site = Site::new();
    let [manifest, ..] = publish_and_lose(&site, |_| false).await;
    let forget = || {
        let database = site.data.path().join("server/udb.sqlite");
        let database = rusqlite::Connection::open(database).expect("opens");
        let forget = "DELETE FROM texts WHERE name GLOB 'repository/*'";
        database.execute(forget, []).expect("forgotten")
    };
    assert_eq!(forget(), 4, "a manifest and an upgrade.toml each");
    site.start().await.stop().await;
    std::fs::remove_file(artifact(&site, manifest)).expect("removed");
    site.start().await.stop().await;
    assert!(artifact(&site, manifest).exists());
    // What neither has stops the server, which says what it lacks.
    forget();
    std::fs::remove_file(artifact(&site, manifest)).expect("removed");
    let error = (server::Server::bind(site.config()).await.err()).expect("refused");
    let told = error.to_string();
    assert!(
        told.contains("version 1") && told.contains(&manifest.to_string()),
        "{told}"
    );
}

#[tokio::test]
async fn an_artifact_that_is_gone_keeps_nobody_from_starting_and_is_told_until_it_is_back() {
    let site = Site::new();
    let lens = Digest::of(b"");
    publish_and_lose(&site, |file| *file == lens).await;
    let server = site.start().await;
    let damaged = async || server.client.system().await.expect("answers").damaged;
    let told = until("the server to look", async || {
        damaged().await.into_iter().next()
    });
    let told = told.await;
    let place = artifact(&site, lens);
    for part in ["lens.toml of version 1.1 is missing", "upstart publish DIR"] {
        assert!(told.contains(part), "{told}");
    }
    assert!(told.contains(&place.display().to_string()), "{told}");
    let refused = server.client.artifact(&lens.to_string(), 0).await;
    let refused = refused.expect_err("not there").to_string();
    assert!(
        refused.contains("publish that version's folder again"),
        "{refused}"
    );
    // Its folder is published again.
    let again = server
        .publish(&bundle(1, ""), false)
        .await
        .expect("the same");
    assert_eq!((again.version, again.revision), (Version(1), Revision(1)));
    assert!(place.exists());
    assert_eq!(damaged().await, Vec::<String>::new());
    server.stop().await;
}
