//! Signed labels: who is given their keys, and who changes what is done about them.

use crate::callers::{Caller, invited, node, over_tls, started};
use crate::support::{kind, report};
use model::api::{LabelMode, LabelsAction, LabelsRequest, MembersRequest, Principal, Role};

/// The keys for labels are given to nodes, each over its own connection, and to nobody else; only an admin changes what is done.
#[tokio::test]
async fn keys_for_labels_are_given_to_nodes_only_and_changed_by_admins_only() {
    let (site, server) = started().await;
    let (a, enrolled) = node(&server, "a").await;
    a.tell(&enrolled, "a", report(1)).await.expect("heard");
    let sign = LabelsRequest {
        action: LabelsAction::Sign,
    };
    let mut operators = Vec::new();
    for (name, role) in [("ann", Role::Publisher), ("bob", Role::Admin)] {
        let token = invited(&server, Principal::operator(name), Some(role)).await;
        let operator = Caller::new(&server, &token);
        operator.log_in().await.expect("invited");
        operators.push(operator);
    }
    let [ann, bob] = &operators[..] else {
        panic!("two")
    };
    let refused = ann.client.change_labels(&sign).await;
    assert_eq!(kind(refused), "/problems/forbidden");
    assert_eq!(
        kind(a.client.change_labels(&sign).await),
        "/problems/forbidden"
    );
    let view = bob.client.change_labels(&sign).await.expect("an admin");
    assert_eq!((view.mode, view.signing), (LabelMode::Sign, Some(1)));
    assert_eq!(ann.client.labels().await.expect("all look"), view);
    let none = MembersRequest::default();
    let told = a.client.members(enrolled.node, &none, None).await;
    let order = told.expect("its own list").labels.expect("an order");
    let key = &order.keys[0].key;
    assert_eq!(key.len(), 64);
    // Nothing that people are shown has it.
    let shown = [
        format!("{:?}", ann.client.labels().await.expect("answers")),
        format!("{:?}", ann.client.system().await.expect("answers")),
        format!(
            "{:?}",
            ann.client.events(None, None, None).await.expect("answers")
        ),
        format!("{order:?}"),
    ];
    for text in shown {
        assert!(!text.contains(key), "{text}");
    }
    let others = ann.client.members(enrolled.node, &none, None).await;
    assert_eq!(kind(others), "/problems/forbidden");
    // It is there after a restart.
    server.stop().await;
    let server = site.start().await;
    let a = Caller {
        client: over_tls(&server, None),
        ..a
    };
    a.client.show(a.own().credential().expect("readable"));
    let told = a.client.members(enrolled.node, &none, None).await;
    assert_eq!(told.expect("its own list").labels, Some(order));
    server.stop().await;
}
