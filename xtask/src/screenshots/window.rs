//! What a browser sees: a small server hands its requests on, with the cookie of a session, so that a browser that cannot sign in by itself
//! takes pictures.

use super::system::PicturedSystem;
use anyhow::{Context, bail};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

/// The browser.
const BROWSER: &str = "chromium";

/// The path that never ends: a picture is of what was there before.
const STREAM: &str = "/live";

/// A browser's window onto a system's page.
pub(super) struct Window {
    /// Where the browser asks.
    address: String,
    profile: tempfile::TempDir,
}

impl Window {
    /// Signs in.
    pub(super) fn open(system: &PicturedSystem) -> anyhow::Result<Self> {
        let cookie = signed_in(system)?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let server = system.address.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (server, cookie) = (server.clone(), cookie.clone());
                std::thread::spawn(move || handed_on(&stream, &server, &cookie));
            }
        });
        Ok(Self {
            address,
            profile: tempfile::tempdir()?,
        })
    }

    /// Takes pictures of a page in these sizes, light and dark; says how many.
    pub(super) fn take(
        &self,
        folder: &Path,
        name: &str,
        path: &str,
        sizes: &[(&str, u32, u32)],
    ) -> anyhow::Result<usize> {
        let mut taken = 0;
        for (size, width, height) in sizes {
            for (scheme, number) in [("light", 1), ("dark", 0)] {
                let file = folder.join(format!("{name}-{size}-{scheme}.png"));
                let mut browser = Command::new(BROWSER);
                browser
                    .args(["--headless", "--no-sandbox", "--disable-gpu"])
                    .args(["--hide-scrollbars", "--no-first-run"])
                    .arg(format!("--user-data-dir={}", self.profile.path().display()))
                    .arg(format!("--window-size={width},{height}"))
                    .arg(format!("--blink-settings=preferredColorScheme={number}"))
                    .arg(format!("--screenshot={}", file.display()))
                    .arg(format!("http://{}{path}", self.address))
                    .stdout(Stdio::null())
                    .stderr(Stdio::null());
                let status = browser.status();
                let status = status.with_context(|| format!("cannot run {BROWSER}"))?;
                if !status.success() || !file.exists() {
                    bail!("{BROWSER} has taken no picture of {path}: {status}");
                }
                taken += 1;
            }
        }
        Ok(taken)
    }
}

/// The cookie of a session that a one-time link begins.
fn signed_in(system: &PicturedSystem) -> anyhow::Result<String> {
    let link: Value = serde_json::from_str(&system.command(&["page", "--json"])?)?;
    let link = link["url"].as_str().unwrap_or_default();
    let (_, code) = link.split_once("code=").context("the link has no code")?;
    let form = format!("code={code}");
    let address = &system.address;
    let mut stream = TcpStream::connect(address)?;
    write!(
        stream,
        "POST /login HTTP/1.1\r\nHost: {address}\r\nOrigin: http://{address}\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let cookie = answer.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        let is_it = name.eq_ignore_ascii_case("set-cookie");
        is_it.then(|| value.split(';').next())?
    });
    cookie
        .map(str::to_owned)
        .with_context(|| format!("nobody was signed in: {answer}"))
}

/// Hands one request on, with the cookie, and its answer back.
fn handed_on(stream: &TcpStream, server: &str, cookie: &str) -> Option<()> {
    let mut asked = BufReader::new(stream);
    let mut line = String::new();
    asked.read_line(&mut line).ok()?;
    let mut header = String::new();
    while header != "\r\n" {
        header.clear();
        if asked.read_line(&mut header).ok()? == 0 {
            return None;
        }
    }
    let path = line.split(' ').nth(1)?;
    let mut answer = stream;
    if path == STREAM {
        return answer
            .write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
            .ok();
    }
    let mut to = TcpStream::connect(server).ok()?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {server}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n"
    );
    to.write_all(request.as_bytes()).ok()?;
    std::io::copy(&mut to, &mut answer).ok().map(drop)
}
