//! The stream that keeps pages up to date.

use super::browser::Browser;
use crate::callers::started;
use model::api::PauseRequest;
use reqwest::{Method, Response};

/// Reads until this stands there; false where the stream has ended before.
async fn reads(stream: &mut Response, text: &str) -> bool {
    let mut read = String::new();
    while !read.contains(text) {
        let Ok(Some(chunk)) = stream.chunk().await else {
            return false;
        };
        read += &String::from_utf8_lossy(&chunk);
    }
    true
}

#[tokio::test]
async fn a_browser_is_told_of_changes_as_long_as_its_session_lasts() {
    let (_site, server) = started().await;
    let browser = Browser::signed_in(&server).await;
    let page = browser.get("/").await;
    assert!(
        page.text.contains("<main id=\"content\" data-live"),
        "{}",
        page.text
    );
    let mut stream = browser
        .request(Method::GET, "/live")
        .send()
        .await
        .expect("begun");
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let pause = PauseRequest {
        reason: "lunch".to_owned(),
    };
    server.client.pause(&pause).await.expect("paused");
    assert!(reads(&mut stream, "event: changed\n").await);
    let token = page.form_token();
    browser.post("/logout", &[("form_token", &token)]).await;
    server.client.resume().await.expect("goes on");
    assert!(!reads(&mut stream, "never").await, "it has ended");
    // A stream keeps no server from stopping.
    let other = Browser::signed_in(&server).await;
    let mut stream = other
        .request(Method::GET, "/live")
        .send()
        .await
        .expect("begun");
    server.stop().await;
    assert!(!reads(&mut stream, "never").await, "it has ended");
}
