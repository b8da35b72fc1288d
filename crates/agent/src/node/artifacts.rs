//! What the node fetched is served to other nodes of its site, where the agent is given a port for that.

use super::Node;
use super::surroundings::Surroundings;
use crate::artifact_server::{ArtifactServer, listen};
use crate::vital::Vital;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long until a port that could not be had is tried again.
const LISTEN_PAUSE: Duration = Duration::from_secs(30);

impl Node {
    /// Serves artifacts for as long as the agent runs, if it is to.
    pub(super) fn serve_artifacts(&self, vital: &Vital) {
        let surroundings = &self.surroundings;
        let config = &surroundings.config;
        let (Some(port), Some(address)) = (config.artifact_port, config.addresses.first()) else {
            return;
        };
        if !surroundings.client.is_encrypted() {
            tracing::warn!(
                "no artifacts are served to other nodes: without https no server certifies this node's key; give --server https://HOST:PORT"
            );
            return;
        }
        let address = SocketAddr::new(*address, port);
        vital.spawn(
            "artifacts for other nodes",
            serve(Arc::clone(surroundings), address),
        );
    }
}

async fn serve(surroundings: Arc<Surroundings>, address: SocketAddr) {
    let mut is_said = false;
    let listener = loop {
        match listen(address).await {
            Ok(listener) => break listener,
            Err(error) => {
                if !is_said {
                    is_said = true;
                    tracing::warn!(
                        "no artifacts are served to other nodes: {address} cannot be listened at ({error}); free the port, or give another --artifact-port (`artifact_port`)"
                    );
                }
                tokio::time::sleep(LISTEN_PAUSE).await;
            }
        }
    };
    *surroundings.artifacts_at.lock() = Some(address);
    tracing::info!(%address, "artifacts are served to other nodes of this site");
    let artifacts = surroundings.layout.artifacts();
    let server = ArtifactServer::new(Arc::clone(&surroundings.client), artifacts);
    server.serve(listener).await;
}
