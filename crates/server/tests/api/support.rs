//! A server for one test, its clock, and bundles to publish.

use bytes::Bytes;
use client::{Client, ClientError, PublishError, PublisherKeys};
use model::api::{
    ChildState, EnrolRequest, Enrolled, NodeReport, NodeStatus, Phase, SyncRequest, SyncResponse,
    UpgradeSummary, VerdictAnswer, VerdictRequest,
};
use model::bundle::read_directory;
use model::ids::{NodeId, PermitId, Place, Revision, Version};
use model::manifest::Manifest;
use model::release::check;
use server::{Server, ServerClock, ServerConfig};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// How long anything that must happen may take, on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

pub(crate) const TOKEN: &str = "open-sesame-for-tests";

/// A server that runs until it is stopped or dropped.
pub(crate) struct Running {
    pub(crate) url: String,
    /// Where it tells metrics besides.
    pub(crate) metrics: Option<SocketAddr>,
    pub(crate) client: Client,
    keys: PublisherKeys,
    data: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<Result<(), server::ServerError>>,
}

/// What outlives a server: its data, and the time.
pub(crate) struct Site {
    pub(crate) data: TempDir,
    now_ms: Arc<AtomicU64>,
}

impl Site {
    pub(crate) fn new() -> Self {
        Self {
            data: tempfile::tempdir().expect("a folder"),
            now_ms: Arc::new(AtomicU64::new(1_000_000)),
        }
    }

    pub(crate) fn pass_ms(&self, ms: u64) {
        self.now_ms.fetch_add(ms, Ordering::SeqCst);
    }

    pub(crate) fn config(&self) -> ServerConfig {
        let now_ms = Arc::clone(&self.now_ms);
        let listen = "127.0.0.1:0".parse().expect("an address");
        ServerConfig {
            token: Some(TOKEN.to_owned()),
            sweep_ms: 5,
            artifact_bytes_max: 1 << 20,
            clock: ServerClock::new(move || now_ms.load(Ordering::SeqCst)),
            ..ServerConfig::new(listen, self.data.path().join("server"))
        }
    }

    pub(crate) async fn start(&self) -> Running {
        self.run(self.config()).await
    }

    /// One of several servers over a PostgreSQL database, with a repository that they share and a clock that is wrong.
    pub(crate) async fn start_over(&self, database: &str, name: &str) -> Running {
        self.run(ServerConfig {
            data: self.data.path().join(name),
            database: Some(database.to_owned()),
            repository: Some(self.data.path().join("repository")),
            reachable_ms: 3_000,
            sweep_ms: 50,
            ..self.config()
        })
        .await
    }

    pub(crate) async fn run(&self, config: ServerConfig) -> Running {
        let data = config.data.clone();
        let server = Server::bind(config).await.expect("it starts");
        let url = format!("http://{}", server.address());
        let metrics = server.metrics_address();
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(server.serve(async {
            // A dropped sender stops the server too.
            let _ = stopped.await;
        }));
        Running {
            client: client(&url),
            keys: PublisherKeys {
                folder: self.data.path().join("keys"),
                commands: Vec::new(),
                root: None,
            },
            url,
            metrics,
            data,
            stop: Some(stop),
            served,
        }
    }

    /// Removes the database of its server, which has ended; the repository stays.
    pub(crate) fn lose_database(&self) {
        let database = self.data.path().join("server/udb.sqlite");
        for ending in ["", "-wal", "-shm"] {
            let file = format!("{}{ending}", database.display());
            let gone = std::fs::remove_file(&file);
            assert!(gone.is_ok() || !ending.is_empty(), "{file}");
        }
    }
}

pub(crate) fn client(url: &str) -> Client {
    Client::new(&[url], Some(TOKEN.to_owned()))
        .expect("an address")
        .with_author("tester")
}

/// Whether this process has a file open whose path begins so.
fn is_open(path: &str) -> bool {
    let descriptors = std::fs::read_dir("/proc/self/fd").expect("listed");
    let mut files = descriptors.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    files.any(|file| file.display().to_string().starts_with(path))
}

impl Running {
    /// Stops it, and waits until its database is closed, as a process' end would: whoever copies its files then has all of it, and nothing of
    /// it touches what is put in their place.
    pub(crate) async fn stop(mut self) {
        self.stop.take().expect("runs").send(()).expect("listens");
        self.served.await.expect("no panic").expect("it served");
        let database = self.data.join("udb.sqlite").display().to_string();
        until("the database to be closed", async || {
            (!is_open(&database)).then_some(())
        })
        .await;
    }

