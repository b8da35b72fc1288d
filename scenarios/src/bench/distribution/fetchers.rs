//! Many nodes that fetch the same artifact, as agents do: each with a key and a certificate of its own, its own folder and its own port at which
//! it serves the others. What they would run is left out.

use agent::artifact_server::{ArtifactServer, listen};
use agent::fetch::{FetchedBundle, Fetcher, WantedFile};
use anyhow::Context;
use client::Client;
use identity::UnkeptKey;
use model::api::{
    EnrolRequest, Enrolled, HeldUpgrade, NodeIdentity, NodeReport, SyncNumber, SyncRequest,
};
use model::ids::NodeId;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// How many are made ready at once.
const AT_ONCE: usize = 16;

/// They say nothing between their two reports, and count as reachable all the same, in milliseconds.
const POLL_MS: u64 = 3_600_000;

/// How the server is reached.
#[derive(Clone, Debug)]
pub(super) struct WayToServer {
    pub(super) url: String,
    pub(super) token: String,
    pub(super) class: String,
}

/// One of them.
struct FetchingNode {
    client: Arc<Client>,
    node: NodeId,
    identity: NodeIdentity,
    folder: PathBuf,
    address: SocketAddr,
    life: u64,
}

/// Nodes that are about to fetch.
pub(super) struct Fetchers(Vec<FetchingNode>);

impl Fetchers {
    /// Enrols so many, each with a folder below this one.
    pub(super) async fn start(
        way: &WayToServer,
        count: usize,
        root: &Path,
    ) -> anyhow::Result<Self> {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        let mut starting = JoinSet::new();
        for number in 0..count {
            let place = Arc::clone(&places).acquire_owned().await?;
            let (way, folder) = (way.clone(), root.join(number.to_string()));
            starting.spawn(async move {
                let node = FetchingNode::start(&way, number, folder).await;
                drop(place);
                node.with_context(|| format!("node {number} is not enrolled"))
            });
        }
        let mut nodes = Vec::new();
        while let Some(node) = starting.join_next().await {
            nodes.push(node??);
        }
        Ok(Self(nodes))
    }

    /// Has them all fetch a file of this upgrade, until each has it.
    pub(super) async fn fetch(self, upgrade: HeldUpgrade, file: WantedFile) -> anyhow::Result<()> {
        let mut fetching = JoinSet::new();
        for node in self.0 {
            fetching.spawn(node.fetch(upgrade.clone(), file));
        }
        while let Some(fetched) = fetching.join_next().await {
            fetched??;
        }
        Ok(())
    }
}

impl FetchingNode {
    async fn start(way: &WayToServer, number: usize, folder: PathBuf) -> anyhow::Result<Self> {
        let client = Client::new(&[&way.url], Some(way.token.clone()))?;
        let key = UnkeptKey::make()?;
        let request = EnrolRequest {
            name: format!("fetching-{number}"),
            class: way.class.clone(),
            host: "here".to_owned(),
            data_directory: folder.display().to_string(),
            certificate_request: Some(key.request()?),
            ..EnrolRequest::default()
        };
        let enrolled: Enrolled = client.enrol(&request).await?;
        let certified = enrolled.certified.context("it has no certificate")?;
        client.show(Some(key.certified(&certified.certificate)?));
        let client = Arc::new(client);
        let listener = listen((Ipv4Addr::LOCALHOST, 0).into()).await?;
        let address = listener.local_addr()?;
        std::fs::create_dir_all(&folder)?;
        let server = ArtifactServer::new(Arc::clone(&client), folder.clone());
        tokio::spawn(server.serve(listener));
        let node = Self {
            client,
            node: enrolled.node,
            identity: NodeIdentity {
                system_id: enrolled.system_id,
                name: request.name,
            },
            folder,
            address,
            life: rand::random::<u64>() >> 11,
        };
        node.report(1, Vec::new()).await?;
        Ok(node)
    }

    async fn report(&self, number: u64, holds: Vec<HeldUpgrade>) -> anyhow::Result<()> {
        let report = NodeReport {
            poll_ms: POLL_MS,
            addresses: vec![self.address.ip()],
            holds,
            artifacts_at: Some(self.address),
            ..NodeReport::default()
        };
        let request = SyncRequest {
            report: Some(report),
            identity: Some(self.identity.clone()),
            number: Some(SyncNumber {
                life: self.life,
                number,
            }),
            ..SyncRequest::default()
        };
        self.client.sync(self.node, &request, None).await?;
        Ok(())
    }

    /// Fetches, and tells the server.
    async fn fetch(self, upgrade: HeldUpgrade, file: WantedFile) -> anyhow::Result<()> {
        let fetcher = Fetcher::new(Arc::clone(&self.client), self.folder.clone());
        let fetcher = fetcher.for_bundle(FetchedBundle {
            node: self.node,
            manifest_sha256: upgrade.manifest_sha256.clone(),
        });
        fetcher.fetch(&[file], |_, _| {}).await?;
        self.report(2, vec![upgrade]).await
    }
}
