//! Requests on the wire, and what of their answers is compared.

use super::requests::Request;
use anyhow::{Context, bail};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

/// How long an answer may take on a very busy machine.
const LIMIT: Duration = Duration::from_secs(60);
/// The longest answer that is read.
const ANSWER_BYTES_MAX: u64 = 1024 * 1024;
/// The host that all requests name, so that links to it are the same from both servers.
const HOST: &str = "json-server.test";
/// The headers that are compared.
const COMPARED: [&str; 4] = ["content-type", "x-total-count", "link", "location"];

/// An answer, as far as it is compared.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Body,
}

#[derive(Clone, Debug, PartialEq)]
enum Body {
    Json(Value),
    Text(String),
    /// An error page or a sentence that names the server's own files and libraries.
    Other,
}

/// Sends a request on a connection of its own.
///
/// # Errors
/// When the connection fails or what comes is no answer.
pub(super) fn ask(port: u16, request: &Request) -> anyhow::Result<Answer> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(LIMIT))?;
    let mut message = format!(
        "{} {} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n",
        request.method, request.target
    );
    if let Some(body) = &request.body {
        let length = body.len();
        message += &format!("Content-Type: application/json\r\nContent-Length: {length}\r\n");
    }
    message += "\r\n";
    message += request.body.as_deref().unwrap_or_default();
    stream.write_all(message.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    parse(&answer)
}

fn parse(answer: &[u8]) -> anyhow::Result<Answer> {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else {
        bail!(
            "the answer was cut off: {}",
            String::from_utf8_lossy(answer)
        );
    };
    let head = String::from_utf8_lossy(&answer[..end]);
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    let all = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    let all: BTreeMap<String, String> = all
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let rest = &answer[end + 4..];
    let body = match all.get("transfer-encoding") {
        Some(coding) if coding.eq_ignore_ascii_case("chunked") => unchunked(rest)?,
        _ => rest.to_vec(),
    };
    let media = all.get("content-type").map_or("", String::as_str);
    let body = match media.split(';').next() {
        Some("application/json") => Body::Json(serde_json::from_slice(&body)?),
        Some("text/plain") => Body::Text(String::from_utf8_lossy(&body).into_owned()),
        _ => Body::Other,
    };
    let headers = all
        .into_iter()
        .filter(|(name, _)| COMPARED.contains(&name.as_str()));
    Ok(Answer {
        status,
        headers: headers.collect(),
        body,
    })
}

fn unchunked(mut rest: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let end = rest
            .windows(2)
            .position(|window| window == b"\r\n")
            .context("a chunk was cut off")?;
        let size = std::str::from_utf8(&rest[..end])?
            .split(';')
            .next()
            .unwrap_or_default();
        let size = usize::from_str_radix(size.trim(), 16)?;
        rest = &rest[end + 2..];
        if size == 0 {
            return Ok(whole);
        }
        whole.extend_from_slice(rest.get(..size).context("a chunk was cut off")?);
        rest = rest.get(size + 2..).context("a chunk was cut off")?;
    }
}

impl Answer {
    /// What is not the same in the other one, if anything.
    pub(super) fn difference(&self, other: &Self) -> Option<String> {
        if self.status != other.status {
            return Some(format!(
                "status {} became {} {:?}",
                self.status, other.status, other.body
            ));
        }
        if let Some(name) = COMPARED
            .iter()
            .find(|name| self.headers.get(**name) != other.headers.get(**name))
        {
            let [own, others] = [self, other].map(|answer| answer.headers.get(*name));
            return Some(format!("{name} {own:?} became {others:?}"));
        }
        (self.body != other.body).then(|| format!("{:?} became {:?}", self.body, other.body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_with_chunks_and_lengths_are_the_same() {
        let chunked = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[1,\r\n2\r\n2]\r\n0\r\n\r\n";
        let plain =
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nContent-Length: 6\r\n\r\n[1, 2]";
        let [chunked, plain] =
            [&chunked[..], &plain[..]].map(|bytes| parse(bytes).expect("an answer"));
        assert_eq!(chunked.difference(&plain), None);
        let other = parse(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n[1]")
            .expect("an answer");
        assert!(
            chunked
                .difference(&other)
                .expect("differs")
                .contains("became")
        );
    }
}
