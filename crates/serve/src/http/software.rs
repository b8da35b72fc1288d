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

use super::bounded::{BoundedStream, Budget, CallerSide, Sending};
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

    /// The open connection, if it still leads to the running software and a request can be sent on it.
    async fn reuse(&self, upstream: Upstream) -> Option<(Connection, Sending)> {
        let mut connection = self.slot().take()?;
        if connection.upstream != upstream || connection.is_spent {
            return None;
        }
        connection.sender.ready().await.ok()?;
        let sending = connection.side.send()?;
        Some((connection, sending))
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
        if let Some((mut connection, sending)) = self.reuse(upstream).await {
            self.uses(&connection);
            connection.budget.begin(self.limits.head_bytes_max);
            request.body_mut().set_end(Box::new(sending));
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
        // Nobody can have ended it yet.
        if let Some(sending) = connection.side.send() {
            request.body_mut().set_end(Box::new(sending));
        }
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::io;
    use std::net::Ipv4Addr;

    use http_body_util::BodyExt;
    use hyper::service::service_fn;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::mpsc;

    use super::*;
    use call::{BodyLimits, CallContext, HttpCall};

    #[derive(Debug)]
    struct PlainDial;

    impl Dial for PlainDial {
        fn dial(&self, upstream: Upstream, _: SocketAddr) -> Pending<'_, io::Result<TcpStream>> {
            Box::pin(TcpStream::connect(upstream.address))
        }
    }

    /// A call as it comes from a caller, whose body's bytes come when the returned end writes them.
    async fn announced() -> (HttpCall, tokio::io::DuplexStream) {
        let (mut caller, node) = tokio::io::duplex(1024);
        let (calls, mut taken) = mpsc::channel(1);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let calls = calls.clone();
                async move {
                    calls.send(request).await.expect("it is awaited");
                    std::future::pending::<Result<Response<String>, Infallible>>().await
                }
            });
            let server = hyper::server::conn::http1::Builder::new();
            server.serve_connection(TokioIo::new(node), service).await
        });
        let head = b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\n";
        caller.write_all(head).await.expect("sent");
        let request = taken.recv().await.expect("a call");
        let context = CallContext::new(BodyLimits {
            bytes_max: 100,
            depth_max: 1,
        });
        (message::call(request, context), caller)
    }

    /// Lets everything run that can run, on this one thread.
    async fn settle() {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    /// The caller sent all and ended its side; that was seen before the last of its body had gone on.
    #[tokio::test]
    async fn a_callers_end_comes_behind_its_body() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("bind");
        let upstream = Upstream {
            address: listener.local_addr().expect("address"),
            generation: 1,
        };
        let caller = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let software = Arc::new(HttpSoftware::new(
            caller,
            Arc::new(PlainDial),
            Arc::default(),
        ));
        let (call, mut rest) = announced().await;
        let way = software.clone();
        let answer = tokio::spawn(async move {
            let (request, _) = message::request(call);
            way.exchange(upstream, request).await
        });
        let (mut accepted, _) = listener.accept().await.expect("dialled");
        let mut seen = Vec::new();
        while !seen.ends_with(b"\r\n\r\n") {
            accepted.read_buf(&mut seen).await.expect("a head");
        }
        software.end_side();
        settle().await;
        rest.write_all(b"abcdef").await.expect("sent");
        let mut body = Vec::new();
        accepted
            .read_to_end(&mut body)
            .await
            .expect("an end in order");
        assert_eq!(String::from_utf8_lossy(&body), "abcdef");
        (accepted
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            .await)
            .expect("answered");
        let answer = answer.await.expect("runs").expect("an answer");
        assert_eq!(
            answer
                .into_body()
                .collect()
                .await
                .expect("a body")
                .to_bytes(),
            "ok"
        );
    }
}
