//! Start and end of a server: recover, listen, serve, stop.

use crate::config::Config;
use crate::error::ServerError;
use crate::http::{App, router};
use crate::keeper::Keeper;
use crate::repository::{self, Repository};
use crate::rules::Command;
use crate::state::State;
use crate::udb::{Sqlite, Stored, Udb};
use model::bundle::Upgrade;
use model::ids::{Revision, Version};
use model::manifest::Digest;
use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

/// How long requests under way may take once the server stops.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// A server that listens and does not serve yet.
pub struct Server {
    app: App,
    listener: TcpListener,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    /// Held as long as this process may change the directory.
    lock: File,
}

impl Server {
    /// Recovers what the data directory holds, and listens.
    ///
    /// # Errors
    /// The directory, the database, the repository or the address cannot be used.
    pub async fn bind(config: Config) -> Result<Self, ServerError> {
        let unusable = |path: &Path| {
            let path = path.to_owned();
            move |source| ServerError::Data { path, source }
        };
        let data = &config.data;
        tokio::fs::create_dir_all(data)
            .await
            .map_err(unusable(data))?;
        let lock = lock(data)?;
        let folder = data.join("repository");
        let repository = Repository::open(folder.clone(), config.artifact_bytes_max).await;
        let repository = repository.map_err(unusable(&folder))?;
        let udb: Arc<dyn Udb> = Arc::new(Sqlite::open(&data.join("udb.sqlite"))?);
        let stored = udb.load().await?;
        let state = recover(stored, &repository, config.clock.now_ms()).await?;
        let address = config.listen;
        let listen = |source| ServerError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let (stop, stopping) = watch::channel(false);
        let app = App {
            keeper: Keeper::start(state, Arc::clone(&udb), &config),
            repository,
            udb,
            config: Arc::new(config),
            stopping,
        };
        Ok(Self {
            app,
            listener,
            address,
            stop,
            lock,
        })
    }

    /// Where it listens: the port that the system chose, when none was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` ends; requests under way get a moment to finish.
    ///
    /// # Errors
    /// The listener fails.
    pub async fn serve(
        self,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), ServerError> {
        let sweeper = tokio::spawn(sweep(self.app.clone()));
        let mut stopping = self.app.stopping.clone();
        let stop = self.stop;
        let serving =
            axum::serve(self.listener, router(self.app)).with_graceful_shutdown(async move {
                shutdown.await;
                stop.send_replace(true);
            });
        let overdue = async {
            let stopped = stopping.wait_for(|stopping| *stopping).await.is_ok();
            match stopped {
                true => tokio::time::sleep(STOP_LIMIT).await,
                false => std::future::pending().await,
            }
        };
        let ended = tokio::select! {
            ended = serving => ended.map_err(ServerError::Serve),
            () = overdue => Ok(()),
        };
        sweeper.abort();
        drop(self.lock);
        ended
    }
}

/// Takes the directory for this process; the system gives it back when the process ends, however it ends.
fn lock(data: &Path) -> Result<File, ServerError> {
    let path = data.join("lock");
    let unusable = |source| ServerError::Data {
        path: path.clone(),
        source,
    };
    let file = File::create(&path).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ServerError::InUse(data.to_owned())),
        Err(TryLockError::Error(source)) => Err(unusable(source)),
    }
}

/// Runs a server until `shutdown` ends.
///
/// # Errors
/// As [`Server::bind`] and [`Server::serve`].
pub async fn run(
    config: Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServerError> {
    let server = Server::bind(config).await?;
    tracing::info!(address = %server.address(), "the upgrade server listens");
    server.serve(shutdown).await
}

/// Proves every published revision again from the repository, and puts static manifests where they belong.
async fn recover(
    stored: Stored,
    repository: &Repository,
    now_ms: u64,
) -> Result<State, ServerError> {
    let mut proved: BTreeMap<(Version, Revision), Arc<Upgrade>> = BTreeMap::new();
    for ((version, revision), summary) in &stored.upgrades {
        let broken = |reason: String| ServerError::Repository {
            version: version.0,
            reason,
        };
        let digest: Digest = summary
            .manifest_sha256
            .parse()
            .map_err(|error| broken(format!("{error}")))?;
        let manifest = repository
            .text(digest)
            .await
            .map_err(|refusal| broken(refusal.detail))?;
        let upgrade = repository::prove_again(repository, &manifest)
            .await
            .map_err(|refusal| broken(refusal.detail))?;
        let placed = repository.place_manifest(*version, *revision, digest).await;
        placed.map_err(|error: io::Error| broken(error.to_string()))?;
        proved.insert((*version, *revision), upgrade);
    }
    let find = |summary: &model::api::UpgradeSummary| {
        proved.get(&(summary.version, summary.revision)).cloned()
    };
    State::restore(stored, find, now_ms).map_err(|version| ServerError::Repository {
        version: version.0,
        reason: "it does not follow on the versions before it".to_owned(),
    })
}

/// Has the clock looked at, again and again; a full queue only delays it.
async fn sweep(app: App) {
    let mut tick = interval(Duration::from_millis(app.config.sweep_ms.max(1)));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let swept = app
            .keeper
            .ask(Command::Sweep, "server".to_owned(), None)
            .await;
        if let Err(refusal) = swept {
            tracing::warn!(detail = refusal.detail, "the sweep was refused");
        }
    }
}
