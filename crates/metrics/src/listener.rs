//! Metrics over plain HTTP, for whoever reaches the address: few connections at once, little time for each, and nothing is changed.

use crate::form::ScrapeForm;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// How many callers there are at once: a few servers of Prometheus, and somebody who looks. More are turned away.
const CONNECTIONS_MAX: usize = 32;

/// How long a caller may take for the head of a request, the time before it included. Prometheus keeps its connection from scrape to
/// scrape, which are a minute apart at most by default.
const HEAD_LIMIT: Duration = Duration::from_secs(120);

/// How long a connection may last, however slow its caller reads; a good one is made anew.
const CONNECTION_LIMIT: Duration = Duration::from_secs(3_600);

/// How long nothing is accepted when descriptors have run out.
const SCARCITY_PAUSE: Duration = Duration::from_millis(200);

/// What there is at other paths.
const ELSEWHERE: &str = "There are metrics at /metrics, and nothing else here.\n";

/// Where the text of a scrape comes from.
pub trait ScrapeSource: Send + Sync + 'static {
    /// The metrics of this moment.
    fn scrape(&self, form: ScrapeForm) -> impl Future<Output = String> + Send;
}

/// Serves `/metrics` until this is dropped, and its connections with it.
pub async fn serve(listener: TcpListener, source: Arc<impl ScrapeSource>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(SCARCITY_PAUSE).await;
            continue;
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            continue;
        };
        let source = Arc::clone(&source);
        connections.spawn(async move {
            let serving = connection(stream, source);
            let _ = tokio::time::timeout(CONNECTION_LIMIT, serving).await;
            drop(place);
        });
    }
}

async fn connection(stream: TcpStream, source: Arc<impl ScrapeSource>) {
    let service = service_fn(|request| {
        let source = Arc::clone(&source);
        async move { Ok::<_, Infallible>(answer(&request, &*source).await) }
    });
    // How a connection ends is its caller's business.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(request: &Request<Incoming>, source: &impl ScrapeSource) -> Response<Full<Bytes>> {
    let says = |status, text: &'static str| {
        let mut answer = Response::new(Full::from(text));
        *answer.status_mut() = status;
        let kind = HeaderValue::from_static("text/plain; charset=utf-8");
        answer.headers_mut().insert(CONTENT_TYPE, kind);
        answer
    };
    if request.uri().path() != "/metrics" {
        return says(StatusCode::NOT_FOUND, ELSEWHERE);
    }
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let mut answer = says(StatusCode::METHOD_NOT_ALLOWED, "Ask with GET.\n");
        let allowed = HeaderValue::from_static("GET, HEAD");
        answer.headers_mut().insert(ALLOW, allowed);
        return answer;
    }
    let accept = request.headers().get(ACCEPT);
    let form = ScrapeForm::accepted(accept.and_then(|accept| accept.to_str().ok()));
    let mut answer = Response::new(Full::from(source.scrape(form).await));
    let kind = HeaderValue::from_static(form.media_type());
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}