    /// A plain request.
    pub(crate) fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        let request = reqwest::Client::new().request(method, format!("{}{path}", self.url));
        request
            .bearer_auth(TOKEN)
            .header("Content-Type", "application/json")
    }

    pub(crate) async fn publish(
        &self,
        text: &str,
        revise: bool,
    ) -> Result<UpgradeSummary, PublishError> {
        let manifest = self.prepared(text).await;
        let publishing = (self.client).publish_signed(&self.keys, &manifest, revise);
        Ok(publishing.await?.summary)
    }

    /// The manifest of a bundle whose artifacts are uploaded.
    pub(crate) async fn prepared(&self, text: &str) -> Manifest {
        let folder = tempfile::tempdir().expect("a folder");
        self.upload(folder.path(), text).await.expect("uploaded");
        let found = read_directory(folder.path()).expect("a bundle");
        let checked = check(&found.upgrade_toml, &found.files).expect("a good bundle");
        checked.manifest
    }

    /// Withdraws an upgrade with its publisher's keys.
    pub(crate) async fn withdraw(&self, version: Version) -> Result<UpgradeSummary, PublishError> {
        self.client.withdraw_signed(&self.keys, version).await
    }

    async fn upload(&self, folder: &Path, text: &str) -> Result<(), ClientError> {
        std::fs::write(folder.join("upgrade.toml"), text).expect("written");
        std::fs::write(folder.join("lens.toml"), "").expect("written");
        let found = read_directory(folder).expect("a bundle");
        for (path, info) in &found.files {
            let digest = info.sha256.to_string();
            self.client
                .put_artifact_file(&digest, &folder.join(path))
                .await?;
        }
        Ok(())
    }

    /// Publishes two versions and enrols nodes that are settled at the first.
    pub(crate) async fn populate(&self, names: &[&str]) -> Vec<NodeId> {
        self.publish(&bundle(1, ""), false)
            .await
            .expect("published");
        self.publish(&bundle(2, ""), false)
            .await
            .expect("published");
        let mut nodes = Vec::new();
        for name in names {
            let enrolled = self.enrol(name).await.expect("enrolled");
            self.report(enrolled.node, report(1)).await.expect("heard");
            nodes.push(enrolled.node);
        }
        nodes
    }

    /// Publishes two versions, of which the second has a limit, and enrols nodes that have staged that.
    pub(crate) async fn populate_limited(&self, names: &[&str], limit: u32) -> Vec<NodeId> {
        self.publish(&bundle(1, ""), false)
            .await
            .expect("published");
        let schedule = format!("[class.storage]\nschedule = {{ max_unavailable = {limit} }}");
        let limited = bundle(2, "").replace("[class.storage]", &schedule);
        self.publish(&limited, false).await.expect("published");
        let mut nodes = Vec::new();
        for name in names {
            let enrolled = self.enrol(name).await.expect("enrolled");
            self.report(enrolled.node, staged()).await.expect("heard");
            nodes.push(enrolled.node);
        }
        nodes
    }

    /// A node that has staged a revision of version 2 asks whether it may go.
    pub(crate) async fn judge(&self, node: NodeId, revision: u32) -> VerdictAnswer {
        let asked = self.client.verdict(node, &question(revision)).await;
        asked.expect("judged")
    }

    /// The permit of a node that may go.
    pub(crate) async fn go(&self, node: NodeId) -> PermitId {
        match self.judge(node, 1).await {
            VerdictAnswer::Go { permit, .. } => permit,
            waits => panic!("{waits:?}"),
        }
    }

    pub(crate) async fn enrol(&self, name: &str) -> Result<Enrolled, ClientError> {
        let request = EnrolRequest {
            system_id: None,
            name: name.to_owned(),
            class: "storage".to_owned(),
            attributes: [].into(),
            host: "host".to_owned(),
            data_directory: format!("/data/{name}"),
            ..EnrolRequest::default()
        };
        self.client.enrol(&request).await
    }

    pub(crate) async fn report(
        &self,
        node: NodeId,
        report: NodeReport,
    ) -> Result<SyncResponse, ClientError> {
        let request = SyncRequest {
            identity: None,
            number: None,
            seen_view: None,
            report: Some(report),
            events: Vec::new(),
            ..SyncRequest::default()
        };
        self.client.sync(node, &request, None).await
    }
}

/// What is found once it is there.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + LIMIT;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < end, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The text of a bundle, each version on the one before.
pub(crate) fn bundle(version: u32, description: &str) -> String {
    let (from, interface) = match version {
        1 => (String::new(), String::new()),
        _ => (
            format!("from = {}\n", version - 1),
            ", interface = \"changed\", adapter = \"lens.toml\"".to_owned(),
        ),
    };
    format!(
        "system = \"store\"\nversion = {version}\n{from}description = \"{description}\"\n\
         [class.storage]\nsoftware = {{ command = [\"true\"] }}\nlifecycle.probe = {{ alive_ms = 1 }}\n\
         service.data = {{ port = {version}, protocol = \"http\"{interface} }}\n"
    )
}

/// The report of a healthy node.
pub(crate) fn report(version: u32) -> NodeReport {
    NodeReport {
        status: NodeStatus {
            version: Version(version),
            staged: Version(version),
            phase: Phase::Settled,
            child: ChildState::Running,
            ..NodeStatus::default()
        },
        ..NodeReport::default()
    }
}

/// The report of a healthy node that has staged version 2.
pub(crate) fn staged() -> NodeReport {
    let mut staged = report(1);
    staged.status.staged = Version(2);
    staged
}

/// Whether a node may go to a revision of version 2.
pub(crate) fn question(revision: u32) -> VerdictRequest {
    VerdictRequest {
        ahead: vec![Place {
            version: Version(2),
            revision: Revision(revision),
        }],
        coming: None,
        mends: false,
        role: None,
        moment: None,
    }
}

/// A content and its digest.
pub(crate) fn content(length: usize) -> (String, Bytes) {
    let bytes: Vec<u8> = (0..length).map(|at| (at * 31 % 251) as u8).collect();
    (
        model::manifest::Digest::of(&bytes).to_string(),
        Bytes::from(bytes),
    )
}

/// The kind of the problem that a request met.
pub(crate) fn kind<T: std::fmt::Debug>(result: Result<T, impl Into<PublishError>>) -> String {
    match result.map_err(Into::into) {
        Err(PublishError::Server(ClientError::Problem(problem))) => problem.kind,
        other => panic!("not a problem: {other:?}"),
    }
}
