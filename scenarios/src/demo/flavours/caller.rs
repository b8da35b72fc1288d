//! A caller of one node at one version: HTTP on a connection that carries a member's label.

use bytes::Bytes;
use color_flavor_adapter::form::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use label::{LABEL_BYTES_MAX, Label};
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::timeout;

/// How long a call may take: above what a node holds calls at most.
const CALL_LIMIT: Duration = Duration::from_secs(60);

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reply {
    pub(super) status: u16,
    /// Null where there is none.
    pub(super) body: Value,
}

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The connection was refused: nothing has happened.
    Refused,
    /// The connection broke: nobody knows whether something has happened.
    Broken(String),
    /// There was no answer in time.
    Late,
}

/// One caller.
pub(super) struct Caller {
    address: SocketAddr,
    label: Vec<u8>,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Caller {
    pub(super) fn new(address: SocketAddr, system: u64, version: u32) -> Self {
        let mut bytes = [0; LABEL_BYTES_MAX];
        let length = Label::plain(system, version, u32::MAX).encode(&mut bytes);
        Self {
            address,
            label: bytes[..length].to_vec(),
            connection: None,
        }
    }

    /// Makes one call, once, on the connection of the last one if there is one.
    pub(super) async fn call(&mut self, request: Request) -> Result<Reply, Fault> {
        let answered = timeout(CALL_LIMIT, self.attempt(request)).await;
        let answered = answered.unwrap_or(Err(Fault::Late));
        if answered.is_err() {
            self.connection = None;
        }
        answered
    }

    async fn attempt(&mut self, request: Request) -> Result<Reply, Fault> {
        let broken = |error: hyper::Error| Fault::Broken(format!("{error:?}"));
        if self.connection.as_ref().is_none_or(SendRequest::is_closed) {
            let stream = agent::dial::dial(self.address, &self.label).await;
            let stream = stream.map_err(|error| match error.kind() {
                std::io::ErrorKind::ConnectionRefused => Fault::Refused,
                _ => Fault::Broken(error.to_string()),
            })?;
            let (connection, work) = handshake(TokioIo::new(stream)).await.map_err(broken)?;
            tokio::spawn(work);
            self.connection = Some(connection);
        }
        let Some(connection) = &mut self.connection else {
            return Err(Fault::Refused);
        };
        connection.ready().await.map_err(broken)?;
        let built = hyper::Request::builder()
            .method(request.method.as_str())
            .uri(&request.target)
            .header("host", self.address.to_string())
            .body(Full::from(request.body));
        let built = built.map_err(|error| Fault::Broken(error.to_string()))?;
        let answer = connection.send_request(built).await.map_err(broken)?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.map_err(broken)?;
        let body = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
        Ok(Reply { status, body })
    }
}
