//! To whom the server names a node that serves a bundle, and what it notes of those who ask.

use crate::callers::{Caller, node, started};
use crate::support::{kind, report};
use model::api::{Enrolled, HeldUpgrade, NodeReport, Principal, SourceAnswer, SourceRequest};
use model::ids::{Revision, Version};

/// How many nodes fetch a bundle from the server at once.
const AT_ONCE: usize = 4;

/// The report of a node that serves what it holds.
fn serving(held: Option<&str>) -> NodeReport {
    let held = held.map(|digest| HeldUpgrade {
        version: Version(1),
        revision: Revision(1),
        manifest_sha256: digest.to_owned(),
        in_use: true,
    });
    NodeReport {
        artifacts_at: Some(([127, 0, 0, 1], 7_001).into()),
        addresses: vec![[127, 0, 0, 1].into()],
        holds: held.into_iter().collect(),
        ..report(1)
    }
}

async fn asked(
    (caller, enrolled): &(Caller, Enrolled),
    digest: &str,
) -> Result<SourceAnswer, client::ClientError> {
    let request = SourceRequest {
        manifest_sha256: digest.to_owned(),
        failed: Vec::new(),
        done: false,
    };
    caller.client.source(enrolled.node, &request).await
}

async fn published(server: &crate::support::Running) -> String {
    let view = server.client.system().await.expect("answers");
    view.upgrades[0].manifest_sha256.clone()
}

#[tokio::test]
async fn a_node_whose_key_is_revoked_is_named_to_nobody_and_gets_no_pass() {
    let (_site, server) = started().await;
    let digest = published(&server).await;
    let holder = node(&server, "holder").await;
    let asking = node(&server, "asking").await;
    let (caller, enrolled) = &holder;
    let held = caller
        .tell(enrolled, "holder", serving(Some(&digest)))
        .await;
    held.expect("heard");
    let Ok(SourceAnswer::Node(named)) = asked(&asking, &digest).await else {
        panic!("it is not named");
    };
    assert_eq!(named.node, "holder");
    assert!(!named.pass.is_empty());

    let revoke = async |name: &str| {
        let revoked = server.client.revoke(&Principal::node(name)).await;
        revoked.expect("revoked");
    };
    revoke("holder").await;
    let answer = asked(&asking, &digest).await.expect("answers");
    assert!(matches!(answer, SourceAnswer::Server { .. }), "{answer:?}");
    revoke("asking").await;
    let refused = asked(&asking, &digest).await;
    assert_eq!(kind(refused), "/problems/identity-ended");
    server.stop().await;
}

/// Whoever asks for what does not exist takes no place of those who fetch, nor any memory.
#[tokio::test]
async fn of_what_is_not_published_nothing_is_noted() {
    let (_site, server) = started().await;
    let digest = published(&server).await;
    let mut nodes = Vec::new();
    for number in 0..=AT_ONCE {
        let name = format!("n{number}");
        let (caller, enrolled) = node(&server, &name).await;
        let told = caller.tell(&enrolled, &name, serving(None)).await;
        told.expect("heard");
        nodes.push((caller, enrolled));
    }
    let made_up = "5e".repeat(32);
    for node in &nodes {
        let answer = asked(node, &made_up).await.expect("answers");
        assert!(matches!(answer, SourceAnswer::Server { .. }), "{answer:?}");
    }
    // Of what is published so many fetch, and the last one waits for them.
    for (number, node) in nodes.iter().enumerate() {
        let answer = asked(node, &digest).await.expect("answers");
        let waits = matches!(answer, SourceAnswer::Wait { .. });
        assert_eq!(waits, number == AT_ONCE, "{number}: {answer:?}");
    }
    server.stop().await;
}
