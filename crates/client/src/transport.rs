//! One request, tried at each server in turn, and its answer read as data or as a problem.

use crate::local::{Tls, WayToServer, Why};
use crate::{Client, ClientError, Doubt, SILENCE_TOLD};
use http::{Method, StatusCode};
use identity::{Pin, UNPROVEN};
use model::api::Problem;
use reqwest::{RequestBuilder, Response, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::future::Future;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long it may take to find out whether somebody takes connections.
const TAKEN_LIMIT: Duration = Duration::from_secs(1);

/// The header that makes a repeated change happen once.
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// The header that names the author of a change.
const AUTHOR: &str = "Upstart-Author";

/// The longest author that the server takes, in bytes.
const AUTHOR_BYTES_MAX: usize = 256;

/// A request before it is sent: where, what, and how its query reads.
pub(crate) struct OutgoingRequest<'a> {
    pub(crate) method: Method,
    /// Path segments under the server's address, not yet percent-encoded.
    pub(crate) path: &'a [&'a str],
    pub(crate) query: Vec<(&'static str, String)>,
    /// A change that must not happen twice carries a key.
    pub(crate) idempotent: bool,
}

impl<'a> OutgoingRequest<'a> {
    pub(crate) fn get(path: &'a [&'a str]) -> Self {
        Self::new(Method::GET, path, false)
    }

    pub(crate) fn post(path: &'a [&'a str]) -> Self {
        Self::new(Method::POST, path, true)
    }

    pub(crate) fn put(path: &'a [&'a str]) -> Self {
        Self::new(Method::PUT, path, false)
    }

    pub(crate) fn delete(path: &'a [&'a str]) -> Self {
        Self::new(Method::DELETE, path, false)
    }

    pub(crate) fn new(method: Method, path: &'a [&'a str], idempotent: bool) -> Self {
        Self {
            method,
            path,
            query: Vec::new(),
            idempotent,
        }
    }

    pub(crate) fn with(mut self, name: &'static str, value: Option<impl ToString>) -> Self {
        if let Some(value) = value {
            self.query.push((name, value.to_string()));
        }
        self
    }

    fn url(&self, server: &Url) -> Url {
        let mut url = server.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(self.path);
        }
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(self.query.iter());
        }
        url
    }
}

impl Client {
    /// Sends without a body and reads the answer as data.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        call: OutgoingRequest<'_>,
    ) -> Result<T, ClientError> {
        data(self.send(&call, |request| request).await?).await
    }

    /// Sends data and reads the answer as data.
    pub(crate) async fn tell<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        call: OutgoingRequest<'_>,
        body: &B,
    ) -> Result<T, ClientError> {
        data(self.send(&call, |request| request.json(body)).await?).await
    }

    /// Sends and wants nothing but success.
    pub(crate) async fn command(&self, call: OutgoingRequest<'_>) -> Result<(), ClientError> {
        self.send(&call, |request| request).await.map(|_| ())
    }

    /// Tries each server in turn until one answers; `finish` adds the body, anew for every attempt.
    pub(crate) async fn send(
        &self,
        call: &OutgoingRequest<'_>,
        finish: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, ClientError> {
        self.check_author()?;
        let key = call
            .idempotent
            .then(|| format!("{:032x}", rand::random::<u128>()));
        let first = self.preferred.load(Ordering::Relaxed);
        let (mut reason, mut not_asked, mut silent_for) = (String::new(), None, None);
        let mut unable = None;
        for turn in 0..self.servers.len() {
            let index = (first + turn) % self.servers.len();
            let server = &self.servers[index];
            let shown = self.shown.lock().clone();
            let way = self.names.way(server, self.given.as_ref(), shown).await;
            let way = match way {
                Ok(way) => way,
                Err(Why::Nobody(why)) => {
                    reason = why;
                    continue;
                }
                Err(Why::Doubt(doubt)) => {
                    let server = server.to_string();
                    not_asked = Some(ClientError::NotAsked { server, doubt });
                    continue;
                }
            };
            let begun = Instant::now();
            let request = self.request(call, server, key.as_deref(), way)?;
            match self.listened_to(call, server, finish(request).send()).await {
                // It cannot now; over one database another may.
                Ok(response) if response.status() == StatusCode::SERVICE_UNAVAILABLE => {
                    unable = unable.or(Some(response));
                }
                Ok(response) => {
                    self.preferred.store(index, Ordering::Relaxed);
                    return accept(response).await;
                }
                Err(error) => {
                    let says_nothing = error.is_timeout()
                        && (!error.is_connect() || is_taken(server, &error).await);
                    silent_for = says_nothing.then(|| begun.elapsed());
                    reason = innermost(&error);
                    if let Some(pin) = unproven(&reason) {
                        let (server, doubt) = (server.to_string(), Doubt::Unproven(pin));
                        not_asked = Some(ClientError::NotAsked { server, doubt });
                    }
                }
            }
        }
        if let Some(response) = unable {
            return accept(response).await;
        }
        if let (Some(waited), None) = (silent_for, &not_asked) {
            return Err(self.silent(waited));
        }
        // Somebody is there: that is nearer to the cause than where nobody is.
        Err(not_asked.unwrap_or_else(|| ClientError::Unreachable {
            servers: self.servers().join(", "),
            reason,
        }))
    }

    /// A server that has kept silent so long.
    #[must_use]
    pub fn silent(&self, waited: std::time::Duration) -> ClientError {
        ClientError::Silent {
            servers: self.servers().join(", "),
            reason: format!("nothing came for {} s", waited.as_secs()),
        }
    }

    /// Waits for an answer, and says of a server that owes one that it keeps silent.
    async fn listened_to<T>(
        &self,
        call: &OutgoingRequest<'_>,
        server: &Url,
        answer: impl Future<Output = T>,
    ) -> T {
        // A long poll waits on purpose, and what is uploaded takes its time.
        let waits =
            call.method == Method::PUT || call.query.iter().any(|(name, _)| *name == "wait_ms");
        let Some(tell) = self.tell_silence.filter(|_| !waits) else {
            return answer.await;
        };
        let mut answer = std::pin::pin!(answer);
        match tokio::time::timeout(SILENCE_TOLD, &mut answer).await {
            Ok(answer) => answer,
            Err(_) => {
                tell(server.as_str());
                answer.await
            }
        }
    }

    /// Whether the author can be told, as the server will take it.
    fn check_author(&self) -> Result<(), ClientError> {
        match &self.author {
            Some(author)
                if author.trim().is_empty()
                    || author.len() > AUTHOR_BYTES_MAX
                    || author.chars().any(char::is_control) =>
            {
                Err(ClientError::Author(author.clone()))
            }
            _ => Ok(()),
        }
    }

    fn request(
        &self,
        call: &OutgoingRequest<'_>,
        server: &Url,
        key: Option<&str>,
        way: WayToServer,
    ) -> Result<RequestBuilder, ClientError> {
        let mut url = call.url(server);
        let mut named = None;
        if let (Some(address), Some(host)) = (way.address, url.host_str()) {
            named = Some(match url.port() {
                Some(port) => format!("{host}:{port}"),
                None => host.to_owned(),
            });
            // An `http` or `https` URL takes every address.
            let _ = url.set_ip_host(address.ip());
        }
        let http = match way.tls {
            Some(Tls { pin, credential }) => self.encrypted.get(pin, credential.as_ref())?,
            None => self.http.clone(),
        };
        let mut request = http.request(call.method.clone(), url);
        if let Some(host) = named {
            request = request.header(http::header::HOST, host);
        }
        if let Some(token) = way.token {
            request = request.bearer_auth(token);
        }
        if let Some(author) = &self.author {
            request = request.header(AUTHOR, author);
        }
        if let Some(key) = key {
            request = request.header(IDEMPOTENCY_KEY, key);
        }
        Ok(request)
    }
}

