//! The health probe: asks the software itself until it is healthy, it ends, or the time is up.
//!
//! A connection to a listener that the holder keeps succeeds with no software behind it, and so does one that waits
//! in the accept queue of software that hangs. Being connected therefore proves nothing: an answer to a request does,
//! and for `tcp` the kernel's word that a process of the software has the accepted socket open. Where there is no answer, the
//! kernel's tables tell why: who listens, who has accepted.

use crate::household::{FarEnd, Household, Listens};
use parking_lot::Mutex;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

/// The longest answer that is read: its status stands at its beginning.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// How often the kernel is asked whether a connection has been accepted.
const ACCEPT_LOOK: Duration = Duration::from_millis(10);

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ResolvedQuestion {
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
pub(crate) struct Timing {
    /// Until it must be healthy.
    pub(crate) limit: Duration,
    /// For one question.
    pub(crate) attempt_limit: Duration,
    /// Between two questions.
    pub(crate) interval: Duration,
}

/// Why software is not taken for healthy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProbeError {
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
    /// It runs, and asking on would be of no use.
    #[error("{why}")]
    Hopeless {
        /// Why.
        why: String,
    },
}

/// The software that is probed, as the agent reaches it.
pub(crate) trait ProbedSoftware: Sync {
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

    /// Resolves when it is certain that the software cannot become healthy as it runs now, with why.
    fn hopeless(&self, service: Option<&str>) -> impl Future<Output = String> + Send;

    /// Where the software should listen for a service.
    fn address(&self, service: &str) -> Option<SocketAddr>;

    /// The software's processes.
    fn household(&self) -> Household;
}

impl ResolvedQuestion {
    fn service(&self) -> Option<&str> {
        match self {
            Self::Http { service, .. } | Self::Tcp { service } => Some(service),
            Self::Command(_) | Self::Alive(_) => None,
        }
    }
}

/// How far a question has come, for people who ask why it was not answered.
#[derive(Debug, Default)]
enum ProbeStep {
    #[default]
    Connects,
    Connected {
        there: SocketAddr,
        here: SocketAddr,
        /// The connection: it is looked at when the question has been given up.
        _open: OwnedFd,
    },
}

/// Asks until the answer is good, or cannot become good.
///
/// # Errors
/// The time is up, the software has ended, or it is certain that it cannot become healthy.
pub(crate) async fn probe(
    software: &impl ProbedSoftware,
    question: &ResolvedQuestion,
    timing: &Timing,
) -> Result<(), ProbeError> {
    tokio::select! {
        biased;
        how = software.ended() => Err(ProbeError::Ended { how }),
        why = software.hopeless(question.service()) => Err(ProbeError::Hopeless { why }),
        result = ask_until(software, question, timing) => result,
    }
}

/// Asks once.
///
/// # Errors
/// What was found instead of a good answer.
pub(crate) async fn look(
    software: &impl ProbedSoftware,
    question: &ResolvedQuestion,
    timing: &Timing,
) -> Result<(), String> {
    let limit = timing.attempt_limit;
    tokio::select! {
        biased;
        how = software.ended() => Err(format!("it ended: {how}")),
        answer = attempt(software, question, timing, limit) => answer.map_err(|(_, why)| why),
    }
}

async fn ask_until(
    software: &impl ProbedSoftware,
    question: &ResolvedQuestion,
    timing: &Timing,
) -> Result<(), ProbeError> {
    if let ResolvedQuestion::Alive(time) = question {
        sleep(*time).await;
        return Ok(());
    }
    let end = Instant::now() + timing.limit;
    let mut last: Option<String> = None;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let limit = timing.attempt_limit.min(left);
        match attempt(software, question, timing, limit).await {
            Ok(()) => return Ok(()),
            // The last question may be cut short by the limit: what was heard before says more.
            Err((QuestionEnd::Short, _)) if limit == left && last.is_some() => {}
            Err((_, why)) => last = Some(why),
        }
        if Instant::now() + timing.interval >= end {
            let limit_ms = timing.limit.as_millis();
            let last = last.unwrap_or_else(|| "it was not asked".to_owned());
            return Err(ProbeError::Unhealthy { limit_ms, last });
        }
        sleep(timing.interval).await;
    }
}

