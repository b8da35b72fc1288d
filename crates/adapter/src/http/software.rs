//! The connection to the software: one for each caller's connection, opened anew when the software
//! has been started anew. Nothing is ever sent twice.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::task::AbortHandle;

use super::bounded::{BoundedStream, Budget};
use super::message::{self, Outgoing};
use crate::call::{Answer, Call};
use crate::chain::{Delegate, Pending};
use crate::gate::{Dial, Upstream};
use crate::limits::Limits;
use crate::observer::Failure;

/// An open connection to the software.
struct Connection {
    upstream: Upstream,
    sender: SendRequest<Outgoing>,
    budget: Arc<Budget>,
    task: AbortHandle,
}

/// Without its caller it is of no use.
impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The way to the software for one caller's connection.
pub(super) struct Software {
    caller: SocketAddr,
    dial: Arc<dyn Dial>,
    limits: Arc<Limits>,
    open: Mutex<Option<Connection>>,
}

impl Software {
    pub(super) fn new(caller: SocketAddr, dial: Arc<dyn Dial>, limits: Arc<Limits>) -> Software {
        Software {
            caller,
            dial,
            limits,
            open: Mutex::new(None),
        }
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Connection>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The open connection, if it still leads to the running software.
    async fn reuse(&self, upstream: Upstream) -> Option<Connection> {
        let mut connection = self.slot().take()?;
        let usable = connection.upstream == upstream && connection.sender.ready().await.is_ok();
        usable.then_some(connection)
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
        let stream = BoundedStream::new(stream, budget.clone());
        let (sender, connection) = builder
            .handshake(TokioIo::new(stream))
            .await
            .map_err(Failure::Broken)?;
        let task = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the software's connection failed");
            }
        });
        Ok(Connection {
            upstream,
            sender,
            budget,
            task: task.abort_handle(),
        })
    }

    /// Sends a request. A connection that turns out to be closed before anything was sent is
    /// replaced once; after the first byte a failure is final.
    async fn exchange(
        &self,
        upstream: Upstream,
        request: Request<Outgoing>,
    ) -> Result<Response<Incoming>, Failure> {
        let mut request = request;
        if let Some(mut connection) = self.reuse(upstream).await {
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
pub(super) struct ToSoftware<'s> {
    pub(super) software: &'s Software,
    pub(super) upstream: Upstream,
}

impl Delegate for ToSoftware<'_> {
    fn send<'a>(&'a mut self, call: Call) -> Pending<'a, Result<Answer, Failure>> {
        Box::pin(async move {
            let request = message::request(call);
            let response = self.software.exchange(self.upstream, request).await?;
            message::answer(response)
        })
    }
}
