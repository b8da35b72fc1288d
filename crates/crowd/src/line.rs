//! One connection to the server, as an agent has it: TLS with the node's own certificate, then HTTP/1.1.

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpSocket;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

/// How long a connection may take to open, and a request to be answered: as agents wait.
const LIMIT: Duration = Duration::from_secs(60);

/// How a caller comes to the server.
#[derive(Clone, Debug)]
pub(crate) struct WayThere {
    pub(crate) server: SocketAddr,
    /// From which address: each host of a system has its own.
    pub(crate) from: IpAddr,
    /// The token that is shown where the caller has no certificate.
    pub(crate) token: Option<String>,
}

/// An open connection; it counts among those that are open at once until it is dropped.
pub(crate) struct Line {
    sender: SendRequest<Full<Bytes>>,
    authorization: Option<String>,
    host: String,
    _place: Option<OwnedSemaphorePermit>,
}

impl Line {
    /// Opens a connection.
    pub(crate) async fn open(
        tls: &TlsConnector,
        way: &WayThere,
        place: Option<OwnedSemaphorePermit>,
    ) -> anyhow::Result<Self> {
        let opened = timeout(LIMIT, connect(tls, way)).await;
        let sender = opened.context("no connection within a minute")??;
        Ok(Self {
            sender,
            authorization: way.token.as_ref().map(|token| format!("Bearer {token}")),
            host: way.server.to_string(),
            _place: place,
        })
    }

    /// Whether another request can be sent on it.
    pub(crate) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Asks, and reads the answer as data.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&(impl Serialize + Sync)>,
    ) -> anyhow::Result<T> {
        let body = body.map(serde_json::to_vec).transpose()?;
        let answer = self.bytes(method, path, body).await?;
        let text = if answer.is_empty() {
            b"null"
        } else {
            &answer[..]
        };
        Ok(serde_json::from_slice(text)?)
    }

    /// Asks, and gives the answer as it came.
    pub(crate) async fn bytes(
        &mut self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> anyhow::Result<Bytes> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.host);
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::from(body.unwrap_or_default()))?;
        let answered = timeout(LIMIT, async {
            let answer = self.sender.send_request(request).await?;
            let status = answer.status();
            anyhow::Ok((status, answer.into_body().collect().await?.to_bytes()))
        });
        let (status, text) = answered.await.context("no answer within a minute")??;
        if !status.is_success() {
            bail!(refusal(status, &text));
        }
        Ok(text)
    }
}

/// What a server has refused, by the problem's type, so that like ones are counted together.
fn refusal(status: StatusCode, text: &[u8]) -> String {
    let problem: Option<model::api::Problem> = serde_json::from_slice(text).ok();
    match problem {
        Some(problem) => format!("{} {}", status.as_u16(), problem.kind),
        None => format!("status {status}"),
    }
}

async fn connect(tls: &TlsConnector, way: &WayThere) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let socket = match way.from {
        IpAddr::V4(_) => TcpSocket::new_v4()?,
        IpAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_nodelay(true)?;
    socket.bind(SocketAddr::new(way.from, 0))?;
    let stream = socket.connect(way.server).await?;
    let name = ServerName::from(way.server.ip());
    let stream = tls.connect(name, stream).await?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    // How it ends is seen by whoever asks.
    tokio::spawn(connection);
    Ok(sender)
}