/// Whether a question was answered, badly, or ended by its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum QuestionEnd {
    Short,
    Answered,
}

/// One question, for so long.
async fn attempt(
    software: &impl ProbedSoftware,
    question: &ResolvedQuestion,
    timing: &Timing,
    limit: Duration,
) -> Result<(), (QuestionEnd, String)> {
    let step = Mutex::default();
    match timeout(limit, ask(software, question, timing, &step)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(problem)) => Err((
            QuestionEnd::Answered,
            told(software, question, problem).await,
        )),
        Err(_) if matches!(question, ResolvedQuestion::Alive(_)) => Ok(()),
        Err(_) => {
            let step = step.into_inner();
            // On a busy machine the look itself may take longer than the limit: what it finds counts all the same.
            if matches!(question, ResolvedQuestion::Tcp { .. })
                && has_accepted(software, &step).await
            {
                return Ok(());
            }
            let why = match question.service() {
                Some(service) => format!(": {}", silence(software, service, step).await),
                None => String::new(),
            };
            let ms = limit.as_millis();
            Err((QuestionEnd::Short, format!("no answer within {ms} ms{why}")))
        }
    }
}

/// What was heard instead of a good answer.
#[derive(Debug)]
enum ProbeProblem {
    /// Nobody takes connections there.
    Refused(String),
    /// An answer, of whoever listens there.
    Answer(String),
    Other(String),
}

async fn ask(
    software: &impl ProbedSoftware,
    question: &ResolvedQuestion,
    timing: &Timing,
    step: &Mutex<ProbeStep>,
) -> Result<(), ProbeProblem> {
    match question {
        ResolvedQuestion::Http { service, path } => {
            let stream = connect(software, service, step).await?;
            get(stream, path).await.map_err(ProbeProblem::Answer)
        }
        ResolvedQuestion::Tcp { service } => {
            let stream = connect(software, service, step).await?;
            accepted(software, service, &stream)
                .await
                .map_err(ProbeProblem::Other)
        }
        ResolvedQuestion::Command(command) => {
            let ended = software.run(command, timing.attempt_limit).await;
            ended.map_err(ProbeProblem::Other)
        }
        ResolvedQuestion::Alive(time) => {
            sleep(*time).await;
            Ok(())
        }
    }
}

async fn connect(
    software: &impl ProbedSoftware,
    service: &str,
    step: &Mutex<ProbeStep>,
) -> Result<TcpStream, ProbeProblem> {
    let stream = software.dial(service).await.map_err(|error| {
        let why = format!("cannot connect to `{service}`: {error}");
        match error.kind() {
            io::ErrorKind::ConnectionRefused => ProbeProblem::Refused(why),
            _ => ProbeProblem::Other(why),
        }
    })?;
    let open = stream.as_fd().try_clone_to_owned();
    if let (Ok(there), Ok(here), Ok(open)) = (stream.peer_addr(), stream.local_addr(), open) {
        let connected = ProbeStep::Connected {
            there,
            here,
            _open: open,
        };
        *step.lock() = connected;
    }
    Ok(stream)
}

/// A problem with what the kernel knows of it. A bad answer may be somebody else's.
async fn told(
    software: &impl ProbedSoftware,
    question: &ResolvedQuestion,
    problem: ProbeProblem,
) -> String {
    let service = question.service().unwrap_or_default();
    match problem {
        ProbeProblem::Other(why) => why,
        ProbeProblem::Refused(why) => format!("{why}{}", listener(software, service).await),
        ProbeProblem::Answer(why) => {
            let Some(address) = software.address(service) else {
                return why;
            };
            match listens(software, address).await {
                Ok(Listens::Stranger(stranger)) => {
                    format!("{why}; at {address} listens {stranger}")
                }
                _ => why,
            }
        }
    }
}

