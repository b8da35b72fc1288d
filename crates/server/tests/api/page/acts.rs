//! What operators do from the page, and who may not.

use super::browser::Browser;
use crate::callers::{operator, started};
use crate::support::{Running, Site, report, staged};
use model::api::{Event, NodeReport, Phase, Role};
use model::ids::Version;
use reqwest::{Method, StatusCode};

async fn events(server: &Running, kind: &str) -> Vec<Event> {
    let events = server.client.events(None, Some(1_000), None).await;
    let mut events = events.expect("the history").items;
    events.retain(|event| event.kind == kind);
    events
}

async fn is_paused(server: &Running) -> bool {
    server.client.system().await.expect("seen").paused.is_some()
}

#[tokio::test]
async fn an_operator_pauses_and_goes_on_under_the_proven_name() {
    let (_site, server) = started().await;
    let ann = operator(&server, "ann", Role::Operator).await;
    let browser = Browser::of(&server, &ann).await;
    let asked = browser.page("/act/pause").await;
    assert!(asked.contains("<code>upstart pause"), "{asked}");
    assert!(!is_paused(&server).await, "asking does nothing");
    let done = browser.act("pause", &[("reason", "a strange smell")]).await;
    assert_eq!(
        (done.status, done.leads_to()),
        (StatusCode::SEE_OTHER, "/?done=pause")
    );
    let fleet = browser.page("/?done=pause").await;
    assert!(fleet.contains("a strange smell") && fleet.contains("role=\"status\""));
    let paused = events(&server, "system.paused").await;
    assert_eq!(paused[0].author, "ann");
    browser.act("resume", &[]).await;
    assert!(!is_paused(&server).await);
    server.stop().await;
}

#[tokio::test]
async fn who_may_only_look_is_offered_nothing_and_gets_nothing() {
    let (_site, server) = started().await;
    for role in [Role::Viewer, Role::Publisher] {
        let caller = operator(&server, role.as_str(), role).await;
        let browser = Browser::of(&server, &caller).await;
        let fleet = browser.get("/").await;
        assert!(!fleet.text.contains("/act/"), "{}", fleet.text);
        let asked = browser.get("/act/pause").await;
        assert_eq!(asked.status, StatusCode::FORBIDDEN);
        let token = fleet.form_token();
        let form = [("form_token", token.as_str()), ("reason", "x")];
        let refused = browser.post("/act/pause", &form).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
        assert!(
            refused.text.contains("needs the role operator"),
            "{}",
            refused.text
        );
    }
    assert!(!is_paused(&server).await);
    server.stop().await;
}

/// Pages of somebody else have the browser's cookie with them, or would: they cannot do anything.
#[tokio::test]
async fn a_form_of_somebody_elses_page_does_nothing() {
    let (_site, server) = started().await;
    let browser = Browser::signed_in(&server).await;
    let token = browser.get("/").await.form_token();
    let good = [("form_token", token.as_str()), ("reason", "x")];
    for origin in ["https://attacker.example", "null", "http://127.0.0.1:1"] {
        let refused = browser.post_from(origin, "/act/pause", &good).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{origin}");
        let refused = browser.post_from(origin, "/login", &[]).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{origin}");
    }
    let said = browser
        .request(Method::POST, "/act/pause")
        .header("Sec-Fetch-Site", "cross-site")
        .header("Origin", &browser.url)
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(format!("form_token={token}&reason=x"));
    let said = said.send().await.expect("answered");
    assert_eq!(said.status(), StatusCode::FORBIDDEN);
    let other = Browser::signed_in(&server).await;
    let others = other.get("/").await.form_token();
    for form_token in ["", "guessed", others.as_str()] {
        let form = [("form_token", form_token), ("reason", "x")];
        let refused = browser.post("/act/pause", &form).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{form_token}");
    }
    assert!(!is_paused(&server).await);
    // A link is no form: whoever is led to one is only asked.
    browser.page("/act/pause").await;
    assert!(!is_paused(&server).await);
    let done = browser.post("/act/pause", &good).await;
    assert_eq!(done.status, StatusCode::SEE_OTHER);
    assert!(is_paused(&server).await);
    server.stop().await;
}

/// The report of a node that is back from version 2.
fn blocked() -> NodeReport {
    let mut blocked = report(1);
    blocked.status.phase = Phase::Blocked;
    blocked.status.target = Some(Version(2));
    blocked.status.reason = Some("the probe got 500".to_owned());
    blocked
}

#[tokio::test]
async fn every_action_goes_by_the_rules_of_the_interface() {
    let site = Site::new();
    let server = site.start().await;
    let nodes = server.populate_limited(&["a", "b"], 1).await;
    let browser = Browser::signed_in(&server).await;
    let permit = server.go(nodes[0]).await.to_string();
    let page = browser.page("/nodes/a").await;
    assert!(page.contains(&format!("permit {permit}")), "{page}");
    let done = browser.act("break-permit", &[("permit", &permit)]).await;
    assert_eq!(done.leads_to(), "/?done=break-permit", "{}", done.text);
    assert_eq!(events(&server, "permit.broken").await[0].author, "tester");

    let refused = browser.act("retry", &[("node", "b")]).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert!(refused.text.contains("is not blocked"), "{}", refused.text);
    server.report(nodes[1], blocked()).await.expect("heard");
    let fleet = browser.page("/").await;
    assert!(fleet.contains("the probe got 500"), "{fleet}");
    let done = browser.act("retry", &[("node", "b")]).await;
    assert_eq!(done.leads_to(), "/?done=retry");
    assert_eq!(server.client.node("b").await.expect("known").retry, 1);

    let done = browser
        .act("approve", &[("version", "2"), ("class", "storage")])
        .await;
    assert_eq!(done.leads_to(), "/?done=approve");
    let view = server.client.system().await.expect("seen");
    assert_eq!(view.approvals[0].class.as_deref(), Some("storage"));

    let moves = [("service", "storage/data"), ("version", "2")];
    let done = browser.act("public", &moves).await;
    assert_eq!(done.leads_to(), "/?done=public");
    let refused = browser.act("retire", &[("version", "1")]).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert!(refused.text.contains("Still needed by"), "{}", refused.text);
    // It is heard: that wants a clear yes.
    let refused = browser.act("forget", &[("node", "b")]).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    let asked = browser.page("/act/forget?node=b").await;
    assert!(asked.contains("It was heard less than 1 s ago"), "{asked}");
    let done = browser
        .act("forget", &[("node", "b"), ("consent", "yes")])
        .await;
    assert_eq!(done.leads_to(), "/?done=forget");
    server.report(nodes[0], report(2)).await.expect("heard");
    let done = browser.act("retire", &[("version", "1")]).await;
    assert_eq!(done.leads_to(), "/?done=retire");
    let view = server.client.system().await.expect("seen");
    assert_eq!(view.retiring_through, Version(1));
    for odd in [
        "/act/retry",
        "/act/forget?node=none",
        "/act/approve?version=x",
        "/act/approve?version=1",
        "/act/approve?version=99",
        "/act/none",
    ] {
        assert!(browser.get(odd).await.status.is_client_error(), "{odd}");
    }
    // A node that waits says why, and what would be asked for it is a click away.
    server.report(nodes[0], staged()).await.expect("heard");
    server.stop().await;
}
