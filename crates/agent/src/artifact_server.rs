//! Artifacts for other nodes of the same site: by digest, over mutual TLS, to those whom the upgrade server has given a pass. What is served
//! is what lies here; whoever fetches checks it.

use client::{Client, PASS_HEADER};
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use identity::{Credential, PassChecker, PeerCertificate, node_server_config};
use model::api::{PrincipalKind, Problem};
use model::manifest::Digest;
use parking_lot::Mutex;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tower_http::services::ServeFile;

/// How many callers there are at once who have shown who they are: the upgrade server sends a few nodes, each of which opens a few connections.
const CONNECTIONS_MAX: usize = 64;

/// How many callers there are at once of whom nobody knows yet who they are; more are turned away at once.
const STRANGERS_MAX: usize = 256;

/// How many artifacts are on their way at once.
const UNDER_WAY_MAX: usize = 32;

/// How long a caller may take to show who it is.
const STRANGER_LIMIT: Duration = Duration::from_secs(3);

/// How long a caller may take for the head of a request, the time before it included.
const HEAD_LIMIT: Duration = Duration::from_secs(10);

/// How long a connection may last, however slow its caller reads: what was begun is gone on with on another.
const CONNECTION_LIMIT: Duration = Duration::from_secs(3_600);

/// How long nothing is accepted when descriptors have run out.
const SCARCITY_PAUSE: Duration = Duration::from_millis(200);

/// The path below which artifacts lie.
const ARTIFACTS: &str = "/v1/artifacts/";

type ServedBody = UnsyncBoxBody<Bytes, io::Error>;

/// Serves the artifacts in one folder.
#[derive(Clone)]
pub struct ArtifactServer {
    client: Arc<Client>,
    folder: PathBuf,
    /// How others are spoken with, as long as the own certificate is the same.
    speaks: Arc<Mutex<Option<Speaks>>>,
    under_way: Arc<Semaphore>,
}

/// How others are spoken with, by this certificate.
#[derive(Clone)]
struct Speaks {
    credential: Arc<Credential>,
    tls: TlsAcceptor,
    checker: PassChecker,
}

/// Listens for other nodes at one of the node's addresses; where that is not an address of this host, but leads here, at all of the host's.
///
/// # Errors
/// The port is taken, or must not be used.
pub async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
            let all: IpAddr = match address.ip() {
                IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
            };
            TcpListener::bind((all, address.port())).await
        }
        bound => bound,
    }
}

impl ArtifactServer {
    /// For the artifacts in this folder, showing the certificate that the client shows.
    #[must_use]
    pub fn new(client: Arc<Client>, folder: PathBuf) -> Self {
        Self {
            client,
            folder,
            speaks: Arc::default(),
            under_way: Arc::new(Semaphore::new(UNDER_WAY_MAX)),
        }
    }

