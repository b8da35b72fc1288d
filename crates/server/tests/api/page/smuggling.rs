//! Names, reasons and messages come from nodes and people: on a page they are text, whatever stands in them.

use super::browser::Browser;
use crate::callers::{enrolling, operator};
use crate::support::{Running, Site, bundle, report};
use model::api::{
    ApproveRequest, ChildState, NewEvent, NodeReport, PauseRequest, Phase, Role, SyncRequest,
};
use model::ids::{NodeId, Version};

/// What would run if it were taken for markup.
const SCRIPT: &str = "</p></title><script>alert('smuggled')</script>";
const IMAGE: &str = "\"><img src=x onerror=alert('smuggled')>";
const QUOTE: &str = "' onmouseover='alert(1)' \" autofocus onfocus=\"alert(1)";
const LINK: &str = "javascript:alert('smuggled')";

/// The same without what a name may not have.
const NAME: &str = "\"><svg\u{b}onload=alert(1)>&amp;'?#%2F\\..";

fn name() -> String {
    // A vertical tab is a control character, which no name has.
    NAME.replace('\u{b}', "")
}

fn nasty() -> String {
    format!("{SCRIPT}{IMAGE}{QUOTE}{LINK}")
}

/// Every tag of a page, as a browser reads it: its name, and what stands behind that.
fn tags(page: &str) -> Vec<(&str, &str)> {
    let mut tags = Vec::new();
    let mut rest = page;
    while let Some(begin) = rest.find('<') {
        rest = &rest[begin + 1..];
        let mut is_quoted = false;
        let end = rest.find(|letter| {
            is_quoted ^= letter == '"';
            letter == '>' && !is_quoted
        });
        let end = end.expect("a tag ends");
        let (tag, after) = (&rest[..end], &rest[end + 1..]);
        let tag = tag.trim_start_matches('/');
        tags.push(tag.split_once(' ').unwrap_or((tag, "")));
        rest = after;
    }
    tags
}

/// No tag is there that pages do not have, and none has an attribute that would run something or leads elsewhere.
fn is_clean(page: &str, path: &str) {
    const NONE: [&str; 8] = [
        "img",
        "iframe",
        "object",
        "embed",
        "base",
        "style",
        "b/",
        "svgonload",
    ];
    for (name, attributes) in tags(page) {
        assert!(!NONE.contains(&name), "{path} has <{name}>: {page}");
        let is_plain = name == "!DOCTYPE" || name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        assert!(is_plain, "{path} has <{name}>: {page}");
        // Values stand between double quotes: every second part is one.
        for (at, part) in attributes.split('"').enumerate() {
            let starts = |word: &str| part.trim_start().starts_with(word);
            if at % 2 == 0 {
                assert!(
                    !starts("on") && !starts("style"),
                    "{path}: <{name} {attributes}>"
                );
            } else {
                assert!(!starts("javascript:"), "{path}: <{name} {attributes}>");
            }
        }
        if name == "script" && !attributes.is_empty() {
            assert_eq!(attributes, "src=\"/page.js\" defer", "{path}");
        }
    }
    assert!(!page.contains("<script>"), "{path}: {page}");
}

/// Has a node and people tell it wherever they can; the node's number, and its report.
async fn smuggled(server: &Running) -> (NodeId, NodeReport) {
    let described = bundle(1, "DESCRIPTION").replace("\"DESCRIPTION\"", "'''DESCRIPTION'''");
    let described = described.replace("DESCRIPTION", &nasty().replace('\'', "`"));
    server.publish(&described, false).await.expect("published");
    let published = server.publish(&bundle(2, ""), false).await;
    published.expect("published");
    let mut request = enrolling(&name());
    request.host = nasty();
    request.data_directory = nasty();
    request.attributes = [(nasty(), nasty())].into();
    let enrolled = server.client.enrol(&request).await.expect("enrolled");
    let mut told = report(1);
    told.status.phase = Phase::Staged;
    told.status.target = Some(Version(2));
    told.status.reason = Some(nasty());
    told.remarks = vec![nasty()];
    told.counters = [
        (format!("refused.{}", nasty()), 3),
        ("refused".to_owned(), 3),
    ]
    .into();
    server
        .report(enrolled.node, told.clone())
        .await
        .expect("heard");
    let request = SyncRequest {
        events: vec![NewEvent {
            kind: "node.waits".to_owned(),
            version: None,
            message: nasty(),
            node_at_ms: 1,
        }],
        ..SyncRequest::default()
    };
    let heard = server.client.sync(enrolled.node, &request, None).await;
    heard.expect("heard");
    let pause = PauseRequest { reason: nasty() };
    server.client.pause(&pause).await.expect("paused");
    let approve = ApproveRequest {
        version: Version(2),
        class: None,
        node: Some(name()),
    };
    server.client.approve(&approve).await.expect("approved");
    (enrolled.node, told)
}

#[tokio::test]
async fn whatever_nodes_and_people_tell_is_text_on_every_page() {
    let site = Site::new();
    let server = site.start().await;
    let (node, mut told) = smuggled(&server).await;
    let ann = operator(&server, "ann\"><b>", Role::Admin).await;
    let browser = Browser::of(&server, &ann).await;
    let encoded = page::encoded(&name());
    let hostile = page::encoded(&nasty());
    let paths = [
        "/".to_owned(),
        format!("/?done={hostile}"),
        "/nodes".to_owned(),
        format!(
            "/nodes?name={hostile}&class={hostile}&reason={hostile}&phase={hostile}&version={hostile}"
        ),
        format!("/nodes/{encoded}"),
        "/upgrades/1".to_owned(),
        "/upgrades/2".to_owned(),
        "/history".to_owned(),
        format!("/history?kind={hostile}&node={hostile}&version={hostile}&before={hostile}"),
        format!("/act/forget?node={encoded}"),
        format!("/act/approve?version=2&class={hostile}"),
        format!("/act/public?version=2&service={hostile}"),
        format!("/login?to={hostile}"),
        format!("/login?code={hostile}"),
    ];
    for path in &paths {
        is_clean(&browser.page(path).await, path);
    }
    for path in [
        format!("/nodes/{hostile}"),
        format!("/act/{hostile}"),
        format!("/upgrades/{hostile}"),
    ] {
        let refused = browser.get(&path).await;
        assert!(refused.status.is_client_error(), "{path}");
        is_clean(&refused.text, &path);
    }
    // It is there all the same, as text.
    let page = browser.page(&format!("/nodes/{encoded}")).await;
    assert!(page.contains("&lt;script&gt;alert("), "{page}");
    told.status.phase = Phase::Blocked;
    told.status.child = ChildState::Crashed;
    server.report(node, told).await.expect("heard");
    is_clean(&browser.page("/").await, "/ with a failure");
    let done = browser.act("retry", &[("node", &name())]).await;
    assert_eq!(done.leads_to(), "/?done=retry", "{}", done.text);
    server.stop().await;
}
