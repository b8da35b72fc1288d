//! From where a bundle is fetched: from the server, or from a node of the same site, as the server says. Whatever goes wrong with nodes, the
//! server has everything.

use crate::error_chain::chain;
use client::{Client, ClientError, NodeClient, NodeSourceError};
use model::api::{FAILED_MAX, SourceAnswer, SourceRequest};
use model::ids::NodeId;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// Fewer bytes than these come from the server: to ask costs as much.
pub(super) const ASKED_BYTES_MIN: u64 = 1 << 20;

/// After so long it is said again where the server has not told a time, in milliseconds.
const AGAIN_MS: u64 = 10_000;

/// Who fetches what: for the server, which then says from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedBundle {
    /// The node's number.
    pub node: NodeId,
    /// The digest of the bundle's manifest, lower-case hex.
    pub manifest_sha256: String,
}

/// From where.
#[derive(Clone, Debug)]
pub(super) enum FetchSource {
    /// From the server.
    Server,
    /// From this node.
    Node(Arc<NodeClient>),
}

/// From where a bundle is fetched.
pub(super) struct Sources {
    client: Arc<Client>,
    /// None where the server is the only source.
    bundle: Option<FetchedBundle>,
    state: Mutex<SourceState>,
}

#[derive(Default)]
struct SourceState {
    now: Option<(FetchSource, Duration)>,
    failed: Vec<String>,
}

impl Sources {
    /// The server alone, or what it says.
    pub(super) fn new(client: Arc<Client>, bundle: Option<FetchedBundle>) -> Self {
        Self {
            client,
            bundle,
            state: Mutex::default(),
        }
    }

    /// The server's client.
    pub(super) fn server(&self) -> &Client {
        &self.client
    }

    /// From where to fetch now. Waits for a place at a node or at the server, as long as the server says so.
    pub(super) async fn now(&self) -> FetchSource {
        let Some(bundle) = &self.bundle else {
            return FetchSource::Server;
        };
        let mut state = self.state.lock().await;
        let mut waits = false;
        loop {
            if let Some((source, _)) = &state.now {
                return source.clone();
            }
            let wait = self.ask(bundle, &mut state).await;
            if state.now.is_none() {
                if !waits {
                    waits = true;
                    tracing::info!(
                        "waits until another node of this site has it, or the server has room: several fetch it already"
                    );
                }
                let jitter: f64 = rand::random_range(0.5..1.5);
                tokio::time::sleep(wait.mul_f64(jitter)).await;
            }
        }
    }

    /// Asks; where there is nothing yet, gives how long to wait.
    async fn ask(&self, bundle: &FetchedBundle, state: &mut SourceState) -> Duration {
        let answer = self.question(bundle, &state.failed).await;
        let answer = answer.unwrap_or_else(|error| {
            tracing::debug!(error = %chain(&error), "the server does not say from where to fetch: from itself");
            SourceAnswer::Server { again_ms: AGAIN_MS }
        });
        self.take(answer, state)
    }

    async fn question(
        &self,
        bundle: &FetchedBundle,
        failed: &[String],
    ) -> Result<SourceAnswer, ClientError> {
        let request = SourceRequest {
            manifest_sha256: bundle.manifest_sha256.clone(),
            failed: failed.to_vec(),
            done: false,
        };
        self.client.source(bundle.node, &request).await
    }

    /// Goes by an answer; where there is nothing yet, gives how long to wait.
    fn take(&self, answer: SourceAnswer, state: &mut SourceState) -> Duration {
        let (source, again_ms) = match answer {
            SourceAnswer::Wait { again_ms } => {
                state.now = None;
                return Duration::from_millis(again_ms);
            }
            SourceAnswer::Server { again_ms } => (FetchSource::Server, again_ms),
            SourceAnswer::Node(node) => {
                let (pass, again_ms) = (node.pass.clone(), node.again_ms);
                let same = match &state.now {
                    Some((FetchSource::Node(now), _)) if now.is_at(&node) => Some(Arc::clone(now)),
                    _ => None,
                };
                if let Some(same) = same {
                    same.show_pass(pass);
                    (FetchSource::Node(same), again_ms)
                } else {
                    match self.client.node_source(*node) {
                        Ok(Some(node)) => (FetchSource::Node(Arc::new(node)), again_ms),
                        // Without a certificate no node lets this one in.
                        Ok(None) | Err(_) => (FetchSource::Server, again_ms),
                    }
                }
            }
        };
        let again = Duration::from_millis(again_ms);
        state.now = Some((source, again));
        again
    }