    /// Serves for ever.
    pub async fn serve(self, listener: TcpListener) {
        let known = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let strangers = Arc::new(Semaphore::new(STRANGERS_MAX));
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let Ok(stranger) = Arc::clone(&strangers).try_acquire_owned() else {
                        continue;
                    };
                    let (own, known) = (self.clone(), Arc::clone(&known));
                    tokio::spawn(async move {
                        let serving = own.connection(stream, stranger, known);
                        let _ = tokio::time::timeout(CONNECTION_LIMIT, serving).await;
                    });
                }
                Err(error) => {
                    tracing::debug!(%error, "no connection of another node is accepted");
                    tokio::time::sleep(SCARCITY_PAUSE).await;
                }
            }
        }
    }

    /// How others are spoken with now; none where no certificate is shown.
    fn speaks(&self) -> Option<Speaks> {
        let credential = self.client.credential()?;
        let mut speaks = self.speaks.lock();
        if let Some(same) = speaks
            .as_ref()
            .filter(|speaks| Arc::ptr_eq(&speaks.credential, &credential))
        {
            return Some(same.clone());
        }
        let config = node_server_config(&credential);
        let config = config.inspect_err(|error| {
            tracing::warn!(%error, "artifacts are not served to other nodes");
        });
        let now = Speaks {
            checker: PassChecker::of(&credential),
            tls: TlsAcceptor::from(Arc::new(config.ok()?)),
            credential,
        };
        *speaks = Some(now.clone());
        Some(now)
    }

    async fn connection(
        self,
        stream: TcpStream,
        stranger: OwnedSemaphorePermit,
        known: Arc<Semaphore>,
    ) {
        let Some(speaks) = self.speaks() else {
            return;
        };
        let accepted = tokio::time::timeout(STRANGER_LIMIT, speaks.tls.accept(stream)).await;
        let Ok(Ok(stream)) = accepted else {
            return;
        };
        let shown = stream.get_ref().1.peer_certificates();
        let caller = shown.and_then(|shown| PeerCertificate::read(shown.first()?).ok());
        let Some(caller) = caller else {
            return;
        };
        drop(stranger);
        let Ok(_place) = known.acquire_owned().await else {
            return;
        };
        let service = service_fn(|request| {
            let answer = self.answer(request, &caller, &speaks.checker);
            async { Ok::<_, Infallible>(answer.await) }
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_LIMIT)
            .serve_connection(TokioIo::new(stream), service)
            .await;
        if let Err(error) = served {
            tracing::debug!(%error, caller = %caller.principal, "a connection of another node ended");
        }
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        caller: &PeerCertificate,
        checker: &PassChecker,
    ) -> Response<ServedBody> {
        if let Err(why) = may_fetch(request.headers(), caller, checker) {
            tracing::warn!(caller = %caller.principal, "an artifact is not given to {}: its pass {why}", caller.principal);
            let detail = format!("The pass of {} {why}.", caller.principal);
            return refused(StatusCode::FORBIDDEN, "forbidden", detail);
        }
        let name = request.uri().path().strip_prefix(ARTIFACTS);
        let digest = name.and_then(|name| name.parse::<Digest>().ok());
        let Some(digest) = digest.filter(|_| request.method() == Method::GET) else {
            let detail = format!("Ask with GET for {ARTIFACTS} and a digest.");
            return refused(StatusCode::NOT_FOUND, "not-found", detail);
        };
        let Ok(place) = Arc::clone(&self.under_way).try_acquire_owned() else {
            let detail = format!("{UNDER_WAY_MAX} artifacts are on their way from here already.");
            return refused(StatusCode::SERVICE_UNAVAILABLE, "busy", detail);
        };
        let path = self.folder.join(digest.to_string());
        let is_here = tokio::fs::metadata(&path)
            .await
            .is_ok_and(|it| it.is_file());
        let served = match ServeFile::new(path).try_call(request).await {
            Ok(served) if is_here => served,
            _ => {
                let detail = format!("There is no artifact {digest} at this node.");
                return refused(StatusCode::NOT_FOUND, "unknown-artifact", detail);
            }
        };
        // As long as it is on its way.
        served.map(move |body| {
            body.map_frame(move |frame| (frame, &place).0)
                .boxed_unsync()
        })
    }
}

/// Whether a caller is a node that has a pass now.
fn may_fetch(
    headers: &HeaderMap,
    caller: &PeerCertificate,
    checker: &PassChecker,
) -> Result<(), &'static str> {
    if caller.principal.kind != PrincipalKind::Node {
        return Err("is not a node's");
    }
    let pass = headers.get(PASS_HEADER).and_then(|pass| pass.to_str().ok());
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_ms = since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0));
    checker.check(pass.ok_or("is missing")?, &caller.key, now_ms)
}

fn refused(status: StatusCode, kind: &str, detail: String) -> Response<ServedBody> {
    let problem = Problem {
        kind: format!("/problems/{kind}"),
        title: status.canonical_reason().unwrap_or_default().to_owned(),
        status: status.as_u16(),
        detail,
    };
    let text = serde_json::to_vec(&problem).unwrap_or_default();
    let body = Full::from(text).map_err(|never: Infallible| match never {});
    let mut answer = Response::new(body.boxed_unsync());
    *answer.status_mut() = status;
    let kind = header::HeaderValue::from_static("application/problem+json");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}

#[cfg(test)]
mod tests;
