//! `upstart forget` of a node that lives, and of one that does not.

use crate::bundles::{FIRST, write};
use crate::upstart::{Server, TOKEN, run};
use client::Client;
use model::api::{ChildState, EnrolRequest, NodeReport, Phase, SyncRequest};
use model::ids::Version;

/// A node that says that it has settled, and asks so rarely that nobody waits to hear it again.
fn heard(server: &Server) {
    let client = Client::new(&[server.url()], Some(TOKEN.to_owned())).expect("a client");
    let enrolment = EnrolRequest {
        name: "a".to_owned(),
        class: "echo".to_owned(),
        data_directory: "/data".to_owned(),
        ..EnrolRequest::default()
    };
    let mut report = NodeReport {
        poll_ms: 60_000,
        ..NodeReport::default()
    };
    report.status.version = Version(1);
    report.status.phase = Phase::Settled;
    report.status.child = ChildState::Running;
    let request = SyncRequest {
        report: Some(report),
        ..SyncRequest::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let node = client.enrol(&enrolment).await.expect("enrolled").node;
        client.sync(node, &request, None).await.expect("reported");
    });
}

/// It resets whoever calls it from then on: nobody does that by mistake.
#[test]
fn a_node_that_is_heard_is_forgotten_only_by_those_who_mean_it() {
    let server = Server::start();
    let folder = server.folder().join("v1");
    write(&folder, FIRST);
    run(server.upstart().arg("publish").arg(&folder)).expect(0);
    heard(&server);
    let refused = run(server.upstart().args(["forget", "a"])).expect_advice(1);
    let said = refused.stderr();
    assert!(
        said.contains("a is heard by the server: settled at version 1"),
        "{said}"
    );
    assert!(said.contains("upstart forget a --even-if-heard"), "{said}");
    run(server.upstart().args(["forget", "a", "--even-if-heard"])).expect(0);
    run(server.upstart().args(["forget", "a"])).expect_advice(1);
}
