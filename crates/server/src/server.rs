//! Start and end of a server: recover, listen, serve, stop.

use crate::config::ServerConfig;
use crate::error::ServerError;
use crate::front;
use crate::http::{App, router};
use crate::local;
use crate::repository::{self, RepositoryFolder};
use crate::rules::{Order, RANDOM_MASK};
use crate::state::SystemState;
use crate::state_writer::StateWriter;
use crate::token;
use crate::udb::{Change, ChangeSet, ServerLife, Sqlite, Stored, Udb, UdbError};
use model::bundle::Upgrade;
use model::ids::{Revision, Version};
use model::manifest::Digest;
use rustix::fs::OFlags;
use rustix::process::Resource;
use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

/// How many connections the kernel keeps until they are accepted.
const BACKLOG: u32 = 1024;

/// How long requests under way may take once the server stops.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// A server that listens and does not serve yet.
pub struct Server {
    app: App,
    listener: TcpListener,
    /// Where its own user is told the token.
    teller: local::Teller,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    /// The state writer's task.
    keeping: JoinHandle<()>,
    /// Held as long as this process may change the directory.
    lock: File,
}

impl Server {
    /// Recovers what the data directory holds, and listens.
    ///
    /// # Errors
    /// The directory, the database, the repository or the address cannot be used.
    pub async fn bind(config: ServerConfig) -> Result<Self, ServerError> {
        let unusable = |path: &Path| {
            let path = path.to_owned();
            move |source| ServerError::Data { path, source }
        };
        raise_open_files();
        let data = &config.data;
        private(data).map_err(unusable(data))?;
        let lock = lock(data)?;
        let token = match &config.token {
            Some(token) => token.clone(),
            None => token::of_data(data)?,
        };
        token::check_length(&token)?;
        let folder = data.join("repository");
        let repository = RepositoryFolder::open(folder.clone(), config.artifact_bytes_max).await;
        let repository = repository.map_err(unusable(&folder))?;
        let udb: Arc<dyn Udb> = Arc::new(Sqlite::open(&data.join("udb.sqlite"))?);
        let stored = begun(&*udb, udb.load().await?).await?;
        let state = recover(stored, &repository, config.clock.now_ms()).await?;
        let address = config.listen;
        let listen = |source| ServerError::Listen { address, source };
        let socket = bound(address).map_err(listen)?;
        let address = socket.local_addr().map_err(listen)?;
        // Whoever reaches the port finds the token, too.
        let teller = local::Teller::listen(address);
        let listener = socket.listen(BACKLOG).map_err(listen)?;
        let (stop, stopping) = watch::channel(false);
        let (state_writer, keeping) = StateWriter::start(state, Arc::clone(&udb), &config);
        let app = App {
            state_writer,
            repository,
            udb,
            config: Arc::new(config),
            token: token.into(),
            missed: teller.missed(),
            stopping,
        };
        Ok(Self {
            app,
            listener,
            teller,
            address,
            stop,
            keeping,
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
    /// A task without which nothing can be changed has broken: a server that cannot change anything must end, so that whoever looks
    /// after it starts it again.
    pub async fn serve(
        self,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), ServerError> {
        let sweeper = tokio::spawn(sweep(self.app.clone()));
        let end_of_sweeper = sweeper.abort_handle();
        let token = self.app.token.to_string();
        let teller = tokio::spawn(self.teller.tell(token));
        let stopping = self.app.stopping.clone();
        let mut serving = tokio::spawn(front::serve(self.listener, router(self.app), stopping));
        let ended = tokio::select! {
            () = shutdown => Ok(()),
            _ = &mut serving => Ok(()),
            why = broken(self.keeping) => Err(ServerError::Broken("state writer", why)),
            why = broken(sweeper) => Err(ServerError::Broken("sweeper", why)),
        };
        self.stop.send_replace(true);
        // What takes longer is cut off.
        let _ = tokio::time::timeout(STOP_LIMIT, &mut serving).await;
        serving.abort();
        end_of_sweeper.abort();
        teller.abort();
        drop(self.lock);
        ended
    }
}

/// A socket at an address at which a server may have been a moment ago.
fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Every caller is a descriptor: as many as allowed.
fn raise_open_files() {
    let mut limit = rustix::process::getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = rustix::process::setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

/// Makes the data directory, which only its owner enters: what is published may hold secrets. One that is there is closed to strangers;
/// what its group may is left as it is.
fn private(data: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data)?;
    let about = std::fs::metadata(data)?;
    let user = rustix::process::geteuid().as_raw();
    if ![0, user].contains(&about.uid()) {
        return Err(io::Error::other(format!(
            "it belongs to user {}, who could put a token and upgrades of his own there",
            about.uid()
        )));
    }
    if about.mode() & 0o1000 != 0 {
        return Err(io::Error::other(
            "everybody makes files there, as its sticky bit says: give the server a folder of its own",
        ));
    }
    if data.join("journal.witness").symlink_metadata().is_ok() {
        return Err(io::Error::other(
            "it is a node's data directory: give the server a folder of its own",
        ));
    }
    let mode = about.permissions().mode();
    match mode & 0o007 {
        0 => Ok(()),
        _ => std::fs::set_permissions(data, PermissionsExt::from_mode(mode & !0o007)),
    }
}

/// Resolves when a task breaks; one that ends in order is not missed.
async fn broken(task: JoinHandle<()>) -> String {
    match task.await {
        Err(error) if error.is_panic() => error.to_string(),
        _ => std::future::pending().await,
    }
}

/// Takes the directory for this process; the system gives it back when the process ends, however it ends.
fn lock(data: &Path) -> Result<File, ServerError> {
    let path = data.join("lock");
    let unusable = |source| ServerError::Data {
        path: path.clone(),
        source,
    };
    let file = File::options()
        .create(true)
        .append(true)
        .mode(0o600)
        // Whatever a link there leads to is nobody's lock.
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(&path)
        .map_err(unusable)?;
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
    config: ServerConfig,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServerError> {
    let server = Server::bind(config).await?;
    tracing::info!(address = %server.address(), "the upgrade server listens");
    server.serve(shutdown).await
}

/// Begins a new life in the database's history: whoever has seen another one after the last knows that this one was set back.
async fn begun(udb: &dyn Udb, mut stored: Stored) -> Result<Stored, UdbError> {
    let last = stored.lives.last();
    let random = || rand::random::<u64>() & RANDOM_MASK;
    let generation = stored.generation + 1;
    let life = ServerLife {
        number: last.map_or(0, |last| last.number) + 1,
        epoch: last.map_or_else(random, |last| last.epoch),
        life: random(),
        began_at: generation,
        lost: None,
    };
    let begin = ChangeSet {
        expected: stored.generation,
        generation,
        view: stored.view,
        changes: vec![Change::Life(life.clone())],
    };
    match udb.commit(begin).await {
        Ok(()) => {
            stored.generation = generation;
            stored.lives.push(life);
        }
        // It serves all the same, in the life that was there.
        Err(UdbError::Full) => {
            tracing::warn!("the disk is full: this start is not noted in the upgrade database");
        }
        Err(error) => return Err(error),
    }
    Ok(stored)
}

/// Proves every published revision again from the repository, and puts static manifests where they belong.
async fn recover(
    stored: Stored,
    repository: &RepositoryFolder,
    now_ms: u64,
) -> Result<SystemState, ServerError> {
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
    SystemState::restore(stored, find, now_ms).map_err(|version| ServerError::Repository {
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
            .state_writer
            .ask(Order::Sweep, "server".to_owned(), None)
            .await;
        if let Err(refusal) = swept {
            tracing::warn!(detail = refusal.detail, "the sweep was refused");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    #[tokio::test]
    async fn a_task_that_breaks_is_noticed_and_one_that_ends_is_not() {
        let why = broken(tokio::spawn(async { panic!("on purpose") })).await;
        assert!(why.contains("on purpose"), "{why}");
        let ended = tokio::spawn(async {});
        let watched = tokio::spawn(broken(ended));
        tokio::task::yield_now().await;
        assert!(!watched.is_finished());
        watched.abort();
    }

    #[tokio::test]
    async fn a_server_whose_state_writer_breaks_ends_and_says_so() {
        let folder = tempfile::tempdir().expect("a folder");
        let listen = (std::net::Ipv4Addr::LOCALHOST, 0).into();
        let config = ServerConfig::new(listen, folder.path().to_owned());
        let mut server = Server::bind(config).await.expect("bound");
        server.keeping.abort();
        server.keeping = tokio::spawn(async { panic!("on purpose") });
        let error = server
            .serve(std::future::pending())
            .await
            .expect_err("ended");
        assert!(
            matches!(error, ServerError::Broken("state writer", _)),
            "{error}"
        );
    }

    #[test]
    fn a_link_in_the_locks_place_empties_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let other = folder.path().join("other");
        std::fs::write(&other, "kept").expect("written");
        let data = folder.path().join("data");
        private(&data).expect("made");
        symlink(&other, data.join("lock")).expect("linked");
        assert!(lock(&data).is_err());
        assert_eq!(std::fs::read_to_string(&other).expect("read"), "kept");
    }

    #[test]
    fn a_nodes_data_directory_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("journal.witness"), "").expect("written");
        let told = private(folder.path()).expect_err("a node's").to_string();
        assert!(told.contains("node's data directory"), "{told}");
    }

    #[test]
    fn a_folder_of_somebody_elses_or_of_everybodys_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        private(folder.path()).expect("its own");
        set_permissions(folder.path(), Permissions::from_mode(0o1777)).expect("set");
        let told = private(folder.path()).expect_err("everybody's").to_string();
        assert!(told.contains("sticky"), "{told}");
        let mode = std::fs::metadata(folder.path())
            .expect("there")
            .permissions();
        assert_eq!(mode.mode() & 0o7777, 0o1777, "left as it was");
        set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("set");
        if chown(folder.path(), Some(1234), None).is_err() {
            println!(
                "SKIPPED: a_folder_of_somebody_elses_or_of_everybodys_is_refused: only root gives folders away"
            );
            return;
        }
        let told = private(folder.path()).expect_err("another's").to_string();
        assert!(told.contains("belongs to user 1234"), "{told}");
    }
}
