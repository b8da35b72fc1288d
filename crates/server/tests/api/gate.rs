//! Who gets in: not who is silent, not who has no token, not who was sent by a page in somebody's browser.

use crate::support::{Site, TOKEN};
use reqwest::{Method, StatusCode};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// More than the server has places for strangers.
const CROWD: usize = 1_100;

/// Less than any stranger's time.
const AT_ONCE: Duration = Duration::from_secs(5);

/// How long anything may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(30);

fn connected(url: &str) -> TcpStream {
    let address = url.strip_prefix("http://").expect("an address");
    let stream = TcpStream::connect(address).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream
}

/// Whether the server has ended a connection, without an answer.
fn is_ended(mut stream: TcpStream) -> bool {
    match stream.read(&mut [0; 64]) {
        Ok(length) => length == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

/// Asks on a connection that stays open, and takes the whole answer.
fn ask(known: &mut BufReader<TcpStream>) {
    let request = format!(
        "GET /v1/system HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
    );
    known
        .get_mut()
        .write_all(request.as_bytes())
        .expect("written");
    let (mut status, mut length) = (String::new(), 0);
    known.read_line(&mut status).expect("an answer");
    assert_eq!(status, "HTTP/1.1 200 OK\r\n");
    loop {
        let mut line = String::new();
        known.read_line(&mut line).expect("a head");
        match line.trim_end().split_once(": ") {
            Some(("content-length", value)) => {
                length = value.parse().expect("a length");
            }
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    known.read_exact(&mut body).expect("a body");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_strangers_keeps_nobody_out() {
    let site = Site::new();
    let server = site.start().await;
    let mut known = BufReader::new(connected(&server.url));
    ask(&mut known);
    let mut crowd: Vec<TcpStream> = (0..CROWD)
        .map(|number| {
            let mut stranger = connected(&server.url);
            if number % 2 == 1 {
                // Begins a request, and never ends its head.
                stranger
                    .write_all(b"GET /v1/system HTTP/1.1\r\n")
                    .expect("written");
            }
            stranger
        })
        .collect();
    // The last of them keep their places for a while; the first had to go at once.
    for first in crowd.drain(..2) {
        first.set_read_timeout(Some(AT_ONCE)).expect("set");
        assert!(is_ended(first));
    }
    // Neither who was known before nor who comes now notices.
    server.client.system().await.expect("answered");
    ask(&mut known);
    drop(crowd);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_silent_or_slow_is_not_waited_for() {
    let site = Site::new();
    let server = site.start().await;
    let silent = connected(&server.url);
    let mut slow = connected(&server.url);
    slow.write_all(b"GET /v1/system HTTP/1.1\r\nAuthorization:")
        .expect("written");
    let mut refused = connected(&server.url);
    refused
        .write_all(b"GET /v1/system HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .expect("written");
    let mut text = String::new();
    refused.read_to_string(&mut text).expect("the end");
    assert!(text.starts_with("HTTP/1.1 401 "), "{text}");
    assert!(is_ended(silent) && is_ended(slow));
    server.stop().await;
}

#[tokio::test]
async fn a_page_in_a_browser_can_do_nothing() {
    let site = Site::new();
    let server = site.start().await;
    // What a page may send to another origin without asking: a form, with no header of its own.
    let form = reqwest::Client::new()
        .post(format!("{}/v1/pause", server.url))
        .header("Content-Type", "text/plain")
        .header("Origin", "http://attacker.example")
        .body(r#"{"reason":"mine"}"#);
    let answer = form.send().await.expect("answered");
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    // Even with the token: neither a form nor a name of the page's author.
    let with_token = |kind: &'static str, host: &'static str| {
        reqwest::Client::new()
            .post(format!("{}/v1/pause", server.url))
            .bearer_auth(TOKEN)
            .header("Content-Type", kind)
            .header("Host", host)
            .body(r#"{"reason":"mine"}"#)
            .send()
    };
    let form = with_token("text/plain", "localhost").await;
    let form = form.expect("answered").status();
    assert_eq!(form, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let rebound = with_token("application/json", "attacker.example:7070").await;
    let rebound = rebound.expect("answered").status();
    assert_eq!(rebound, StatusCode::MISDIRECTED_REQUEST);
    let view = server.client.system().await.expect("answered");
    assert_eq!(view.paused, None);
    let good = with_token("application/json; charset=utf-8", "localhost").await;
    assert_eq!(good.expect("answered").status(), StatusCode::OK);
    let read = server.request(Method::GET, "/v1/system");
    let read = read.header("Host", "attacker.example").send().await;
    assert_eq!(
        read.expect("answered").status(),
        StatusCode::MISDIRECTED_REQUEST
    );
    server.stop().await;
}
