//! The connection to the software: one for each caller's connection, opened anew when the software
//! has been started anew. Nothing is ever sent twice.

use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::task::AbortHandle;

use super::bounded::{BoundedStream, Budget, CallerSide};
use super::interim::{Expectation, Interims};
use super::message::{self, OutgoingBody};
use call::{Answer, Call, Delegate, Dial, Failure, Limits, PassesInterims, Pending, Upstream};

/// An open connection to the software.
struct Connection {
    upstream: Upstream,
    sender: SendRequest<OutgoingBody>,
    budget: Arc<Budget>,
    side: Arc<CallerSide>,
    /// It waits for a body that never comes: nothing else can be sent on it.
    is_spent: bool,
    task: AbortHandle,
}

/// Without its caller it is of no use.
impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The way to the software for one caller's connection.
pub(super) struct HttpSoftware {
    caller: SocketAddr,
    dial: Arc<dyn Dial>,
    limits: Arc<Limits>,
    open: Mutex<Option<Connection>>,
    /// The caller's side of the connection that was used last.
    side: Mutex<Arc<CallerSide>>,
    /// The software has not wanted a body that was announced.
    has_declined: AtomicBool,
}

impl HttpSoftware {
    pub(super) fn new(caller: SocketAddr, dial: Arc<dyn Dial>, limits: Arc<Limits>) -> Self {
        Self {
            caller,
            dial,
            limits,
            open: Mutex::new(None),
            side: Mutex::default(),
            has_declined: AtomicBool::new(false),
        }
    }

    /// Whether a body was announced that is never read: the caller's connection cannot go on.
    pub(super) fn has_declined(&self) -> bool {
        self.has_declined.load(Ordering::Relaxed)
    }

    /// The caller has ended its side: the software is told so where its call runs.
    pub(super) fn end_side(&self) {
        self.side.lock().end();
    }

    fn uses(&self, connection: &Connection) {
        let mut side = self.side.lock();
        *side = connection.side.clone();
    }

    fn slot(&self) -> parking_lot::MutexGuard<'_, Option<Connection>> {
        self.open.lock()
    }

    /// The open connection, if it still leads to the running software.
    async fn reuse(&self, upstream: Upstream) -> Option<Connection> {
        let mut connection = self.slot().take()?;
        let usable =
            connection.upstream == upstream && !connection.is_spent && !connection.side.has_ended();
        (usable && connection.sender.ready().await.is_ok()).then_some(connection)
    }

    async fn dial(&self, upstream: Upstream) -> Result<Connection, Failure> {
        let stream = self
            .dial
            .dial(upstream, self.caller)
            .await
            .map_err(Failure::Unreachable)?;
        // Heads and bodies are written as they are complete; waiting would only delay.
        let _ = stream.set_nodelay(true);
        let mut builder = http1::Builder::new();
        builder
            .preserve_header_case(true)
            .max_headers(self.limits.headers_max)
            .max_header_size(self.limits.head_bytes_max);
        let budget = Arc::new(Budget::default());
        let side: Arc<CallerSide> = Arc::default();
        let stream = BoundedStream::new(stream, budget.clone(), side.clone());
        let (sender, connection) = builder
            .handshake(TokioIo::new(stream))
            .await
            .map_err(Failure::Broken)?;
        let left = side.clone();
        let task = tokio::spawn(async move {
            let mut connection = connection;
            let ended = tokio::select! {
                ended = &mut connection => ended,
                // Polled again, it flushes, and so tells the software.
                () = left.ended() => connection.await,
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "the software's connection failed");
            }
        });
        Ok(Connection {
            upstream,
            sender,
            budget,
            side,
            is_spent: false,
            task: task.abort_handle(),
        })
    }

    /// The connection that was used last waits for a body that never comes.
    fn spend(&self) {
        self.has_declined.store(true, Ordering::Relaxed);
        if let Some(connection) = self.slot().as_mut() {
            connection.is_spent = true;
        }
    }

    /// Sends a request. A connection that turns out to be closed before anything was sent is
    /// replaced once; after the first byte a failure is final.
    async fn exchange(
        &self,
        upstream: Upstream,
        request: Request<OutgoingBody>,
    ) -> Result<Response<Incoming>, Failure> {
        let mut request = request;
        if let Some(mut connection) = self.reuse(upstream).await {
            self.uses(&connection);
            connection.budget.begin(self.limits.head_bytes_max);
            match connection.sender.try_send_request(request).await {
                Ok(response) => {
                    connection.budget.end();
                    *self.slot() = Some(connection);
                    return Ok(response);
                }
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(Failure::Broken(error.into_error())),
                },
            }
        }
        let mut connection = self.dial(upstream).await?;
        self.uses(&connection);
        connection.budget.begin(self.limits.head_bytes_max);
        let response = connection
            .sender
            .send_request(request)
            .await
            .map_err(Failure::Broken)?;
        connection.budget.end();
        *self.slot() = Some(connection);
        Ok(response)
    }
}

/// The software, as the end of one call's chain.
pub(super) struct HttpToSoftware<'s> {
    pub(super) software: &'s HttpSoftware,
    pub(super) upstream: Upstream,
}

impl Delegate for HttpToSoftware<'_> {
    fn send<'a>(&'a mut self, call: Call) -> Pending<'a, Result<Answer, Failure>> {
        Box::pin(async move {
            let call = call.into_http()?;
            let passes = call.head.extensions.get::<PassesInterims>();
            let interims = passes.and_then(|_| call.head.extensions.get::<Interims>().cloned());
            let (mut request, expectation) = message::request(call);
            if interims.is_some() || expectation.is_some() {
                listen(&mut request, interims.clone(), expectation.clone());
            }
            let exchange = self.software.exchange(self.upstream, request);
            let response = match interims {
                Some(interims) => interims.before(exchange).await?,
                None => exchange.await?,
            };
            call::answered();
            if expectation.is_some_and(|expected| expected.is_declined()) {
                self.software.spend();
            }
            Ok(message::answer(response)?.into())
        })
    }
}

/// Takes what the software says before its answer.
fn listen(
    request: &mut Request<OutgoingBody>,
    interims: Option<Interims>,
    expectation: Option<Expectation>,
) {
    hyper::ext::on_informational(request, move |said| match (said.status(), &interims) {
        (StatusCode::CONTINUE, _) => {
            if let Some(expectation) = &expectation {
                expectation.go_on();
            }
        }
        (StatusCode::SWITCHING_PROTOCOLS, _) | (_, None) => {}
        (status, Some(interims)) => interims.push(status, said.headers()),
    });
}
