//! Keys that were revoked or replaced: they never come back.

use crate::callers::{Caller, HOUR_MS, enrolling, invited, node, over_tls, started};
use crate::support::{bundle, kind, report};
use model::api::{EnrolRequest, Moment, Principal, Role};

/// A key that the restored database does not know is revoked by name, also where another invitation of the name was used since.
#[tokio::test]
async fn what_is_revoked_after_a_restore_stays_revoked() {
    let (site, server) = started().await;
    let (thief, enrolled) = node(&server, "c").await;
    let renewed = thief
        .client
        .certify(&thief.request())
        .await
        .expect("renewed");
    thief.keep(&renewed.certificate);
    server.stop().await;
    site.lose_database();
    site.pass_ms(HOUR_MS);
    let server = site.start().await;
    let published = server.publish(&bundle(1, ""), false).await;
    published.expect("published");
    let (witness, before) = node(&server, "a").await;
    let lost = Moment {
        epoch: before.moment.expect("a history").epoch + 1,
        ..before.moment.expect("a history")
    };
    let told = EnrolRequest {
        moment: Some(lost),
        remembered: Some(Box::default()),
        ..enrolling("a")
    };
    server.client.enrol(&told).await.expect("set back");
    let c = Principal::node("c");
    server.client.revoke(&c).await.expect("revoked unseen");
    let thief = Caller {
        client: over_tls(&server, None),
        ..thief
    };
    thief
        .client
        .show(thief.own().credential().expect("readable"));
    let ended = "/problems/identity-ended";
    assert_eq!(kind(thief.client.enrol(&enrolling("c")).await), ended);
    let (owner, fresh) = node(&server, "c").await;
    assert_eq!(kind(thief.client.enrol(&enrolling("c")).await), ended);
    assert_eq!(kind(thief.tell(&enrolled, "c", report(1)).await), ended);
    owner.tell(&fresh, "c", report(1)).await.expect("the owner");
    witness.client.certificate_is_good().await.expect("known");
    server.stop().await;
}

/// Neither a replaced key nor that of somebody else comes back with another invitation.
#[tokio::test]
async fn a_key_that_ended_is_never_certified_again_for_anybody() {
    let (_site, server) = started().await;
    let (first, _) = node(&server, "a").await;
    for _ in 0..2 {
        server
            .client
            .revoke(&Principal::node("a"))
            .await
            .expect("revoked");
        let _ = node(&server, "a").await;
    }
    for (principal, role) in [
        (Principal::node("a"), None),
        (Principal::operator("twin"), Some(Role::Viewer)),
    ] {
        let token = invited(&server, principal, role).await;
        let client = over_tls(&server, Some(token));
        let refused = match role {
            Some(_) => kind(client.certify(&first.request()).await),
            None => {
                let asked = EnrolRequest {
                    certificate_request: Some(first.request().certificate_request),
                    ..enrolling("a")
                };
                kind(client.enrol(&asked).await)
            }
        };
        assert_eq!(refused, "/problems/identity-ended");
    }
    server.stop().await;
}
