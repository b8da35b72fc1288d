//! The health probe: asks the software itself until it is healthy, it ends, or the time is up.
//!
//! A connection to a listener that the holder keeps succeeds with no software behind it, and so does one that waits
//! in the accept queue of software that hangs. Being connected therefore proves nothing: an answer to a request does,
//! and for `tcp` the kernel's word that a process of the software has the accepted socket open.

use crate::kernel;
use std::collections::BTreeSet;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// The longest answer that is read: its status stands at its beginning.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// How often the kernel is asked whether a connection has been accepted.
const ACCEPT_LOOK: Duration = Duration::from_millis(10);

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// A GET of this path (and query) on this service answers with a status from 200 to 299.
    Http {
        /// The service.
        service: String,
        /// The path and query.
        path: String,
    },
    /// This program ends with exit code 0.
    Command(Vec<String>),
    /// The software itself has accepted a connection on this service.
    Tcp {
        /// The service.
        service: String,
    },
    /// The software still runs after this time.
    Alive(Duration),
}

/// How long and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Until it must be healthy.
    pub limit: Duration,
    /// For one question.
    pub attempt_limit: Duration,
    /// Between two questions.
    pub interval: Duration,
}

/// Why software is not taken for healthy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// It was asked until the time was up.
    #[error("not healthy within {limit_ms} ms: {last}")]
    Unhealthy {
        /// The limit.
        limit_ms: u128,
        /// How the last question ended.
        last: String,
    },
    /// It has ended.
    #[error("the software ended while it was probed: {how}")]
    Ended {
        /// How.
        how: String,
    },
}

/// The software that is probed, as the agent reaches it.
pub trait Software: Sync {
    /// Connects to a service of the software itself, labelled as the agent's own connection.
    fn dial(&self, service: &str) -> impl Future<Output = io::Result<TcpStream>> + Send;

    /// Runs a program in the software's environment and as its user; the error says how it ended.
    fn run(
        &self,
        command: &[String],
        limit: Duration,
    ) -> impl Future<Output = Result<(), String>> + Send;

    /// Resolves when the software has ended, with how.
    fn ended(&self) -> impl Future<Output = String> + Send;

    /// The software's main process.
    fn process(&self) -> Option<i32>;
}

/// Asks until the answer is good.
///
/// # Errors
/// The time is up, or the software has ended.
pub async fn probe(
    software: &impl Software,
    question: &Question,
    timing: &Timing,
) -> Result<(), ProbeError> {
    if let Question::Alive(time) = question {
        return tokio::select! {
            biased;
            how = software.ended() => Err(ProbeError::Ended { how }),
            () = sleep(*time) => Ok(()),
        };
    }
    tokio::select! {
        biased;
        how = software.ended() => Err(ProbeError::Ended { how }),
        result = ask_until(software, question, timing) => result,
    }
}

async fn ask_until(
    software: &impl Software,
    question: &Question,
    timing: &Timing,
) -> Result<(), ProbeError> {
    let end = Instant::now() + timing.limit;
    let mut last = "it was not asked".to_owned();
    loop {
        let attempt_end = end.min(Instant::now() + timing.attempt_limit);
        match timeout_at(attempt_end, ask(software, question, timing)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(problem)) => last = problem,
            // The last question may be cut short by the limit: what was heard before says more.
            Err(_) if attempt_end < end || last.starts_with("it was not") => {
                last = format!("no answer within {} ms", timing.attempt_limit.as_millis());
            }
            Err(_) => {}
        }
        if Instant::now() + timing.interval >= end {
            let limit_ms = timing.limit.as_millis();
            return Err(ProbeError::Unhealthy { limit_ms, last });
        }
        sleep(timing.interval).await;
    }
}

async fn ask(software: &impl Software, question: &Question, timing: &Timing) -> Result<(), String> {
    match question {
        Question::Http { service, path } => {
            let stream = connect(software, service).await?;
            get(stream, path).await
        }
        Question::Tcp { service } => {
            let stream = connect(software, service).await?;
            accepted(software, &stream).await
        }
        Question::Command(command) => software.run(command, timing.attempt_limit).await,
        Question::Alive(_) => Ok(()),
    }
}

async fn connect(software: &impl Software, service: &str) -> Result<TcpStream, String> {
    let stream = software.dial(service).await;
    stream.map_err(|error| format!("cannot connect to `{service}`: {error}"))
}

/// Asks over HTTP/1.1 and looks at the status.
async fn get(mut stream: TcpStream, path: &str) -> Result<(), String> {
    let host = stream
        .peer_addr()
        .map(|address| address.to_string())
        .unwrap_or_default();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: upstart-probe\r\nConnection: close\r\n\r\n"
    );
    let failed = |error: io::Error| format!("GET {path}: {error}");
    stream.write_all(request.as_bytes()).await.map_err(failed)?;
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    while !answer.contains(&b'\n') && answer.len() < ANSWER_BYTES_MAX {
        let read = stream.read(&mut piece).await.map_err(failed)?;
        if read == 0 {
            break;
        }
        answer.extend_from_slice(&piece[..read]);
    }
    let status = status(&answer);
    read_to_end(stream, answer.len()).await;
    match status {
        Some(200..=299) => Ok(()),
        Some(status) => Err(format!("GET {path} answered {status}")),
        None => Err(format!("GET {path} was not answered in HTTP")),
    }
}

/// The rest of the answer, so that the software does not meet a reset while it writes; a moment, not longer.
async fn read_to_end(stream: TcpStream, already: usize) {
    let mut rest = stream.take(ANSWER_BYTES_MAX.saturating_sub(already) as u64);
    let _ = timeout(
        Duration::from_millis(200),
        tokio::io::copy(&mut rest, &mut tokio::io::sink()),
    )
    .await;
}

/// The status of an HTTP/1 answer.
fn status(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|byte| *byte == b'\n').next()?;
    let text = std::str::from_utf8(line).ok()?;
    let mut words = text.split_whitespace();
    words
        .next()
        .filter(|version| version.starts_with("HTTP/1."))?;
    words.next()?.parse().ok()
}

/// Waits until a process of the software has this connection's other end open. Bounded by the attempt's limit.
async fn accepted(software: &impl Software, stream: &TcpStream) -> Result<(), String> {
    let unknown = |error: io::Error| format!("connected, then: {error}");
    let here = stream.local_addr().map_err(unknown)?;
    let there = stream.peer_addr().map_err(unknown)?;
    loop {
        let main = software.process().ok_or("the software does not run")?;
        let found = tokio::task::spawn_blocking(move || has_accepted(main, there, here)).await;
        if found.unwrap_or(false) {
            return Ok(());
        }
        sleep(ACCEPT_LOOK).await;
    }
}

/// A connection in an accept queue has no inode yet; an accepted one has, and somebody has it open.
fn has_accepted(main: i32, there: SocketAddr, here: SocketAddr) -> bool {
    let (there, here) = (canonical(there), canonical(here));
    let inodes: BTreeSet<u64> = (kernel::connections(main).into_iter())
        .filter(|socket| socket.inode != 0)
        .filter(|socket| canonical(socket.local) == there && canonical(socket.remote) == here)
        .map(|socket| socket.inode)
        .collect();
    !inodes.is_empty() && !kernel::owners(&kernel::family(main), &inodes).is_empty()
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests;