/// Why nothing was heard, as far as the kernel knows.
async fn silence(software: &impl ProbedSoftware, service: &str, step: ProbeStep) -> String {
    let ProbeStep::Connected { there, here, _open } = step else {
        let who = listener(software, service).await;
        return format!("the software has not begun to listen for `{service}`{who}");
    };
    match far_end(software, there, here).await {
        Ok(FarEnd::Gone) => "the connection has ended".to_owned(),
        Ok(FarEnd::Queued) => {
            format!("the connection to {there} waits in its queue, and nobody accepts it")
        }
        Ok(FarEnd::Accepted(pid)) => {
            format!("process {pid} of the software has accepted the connection and is silent")
        }
        Ok(FarEnd::Stranger(stranger)) => format!("{there} is answered by {stranger}"),
        Ok(FarEnd::Unknown) => format!("{there} is answered by a process that cannot be looked at"),
        Err(error) => format!("who has the connection to {there} cannot be seen: {error}"),
    }
}

async fn has_accepted(software: &impl ProbedSoftware, step: &ProbeStep) -> bool {
    let ProbeStep::Connected { there, here, .. } = step else {
        return false;
    };
    matches!(
        far_end(software, *there, *here).await,
        Ok(FarEnd::Accepted(_))
    )
}

/// What became of the other end of a connection.
async fn far_end(
    software: &impl ProbedSoftware,
    there: SocketAddr,
    here: SocketAddr,
) -> io::Result<FarEnd> {
    let household = software.household();
    let look = tokio::task::spawn_blocking(move || household.far_end(there, here));
    look.await.map_err(io::Error::other)?
}

/// Who listens for a service, as the end of a sentence.
async fn listener(software: &impl ProbedSoftware, service: &str) -> String {
    let Some(address) = software.address(service) else {
        return String::new();
    };
    match listens(software, address).await {
        Ok(Listens::Nobody) => format!("; nobody listens at {address}"),
        Ok(Listens::Software) => {
            format!("; a process of it listens at {address}, unseen by Upstart's library")
        }
        Ok(Listens::Upstart) => format!("; only Upstart keeps {address} for it"),
        Ok(Listens::Stranger(stranger)) => format!("; at {address} listens {stranger}"),
        Ok(Listens::Unknown) => {
            format!("; at {address} listens a process that cannot be looked at")
        }
        Err(error) => format!("; who listens at {address} cannot be seen: {error}"),
    }
}

async fn listens(software: &impl ProbedSoftware, address: SocketAddr) -> io::Result<Listens> {
    let household = software.household();
    let look = tokio::task::spawn_blocking(move || household.listens(address));
    look.await.map_err(io::Error::other)?
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

/// Waits until a process of the software has this connection's other end open, or has answered and closed it. Bounded by the attempt's
/// limit.
async fn accepted(
    software: &impl ProbedSoftware,
    service: &str,
    stream: &TcpStream,
) -> Result<(), String> {
    let unknown = |error: io::Error| format!("connected, then: {error}");
    let here = stream.local_addr().map_err(unknown)?;
    let there = stream.peer_addr().map_err(unknown)?;
    loop {
        match far_end(software, there, here).await {
            Ok(FarEnd::Accepted(_)) => return Ok(()),
            Ok(FarEnd::Stranger(stranger)) => {
                return Err(format!("{there} is answered by {stranger}"));
            }
            Ok(FarEnd::Gone) => match has_spoken(stream) {
                Some(Ok(())) => return spoken(software, service).await,
                Some(Err(error)) => return Err(format!("connected to {there}, then: {error}")),
                None => {}
            },
            Ok(FarEnd::Queued | FarEnd::Unknown) | Err(_) => {}
        }
        sleep(ACCEPT_LOOK).await;
    }
}

/// Whether something came, or an orderly end: neither does from a queue in which nobody accepts. `None` while nothing did.
fn has_spoken(stream: &TcpStream) -> Option<io::Result<()>> {
    match stream.try_read(&mut [0; 1]) {
        Ok(_) => Some(Ok(())),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        Err(error) => Some(Err(error)),
    }
}

/// Somebody has answered and closed the connection: the software, if it is the software that listens.
async fn spoken(software: &impl ProbedSoftware, service: &str) -> Result<(), String> {
    let Some(address) = software.address(service) else {
        return Err(format!("`{service}` has no address"));
    };
    match listens(software, address).await {
        Ok(Listens::Software) => Ok(()),
        _ => Err(format!(
            "the connection was accepted and closed{}",
            listener(software, service).await
        )),
    }
}

#[cfg(test)]
mod tests;
