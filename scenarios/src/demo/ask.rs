//! One HTTP question of an outside caller, on a connection of its own.

use anyhow::{Context, bail};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// The longest answer that is read.
const ANSWER_BYTES_MAX: u64 = 1024 * 1024;

/// How long an answer may take: above what a node holds calls at most.
const LIMIT: Duration = Duration::from_secs(60);

/// `GET path` at an address, `host:port`: the status and the body as JSON (null when it is none).
pub fn get(address: &str, path: &str) -> anyhow::Result<(u16, Value)> {
    let mut stream = TcpStream::connect_timeout(&address.parse()?, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    parse(&answer).with_context(|| format!("GET {path} at {address}"))
}

/// The status and the body of an answer that ends with its connection; chunks are not understood, nobody sends them here.
fn parse(answer: &[u8]) -> anyhow::Result<(u16, Value)> {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else {
        bail!("the answer was cut off");
    };
    let head = String::from_utf8_lossy(&answer[..end]);
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    let body = serde_json::from_slice(&answer[end + 4..]).unwrap_or(Value::Null);
    Ok((status, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_parsed_and_cut_ones_are_not() {
        let whole = b"HTTP/1.1 410 Gone\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(
            parse(whole).expect("an answer"),
            (410, serde_json::json!({}))
        );
        assert!(parse(&whole[..20]).is_err());
    }
}
