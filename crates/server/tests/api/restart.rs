//! What a server promised it still knows after a restart.

use crate::support::{Running, Site, bundle, report, staged};
use model::api::{ApproveRequest, PauseRequest, PublicRequest, VerdictAnswer};
use model::ids::{NodeId, PermitId, Revision, Version};
use server::ServerError;

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
async fn a_repository_that_lost_a_file_is_told_at_the_start() {
    let site = Site::new();
    let server = site.start().await;
    let summary = server
        .publish(&bundle(1, ""), false)
        .await
        .expect("published");
    server.stop().await;
    let artifacts = site.data.path().join("server/repository/artifacts");
    std::fs::remove_file(artifacts.join(&summary.manifest_sha256)).expect("removed");
    let started = server::Server::bind(site.config()).await;
    let error = started.err().expect("refused");
    assert!(error.to_string().contains("version 1"), "{error}");
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

#[tokio::test]
async fn an_old_artifact_that_is_gone_keeps_nobody_from_starting() {
    let site = Site::new();
    let server = site.start().await;
    server
        .publish(&bundle(1, ""), false)
        .await
        .expect("published");
    server.stop().await;
    let artifacts = site.data.path().join("server/repository/artifacts");
    let lens = model::manifest::Digest::of(b"");
    std::fs::remove_file(artifacts.join(lens.to_string())).expect("removed");
    let server = site.start().await;
    assert_eq!(
        server
            .client
            .system()
            .await
            .expect("answers")
            .upgrades
            .len(),
        1
    );
    server.stop().await;
}
