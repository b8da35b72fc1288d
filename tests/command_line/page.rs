//! `upstart page`: the link signs a browser in.

use crate::upstart::{Server, run};
use std::io::{Read, Write};
use std::net::TcpStream;

/// What a server answers to one request over plain HTTP.
fn asked(server: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(server).expect("connected");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    answer
}

#[test]
fn a_link_of_the_command_line_signs_a_browser_in_once() {
    let server = Server::start();
    let mut command = server.upstart();
    let answer = run(command.args(["page", "--json"])).expect(0).json();
    let url = answer["url"].as_str().expect("a link");
    assert_eq!(answer["expires_in_ms"], 60_000);
    // On its own host a browser needs no certificate.
    let rest = url.strip_prefix("http://").expect("without TLS");
    let (host, code) = rest.split_once("/login?code=").expect("a code");
    let form = format!("code={code}");
    let sent = format!(
        "POST /login HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    );
    let entered = asked(host, &sent);
    assert!(entered.starts_with("HTTP/1.1 303 "), "{entered}");
    let (_, cookie) = entered.split_once("set-cookie: ").expect("a cookie");
    let cookie = cookie.split(';').next().expect("a pair");
    let fleet = asked(
        host,
        &format!("GET / HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n"),
    );
    assert!(fleet.starts_with("HTTP/1.1 200 "), "{fleet}");
    assert!(fleet.contains("Nothing is published yet"), "{fleet}");
    let again = asked(host, &sent);
    assert!(again.starts_with("HTTP/1.1 401 "), "{again}");
    let line = run(server.upstart().arg("page")).expect(0);
    assert!(
        line.stdout()
            .starts_with(&format!("http://{host}/login?code="))
    );
    assert!(line.stderr().contains("once"), "{}", line.stderr());
}
