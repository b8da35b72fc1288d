//! Software that believes nothing: it notes every byte that reaches it, and reads requests as the strictest server would.
#![allow(dead_code, unreachable_pub)]

use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What reached the software over one connection.
#[derive(Clone, Debug, Default)]
pub struct Reached {
    /// Whole requests: `METHOD target [body]`, trailers behind it.
    pub requests: Vec<String>,
    /// Bytes of a request that broke off.
    pub rest: Vec<u8>,
    /// Why something can be understood in two ways.
    pub ambiguous: Option<String>,
}

/// A raw socket server.
pub struct Recorder {
    pub address: SocketAddr,
    reached: Arc<Mutex<Vec<Reached>>>,
    open: watch::Receiver<usize>,
}

impl Recorder {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address");
        let reached: Arc<Mutex<Vec<Reached>>> = Arc::default();
        let (count, open) = watch::channel(0);
        let notes = reached.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.send_modify(|open| *open += 1);
                let (notes, count) = (notes.clone(), count.clone());
                tokio::spawn(async move {
                    let one = record(stream).await;
                    (notes.lock()).push(one);
                    count.send_modify(|open| *open -= 1);
                });
            }
        });
        Self {
            address,
            reached,
            open,
        }
    }

    /// What has reached it, once every connection has ended; forgets it.
    pub async fn take(&mut self) -> Vec<Reached> {
        let ended = self.open.wait_for(|open| *open == 0);
        crate::node::bounded(ended).await.expect("the server lives");
        std::mem::take(&mut *self.reached.lock())
    }
}

async fn record(mut stream: TcpStream) -> Reached {
    let mut reached = Reached::default();
    loop {
        match parse(&reached.rest) {
            Ok(Some((request, length))) => {
                reached.rest.drain(..length);
                reached.requests.push(request);
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                if stream.write_all(answer).await.is_err() {
                    return reached;
                }
                continue;
            }
            Ok(None) => {}
            Err(why) => {
                reached.ambiguous = Some(why);
                return reached;
            }
        }
        let mut block = [0; 16 * 1024];
        match stream.read(&mut block).await {
            Ok(0) | Err(_) => return reached,
            Ok(length) => reached.rest.extend_from_slice(&block[..length]),
        }
    }
}

fn find(bytes: &[u8], mark: &[u8]) -> Option<usize> {
    bytes.windows(mark.len()).position(|window| window == mark)
}

/// How a body's end is told.
enum Framing {
    None,
    Length(usize),
    Chunked,
}

/// One request in the only form that leaves nothing open, and its length; `None` while it is not complete.
fn parse(bytes: &[u8]) -> Result<Option<(String, usize)>, String> {
    let Some(end) = find(bytes, b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = lines(&bytes[..end])?;
    let (start, headers) = head.split_first().ok_or("no request line")?;
    let words: Vec<&str> = start.split(' ').collect();
    let [method, target, "HTTP/1.1" | "HTTP/1.0"] = words[..] else {
        return Err(format!("the request line `{start}`"));
    };
    let framing = framing(headers)?;
    let from = end + 4;
    let body = match framing {
        Framing::None => Some((Vec::new(), String::new(), from)),
        Framing::Length(length) => bytes
            .get(from..from + length)
            .map(|body| (body.to_vec(), String::new(), from + length)),
        Framing::Chunked => chunks(bytes, from)?,
    };
    Ok(body.map(|(body, trailers, end)| {
        let body = String::from_utf8_lossy(&body);
        let shown = match body.len() {
            0 => String::new(),
            1..=200 => format!(" [{body}]"),
            length => format!(" [{length} bytes]"),
        };
        (format!("{method} {target}{shown}{trailers}"), end)
    }))
}

/// Lines that end in CRLF and hold nothing that another parser could take for an end.
fn lines(bytes: &[u8]) -> Result<Vec<&str>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "not text".to_owned())?;
    let lines: Vec<&str> = text.split("\r\n").collect();
    match lines.iter().find(|line| line.contains(['\r', '\n', '\0'])) {
        Some(line) => Err(format!("the line `{}`", line.escape_debug())),
        None => Ok(lines),
    }
}

fn framing(headers: &[&str]) -> Result<Framing, String> {
    let mut found = Vec::new();
    let mut hosts = 0;
    for line in headers {
        let (name, value) = line.split_once(':').ok_or(format!("the line `{line}`"))?;
        let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.is_empty() || !name.chars().all(is_token) {
            return Err(format!("the name `{}`", name.escape_debug()));
        }
        let value = value.trim_matches([' ', '\t']);
        match name.to_ascii_lowercase().as_str() {
            "host" => hosts += 1,
            "content-length" if value.bytes().all(|byte| byte.is_ascii_digit()) => {
                found.push(Framing::Length(value.parse().map_err(|_| "a length")?));
            }
            "transfer-encoding" if value == "chunked" => found.push(Framing::Chunked),
            "content-length" | "transfer-encoding" => return Err(format!("`{line}`")),
            "upgrade" | "http2-settings" | "connection" if value != "close" => {
                return Err(format!("`{line}` is for one connection only"));
            }
            _ => {}
        }
    }
    match (found.len(), hosts) {
        (0, ..=1) => Ok(Framing::None),
        (1, ..=1) => Ok(found.remove(0)),
        (lengths, hosts) => Err(format!("{lengths} framing headers, {hosts} hosts")),
    }
}

type Body = (Vec<u8>, String, usize);

fn chunks(bytes: &[u8], mut at: usize) -> Result<Option<Body>, String> {
    let mut body = Vec::new();
    loop {
        let Some(length) = bytes.get(at..).and_then(|rest| find(rest, b"\r\n")) else {
            return Ok(None);
        };
        let line = lines(&bytes[at..at + length])?.concat();
        let size = usize::from_str_radix(&line, 16).map_err(|_| format!("the chunk `{line}`"))?;
        if format!("{size:X}") != line.to_ascii_uppercase() {
            return Err(format!("the chunk size `{line}`"));
        }
        at += length + 2;
        if size == 0 {
            return trailers(bytes, at, body);
        }
        let Some(chunk) = bytes.get(at..at + size + 2) else {
            return Ok(None);
        };
        if !chunk.ends_with(b"\r\n") {
            return Err("a chunk without its end".to_owned());
        }
        body.extend_from_slice(&chunk[..size]);
        at += size + 2;
    }
}

fn trailers(bytes: &[u8], at: usize, body: Vec<u8>) -> Result<Option<Body>, String> {
    let rest = &bytes[at..];
    if rest.starts_with(b"\r\n") {
        return Ok(Some((body, String::new(), at + 2)));
    }
    let Some(end) = find(rest, b"\r\n\r\n") else {
        return Ok(None);
    };
    let fields = lines(&rest[..end])?;
    if !matches!(framing(&fields)?, Framing::None) {
        return Err("a framing header among the trailers".to_owned());
    }
    Ok(Some((
        body,
        format!(" +{}", fields.join("+")),
        at + end + 4,
    )))
}