/// Passes a success on and turns everything else into an error.
async fn accept(response: Response) -> Result<Response, ClientError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let url = response.url().to_string();
    let text = response
        .text()
        .await
        .map_err(|error| broken(&url, &error))?;
    Err(problem(status, url, &text))
}

fn problem(status: StatusCode, url: String, text: &str) -> ClientError {
    match serde_json::from_str::<Problem>(text) {
        Ok(problem) => ClientError::Problem(problem),
        Err(_) => ClientError::Unexpected {
            url,
            reason: format!("status {status} without a problem in its body"),
        },
    }
}

async fn data<T: DeserializeOwned>(response: Response) -> Result<T, ClientError> {
    let url = response.url().to_string();
    let body = response
        .bytes()
        .await
        .map_err(|error| broken(&url, &error))?;
    serde_json::from_slice(&body).map_err(|error| ClientError::Unexpected {
        url,
        reason: error.to_string(),
    })
}

/// Whether it is TLS that did not come about: somebody takes connections there.
async fn is_taken(server: &Url, error: &reqwest::Error) -> bool {
    let asked = error.url().unwrap_or(server);
    let host = asked.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let Some(port) = asked.port_or_known_default() else {
        return false;
    };
    let connecting = tokio::net::TcpStream::connect((host, port));
    let taken = tokio::time::timeout(TAKEN_LIMIT, connecting).await;
    server.scheme() == "https" && matches!(taken, Ok(Ok(_)))
}

/// The pin of the authority whose server was looked for, where something else listens.
fn unproven(reason: &str) -> Option<Pin> {
    let (_, pin) = reason.split_once(UNPROVEN)?;
    pin.trim().parse().ok()
}

/// An answer that broke off.
pub(crate) fn broken(url: &str, error: &reqwest::Error) -> ClientError {
    ClientError::Unreachable {
        servers: url.to_owned(),
        reason: innermost(error),
    }
}

/// The cause at the bottom: the outer layers only repeat the address.
pub(crate) fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_queries_are_encoded() {
        let server = Url::parse("http://127.0.0.1:1/prefix").expect("a URL");
        let url = OutgoingRequest::get(&["v1", "nodes", "a/b c"])
            .with("after", Some("x&y"))
            .with("limit", None::<u32>)
            .url(&server);
        assert_eq!(
            url.as_str(),
            "http://127.0.0.1:1/prefix/v1/nodes/a%2Fb%20c?after=x%26y"
        );
    }
}
