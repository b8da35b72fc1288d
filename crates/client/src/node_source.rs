//! Artifacts from other nodes: the server names one, and it serves them as a server does.

use crate::transport::{OutgoingRequest, innermost};
use crate::{Client, ClientError, builder};
use bytes::Bytes;
use http::StatusCode;
use http::header::RANGE;
use identity::node_client_config;
use model::api::{NodeSource, Problem, SourceAnswer, SourceRequest};
use model::ids::NodeId;
use parking_lot::Mutex;
use reqwest::Response;
use std::net::SocketAddr;
use std::time::Duration;

/// How long another node may say nothing: somebody else has what it has.
const NODE_SILENCE_LIMIT: Duration = Duration::from_secs(10);

/// The header with the pass.
pub const PASS_HEADER: &str = "Upstart-Pass";

impl Client {
    /// Asks from where to fetch a bundle (`POST /v1/nodes/{id}/source`), and says how that went.
    ///
    /// # Errors
    /// 404 `/problems/unknown-node`; a server from before knows no such question.
    pub async fn source(
        &self,
        node: NodeId,
        request: &SourceRequest,
    ) -> Result<SourceAnswer, ClientError> {
        let node = node.to_string();
        let path = ["v1", "nodes", &node, "source"];
        // No key: an answer that was remembered would be an old one.
        let call = OutgoingRequest::new(http::Method::POST, &path, false);
        self.tell(call, request).await
    }

    /// Another node as a source, to which the own certificate is shown; `None` where none is shown here.
    ///
    /// # Errors
    /// The cryptography fails.
    pub fn node_source(&self, source: NodeSource) -> Result<Option<NodeClient>, ClientError> {
        let Some(shown) = self.shown.lock().clone() else {
            return Ok(None);
        };
        let tls = node_client_config(&shown.credential, &source.key)?;
        let http = builder()
            .read_timeout(NODE_SILENCE_LIMIT)
            .tls_backend_preconfigured(tls)
            .build()
            .map_err(ClientError::Setup)?;
        let pass = Mutex::new(source.pass.clone());
        Ok(Some(NodeClient { http, source, pass }))
    }
}

/// Why something did not come from another node.
#[derive(Clone, Debug, thiserror::Error)]
#[error("node {node} at {address} does not give it: {reason}")]
pub struct NodeSourceError {
    /// The node's name.
    pub node: String,
    /// Where it was asked.
    pub address: SocketAddr,
    /// What it said, or what came between.
    pub reason: String,
    /// The node has said that it does not have it.
    pub is_missing: bool,
}

/// Another node that serves artifacts.
#[derive(Debug)]
pub struct NodeClient {
    http: reqwest::Client,
    source: NodeSource,
    pass: Mutex<String>,
}

/// What comes from another node. Nobody has checked it.
#[derive(Debug)]
pub struct NodeBody<'a> {
    response: Response,
    from: &'a NodeClient,
}

impl NodeClient {
    /// The node's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.source.node
    }

    /// Whether it is this node, as it was named before.
    #[must_use]
    pub fn is_at(&self, source: &NodeSource) -> bool {
        (&self.source.node, &self.source.key, self.source.address)
            == (&source.node, &source.key, source.address)
    }

    /// Shows this pass from now on.
    pub fn show_pass(&self, pass: String) {
        *self.pass.lock() = pass;
    }

    /// Something of this node is not as it should be.
    #[must_use]
    pub fn error(&self, reason: impl Into<String>) -> NodeSourceError {
        NodeSourceError {
            node: self.source.node.clone(),
            address: self.source.address,
            reason: reason.into(),
            is_missing: false,
        }
    }

    /// `count` bytes of an artifact from `first` on; all of them without a count.
    ///
    /// # Errors
    /// The node does not have it, serves others, does not let this one in, cannot be reached, or is another one.
    pub async fn artifact(
        &self,
        sha256: &str,
        first: u64,
        count: Option<u64>,
    ) -> Result<NodeBody<'_>, NodeSourceError> {
        let url = format!("https://{}/v1/artifacts/{sha256}", self.source.address);
        let pass = self.pass.lock().clone();
        let mut request = self.http.get(url).header(PASS_HEADER, pass);
        let range = match count {
            Some(count) => {
                let last = first.saturating_add(count).saturating_sub(1);
                Some(format!("bytes={first}-{last}"))
            }
            None => (first > 0).then(|| format!("bytes={first}-")),
        };
        let expected = match range {
            Some(_) => StatusCode::PARTIAL_CONTENT,
            None => StatusCode::OK,
        };
        if let Some(range) = range {
            request = request.header(RANGE, range);
        }
        let answer = request.send().await;
        let response = answer.map_err(|error| self.error(innermost(&error)))?;
        if response.status() == expected {
            return Ok(NodeBody {
                response,
                from: self,
            });
        }
        let status = response.status();
        let problem = response.json::<Problem>().await;
        let said = problem.map_or_else(|_| format!("status {status}"), |problem| problem.detail);
        Err(NodeSourceError {
            is_missing: status == StatusCode::NOT_FOUND,
            ..self.error(said)
        })
    }
}

impl NodeBody<'_> {
    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// The connection breaks, or nothing comes for long.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, NodeSourceError> {
        let chunk = self.response.chunk().await;
        chunk.map_err(|error| self.from.error(innermost(&error)))
    }
}
