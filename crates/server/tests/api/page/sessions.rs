//! Who gets in, for how long, and as whom.

use super::browser::Browser;
use crate::callers::{operator, started};
use crate::support::{Site, TOKEN};
use model::api::{Principal, Role};
use reqwest::{Method, StatusCode};

#[tokio::test]
async fn nobody_sees_a_page_who_has_not_signed_in() {
    let (_site, server) = started().await;
    let mut browser = Browser::new(&server);
    for path in [
        "/",
        "/nodes",
        "/nodes/a",
        "/upgrades/1",
        "/history",
        "/act/pause",
    ] {
        let answered = browser.get(path).await;
        assert_eq!(answered.status, StatusCode::SEE_OTHER, "{path}");
        assert!(answered.leads_to().starts_with("/login?to=%2F"), "{path}");
    }
    assert_eq!(browser.get("/live").await.status, StatusCode::UNAUTHORIZED);
    let wrong = browser.post("/login", &[("token", "not the token")]).await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    assert!(wrong.text.contains("role=\"alert\""), "{}", wrong.text);
    assert!(!wrong.text.contains("one-time"), "{}", wrong.text);
    let right = [("token", TOKEN), ("name", "ann")];
    let entered = browser.post("/login?to=%2Fnodes%3Fclass%3Da", &right).await;
    assert_eq!(entered.leads_to(), "/nodes?class=a");
    let held = "Path=/; HttpOnly; SameSite=Strict; Max-Age=28800";
    assert!(
        entered.set_cookie().ends_with(held),
        "{}",
        entered.set_cookie()
    );
    browser.keep(&entered);
    let fleet = browser.get("/").await;
    assert!(fleet.text.contains("ann \u{b7} admin"), "{}", fleet.text);
    let away = Browser::new(&server)
        .post("/login?to=%2F%2Fattacker.example", &right)
        .await;
    assert_eq!(away.leads_to(), "/");
    // Whoever signs in anew in the same browser ends what was there before.
    let before = browser.cookie.clone();
    let again = browser.post("/login", &right).await;
    browser.keep(&again);
    let now = std::mem::replace(&mut browser.cookie, before);
    assert_eq!(browser.get("/").await.status, StatusCode::SEE_OTHER);
    browser.cookie = now;
    let fleet = browser.get("/").await;
    // Signing out ends the session, whatever the browser keeps.
    let token = fleet.form_token();
    let left = browser.post("/logout", &[("form_token", &token)]).await;
    assert_eq!(
        (left.status, left.leads_to()),
        (StatusCode::SEE_OTHER, "/login")
    );
    assert_eq!(browser.get("/").await.status, StatusCode::SEE_OTHER);
    server.stop().await;
}

#[tokio::test]
async fn a_session_ends_by_itself() {
    let site = Site::new();
    let server = site.start().await;
    let browser = Browser::signed_in(&server).await;
    site.pass_ms(59 * 60_000);
    browser.page("/").await;
    site.pass_ms(60 * 60_000);
    assert_eq!(browser.get("/").await.status, StatusCode::SEE_OTHER);
    server.stop().await;
}

#[tokio::test]
async fn a_link_signs_one_browser_in_as_whoever_has_had_it_made() {
    let (site, server) = started().await;
    let ann = operator(&server, "ann", Role::Viewer).await;
    let (base, link) = ann.client.page_link().await.expect("a link");
    assert_eq!(
        base.trim_end_matches('/'),
        server.url.replace("http:", "https:")
    );
    let mut browser = Browser::new(&server);
    // Whoever only looks at the link, such as a program that shows previews, uses it up for nobody.
    for _ in 0..2 {
        assert!(browser.page(&link.path).await.contains("method=\"post\""));
    }
    let (_, code) = link.path.split_once("code=").expect("a code");
    let entered = browser.post("/login", &[("code", code)]).await;
    browser.keep(&entered);
    assert!(browser.page("/").await.contains("ann \u{b7} viewer"));
    let again = Browser::new(&server)
        .post("/login", &[("code", code)])
        .await;
    assert_eq!(again.status, StatusCode::UNAUTHORIZED);
    let (_, late) = ann.client.page_link().await.expect("a link");
    site.pass_ms(late.expires_in_ms);
    let (_, code) = late.path.split_once("code=").expect("a code");
    let late = Browser::new(&server)
        .post("/login", &[("code", code)])
        .await;
    assert_eq!(late.status, StatusCode::UNAUTHORIZED);
    server.stop().await;
}