    /// It did not come from a node: the next source is another one.
    pub(super) async fn failed(&self, error: &NodeSourceError) {
        let mut state = self.state.lock().await;
        if state.failed.contains(&error.node) {
            return;
        }
        tracing::warn!(error = %error, "another source is looked for");
        state.failed.push(error.node.clone());
        if state.failed.len() > FAILED_MAX {
            state.failed.remove(0);
        }
        if let Some((FetchSource::Node(now), _)) = &state.now
            && now.name() == error.node
        {
            state.now = None;
        }
    }

    /// Says again and again that the node still fetches; never ends.
    pub(super) async fn keep(&self) -> Infallible {
        let Some(bundle) = &self.bundle else {
            return std::future::pending().await;
        };
        loop {
            let again = {
                let state = self.state.lock().await;
                state.now.as_ref().map(|(_, again)| *again)
            };
            tokio::time::sleep(again.unwrap_or(Duration::from_millis(AGAIN_MS))).await;
            self.renew(bundle).await;
        }
    }

    /// Says that the node still fetches. While the server says nothing new, what was begun goes on where it is: a node lets this one in as
    /// long as the pass counts, and one that does not any more is left as one that fails.
    async fn renew(&self, bundle: &FetchedBundle) {
        let failed = {
            let state = self.state.lock().await;
            if state.now.is_none() {
                return;
            }
            state.failed.clone()
        };
        // Nobody who fetches waits for this answer, which may be long in coming.
        let answer = self.question(bundle, &failed).await;
        let mut state = self.state.lock().await;
        if state.now.is_none() || state.failed != failed {
            // Another source is looked for meanwhile.
            return;
        }
        match answer {
            Ok(SourceAnswer::Wait { .. }) => {}
            Ok(answer) => {
                self.take(answer, &mut state);
            }
            Err(error) => {
                tracing::debug!(error = %chain(&error), "the server does not say from where to fetch: from where it was");
            }
        }
    }

    /// Says that the node does not fetch any more.
    pub(super) async fn end(&self) {
        let has_asked = self.state.lock().await.now.is_some();
        if let Some(bundle) = self.bundle.as_ref().filter(|_| has_asked) {
            let request = SourceRequest {
                manifest_sha256: bundle.manifest_sha256.clone(),
                failed: Vec::new(),
                done: true,
            };
            // Without it the server counts the node as one that fetches for a while.
            let _ = self.client.source(bundle.node, &request).await;
        }
    }
}

/// How much a node must give in this time not to be left: the server, or another node, has it, too.
const PACE_BYTES: usize = 512 << 10;
const PACE_TIME: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 20 });

/// What is said of a node that gives less.
pub(super) const TOO_SLOW: &str = "less than 512 KiB came in 20 seconds";

/// How fast it comes.
pub(super) struct FetchPace {
    since: Instant,
    bytes: usize,
}

impl Default for FetchPace {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            bytes: 0,
        }
    }
}

impl FetchPace {
    /// Counts what has come; true where that was too little for too long.
    pub(super) fn is_too_slow(&mut self, bytes: usize) -> bool {
        self.bytes += bytes;
        if self.since.elapsed() < PACE_TIME {
            return false;
        }
        let is_slow = self.bytes < PACE_BYTES;
        *self = Self::default();
        is_slow
    }
}

#[cfg(test)]
mod tests;