#[tokio::test]
async fn a_session_is_worth_what_its_holder_is_worth_now() {
    let (_site, server) = started().await;
    let ann = operator(&server, "ann", Role::Operator).await;
    let browser = Browser::of(&server, &ann).await;
    let before = browser.get("/").await;
    assert!(before.text.contains("ann \u{b7} operator"));
    assert!(before.text.contains("/act/pause"));
    let ended = server.client.revoke(&Principal::operator("ann")).await;
    ended.expect("revoked");
    let refused = browser.get("/").await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert!(refused.text.contains("revoked"), "{}", refused.text);
    let token = before.form_token();
    let form = [("form_token", token.as_str()), ("reason", "x")];
    let late = browser.post("/act/pause", &form).await;
    assert_eq!(late.status, StatusCode::UNAUTHORIZED);
    assert!(server.client.system().await.expect("seen").paused.is_none());
    server.stop().await;
}

/// A one-time token of `upstart invite` makes keys known, and signs no browser in.
#[tokio::test]
async fn a_one_time_token_is_for_the_command_line() {
    let (_site, server) = started().await;
    let token =
        crate::callers::invited(&server, Principal::operator("ann"), Some(Role::Admin)).await;
    let refused = Browser::new(&server)
        .post("/login", &[("token", &token)])
        .await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(refused.text.contains("upstart login"), "{}", refused.text);
    server.stop().await;
}

#[tokio::test]
async fn over_tls_the_cookie_is_this_hosts_and_for_tls_only() {
    let (_site, server) = started().await;
    let mut browser = Browser::new(&server);
    browser.url = server.url.replace("http:", "https:");
    let entered = browser.post("/login", &[("token", TOKEN)]).await;
    let cookie = entered.set_cookie();
    assert!(cookie.starts_with("__Host-"), "{cookie}");
    assert!(cookie.ends_with("; Secure"), "{cookie}");
    browser.keep(&entered);
    browser.page("/").await;
    server.stop().await;
}

/// People get a page, and programs a problem.
#[tokio::test]
async fn what_cannot_be_read_and_what_is_not_there_is_told_on_a_page() {
    let (_site, server) = started().await;
    let browser = Browser::signed_in(&server).await;
    let twice = browser.get("/nodes?class=a&class=b").await;
    assert_eq!(twice.status, StatusCode::BAD_REQUEST);
    assert!(twice.text.contains("<h1>"), "{}", twice.text);
    let reason = "x".repeat(40_000);
    let large = browser.post("/act/pause", &[("reason", &reason)]).await;
    assert_eq!(large.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(large.text.contains("<h1>"), "{}", large.text);
    let bogus = browser.request(Method::GET, "/bogus");
    let bogus = bogus.header("Accept", "text/html,*/*").send().await;
    let bogus = bogus.expect("answered");
    assert_eq!(bogus.status(), StatusCode::NOT_FOUND);
    assert!(bogus.headers().contains_key("content-security-policy"));
    let program = browser.request(Method::GET, "/bogus").send().await;
    let program = program.expect("answered");
    assert_eq!(program.status(), StatusCode::UNAUTHORIZED);
    server.stop().await;
}

/// What a browser is told with every answer, whoever asks.
#[tokio::test]
async fn every_answer_says_what_a_browser_may_do_with_it() {
    let (_site, server) = started().await;
    let browser = Browser::signed_in(&server).await;
    let paths = [
        "/",
        "/nodes",
        "/nodes/none",
        "/upgrades/1",
        "/history",
        "/act/pause",
        "/login",
        "/page.css",
        "/page.js",
        "/page.svg",
    ];
    for path in paths {
        let answered = browser.get(path).await;
        let says = |name: &str| {
            let value = answered.headers.get(name).expect(name);
            value.to_str().expect("text").to_owned()
        };
        let policy = says("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"));
        assert!(!policy.contains("unsafe"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert_eq!(says("x-content-type-options"), "nosniff", "{path}");
        let kept = says("cache-control");
        assert_eq!(
            kept == "no-store",
            !path.starts_with("/page."),
            "{path}: {kept}"
        );
        assert!(!answered.text.contains(" style="), "{path}");
        assert!(!answered.text.contains("<script>"), "{path}");
    }
    // Programs' interface is as it was.
    let fleet = server.request(Method::GET, "/v1/fleet").send().await;
    let fleet = fleet.expect("answered");
    assert!(!fleet.headers().contains_key("content-security-policy"));
    server.stop().await;
}
