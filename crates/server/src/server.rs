//! Start and end of a server: recover, listen, serve, stop.

use crate::config::ServerConfig;
use crate::deliveries::{self, Deliverer};
use crate::error::ServerError;
use crate::front;
use crate::http::{App, AppParts, CensusKeeper, LiveStreams, PageSessions, RefusedLately, router};
use crate::issuer::TokenIssuer;
use crate::local;
use crate::measuring::measure;
use crate::opening::{beside_repository, open_database, open_repository, open_signed, private};
use crate::problem::RequestRefusal;
use crate::recovery::{ProvedUpgrades, recover};
use crate::repository::{PublishedUpgrades, RepositoryTexts};
use crate::retention;
use crate::rules::{Order, RANDOM_MASK};
use crate::sealing::look_after_repository;
use crate::sources::SourcePlaces;
use crate::state_writer::StateWriter;
use crate::token;
use crate::udb::{Change, ChangeSet, ServerLife, Stored, Udb, UdbError};
use identity::{Authority, Pin, PinnedToken};
use metrics::MetricsAddress;
use rustix::fs::OFlags;
use rustix::process::Resource;
use std::fs::{File, TryLockError};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use tokio_rustls::TlsAcceptor;

/// The file of the key that certifies those of nodes, operators and servers.
const AUTHORITY_FILE: &str = "authority.pem";

/// How many connections the kernel keeps until they are accepted.
const BACKLOG: u32 = 1024;

/// How long requests under way may take once the server stops.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// How often a server looks whether others have committed, where it is not told.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// A server that listens and does not serve yet.
pub struct Server {
    app: App,
    /// How it speaks with whoever begins with TLS.
    tls: TlsAcceptor,
    listener: TcpListener,
    /// Where metrics are told besides.
    metrics: Option<TcpListener>,
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
    pub async fn bind(mut config: ServerConfig) -> Result<Self, ServerError> {
        let unusable = |path: &Path| {
            let path = path.to_owned();
            move |source| ServerError::Data { path, source }
        };
        raise_open_files();
        let data = config.data.clone();
        private(&data).map_err(unusable(&data))?;
        let lock = lock(&data)?;
        let token = match &config.token {
            Some(token) => PinnedToken::of(token),
            None => PinnedToken::of(&token::of_data(&data)?),
        };
        token::check_length(&token.secret)?;
        let repository = open_repository(&config).await?;
        let authority = Authority::open(&beside_repository(&config, AUTHORITY_FILE))?;
        let tls = identity::server_config(&authority)?;
        pin_token(&config, &token, authority.pin());
        let udb = open_database(&mut config).await?;
        let signed = open_signed(&config, &repository, &udb)?;
        let stored = begun(&*udb).await?;
        let now_ms = config.clock.now_ms();
        let texts = RepositoryTexts::of(&repository, &*udb);
        let state = recover(stored, &texts, ProvedUpgrades::new(), now_ms).await?;
        let unsealed = |refusal: RequestRefusal| ServerError::Unsealed(refusal.detail);
        if !udb.is_shared() {
            let published = PublishedUpgrades::of(&state);
            signed.recover(&published).await.map_err(unsealed)?;
        }
        let (listener, teller, address) = listening(config.listen)?;
        let metrics = metrics_listener(&config).await?;
        let (stop, stopping) = watch::channel(false);
        let (state_writer, keeping) =
            StateWriter::start(state, Arc::clone(&udb), repository.clone(), &config);
        let issuer = config.issuer.clone().map(TokenIssuer::new).transpose();
        let issuer = issuer.map_err(ServerError::Issuer)?;
        let app = App(Arc::new(AppParts {
            meters: state_writer.meters(),
            state_writer,
            repository,
            signed: Arc::new(signed),
            udb,
            config: Arc::new(config),
            token: token.secret.into(),
            authority: Arc::new(authority),
            issuer: issuer.map(Arc::new),
            sources: SourcePlaces::default(),
            refused: RefusedLately::default(),
            missed: teller.missed(),
            damaged: Arc::default(),
            sessions: PageSessions::default(),
            live: LiveStreams::default(),
            census: CensusKeeper::default(),
            stopping,
        }));
        Ok(Self {
            app,
            tls: TlsAcceptor::from(Arc::new(tls)),
            listener,
            metrics,
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

    /// Where it tells metrics besides, if it does.
    #[must_use]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref()?.local_addr().ok()
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
        let measurer = tokio::spawn(measure(self.app.clone()));
        let end_of_measurer = measurer.abort_handle();
        let sealer = tokio::spawn(look_after_repository(self.app.clone()));
        let looker = tokio::spawn(look(self.app.clone()));
        let deliverer = tokio::spawn(deliveries::run(deliverer(&self.app)));
        let end_of_looker = looker.abort_handle();
        let token = PinnedToken {
            secret: self.app.token.to_string(),
            pin: Some(self.app.authority.pin()),
        };
        let teller = tokio::spawn(self.teller.tell(token.to_string()));
        let stopping = self.app.stopping.clone();
        let connections = self.app.meters.connections.clone();
        let scraped = Arc::new(self.app.clone());
        let telling =
            (self.metrics).map(|listener| tokio::spawn(metrics::serve(listener, scraped)));
        let router = router(self.app);
        let front = front::serve(self.listener, self.tls, router, connections, stopping);
        let mut serving = tokio::spawn(front);
        let ended = tokio::select! {
            () = shutdown => Ok(()),
            _ = &mut serving => Ok(()),
            why = broken(self.keeping) => Err(ServerError::Broken("state writer", why)),
            why = broken(sweeper) => Err(ServerError::Broken("sweeper", why)),
            why = broken(measurer) => Err(ServerError::Broken("measurer", why)),
            why = broken(looker) => Err(ServerError::Broken("looker", why)),
        };
        self.stop.send_replace(true);
        // What takes longer is cut off.
        let _ = tokio::time::timeout(STOP_LIMIT, &mut serving).await;
        serving.abort();
        end_of_sweeper.abort();
        end_of_looker.abort();
        end_of_measurer.abort();
        deliverer.abort();
        teller.abort();
        sealer.abort();
        telling.inspect(JoinHandle::abort);
        drop(self.lock);
        ended
    }
}

/// Listens there; whoever reaches the port finds the token, too.
fn listening(address: SocketAddr) -> Result<(TcpListener, local::Teller, SocketAddr), ServerError> {
    let listen = |source| ServerError::Listen { address, source };
    let socket = bound(address).map_err(listen)?;
    let found = socket.local_addr().map_err(listen)?;
    let teller = local::Teller::listen(found);
    let listener = socket.listen(BACKLOG).map_err(listen)?;
    Ok((listener, teller, found))
}

/// Where metrics are told besides, if they are to be.
async fn metrics_listener(config: &ServerConfig) -> Result<Option<TcpListener>, ServerError> {
    let Some(address) = config.metrics_listen else {
        return Ok(None);
    };
    let listener = TcpListener::bind(address).await;
    let listener = listener.map_err(|source| ServerError::MetricsListen { address, source })?;
    Ok(Some(listener))
}

/// The token says whose it is: whoever is given the file knows the servers by it. Where it cannot be written it stays as it is.
fn pin_token(config: &ServerConfig, token: &PinnedToken, pin: Pin) {
    if let Some(other) = token.pin.filter(|other| *other != pin) {
        tracing::warn!(
            "the token is for servers of the authority with the pin {other}, and this server has another ({pin}): nodes and people that were let in before do not know it; put its `authority.pem` back from a backup, or invite them anew"
        );
    }
    if config.token.is_some() || token.pin == Some(pin) {
        return;
    }
    let token = PinnedToken {
        secret: token.secret.clone(),
        pin: Some(pin),
    };
    if let Err(error) = token::replace(&config.data, &token.to_string()) {
        tracing::warn!(%error, "the file of the token does not name this server, so that it cannot be used from other hosts");
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

/// Resolves when a task breaks; one that ends in order is not missed.
async fn broken(task: JoinHandle<()>) -> String {
    match task.await {
        Err(error) if error.is_panic() => error.to_string(),
        _ => std::future::pending().await,
    }
}

/// Takes the directory for this process; the system gives it back when the process ends, however it ends.
pub(crate) fn lock(data: &Path) -> Result<File, ServerError> {
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
    let metrics = config.metrics_listen;
    let server = Server::bind(config).await?;
    if let Some(address) = metrics {
        metrics::say_where(MetricsAddress(address));
    }
    tracing::info!(address = %server.address(), "the upgrade server listens");
    tracing::info!(
        "commands and agents of the server's own user on this host are let in; for others run `upstart invite node NAME` or `upstart invite operator NAME --role ROLE` as that user"
    );
    server.serve(shutdown).await
}

/// Begins a new life in the database's history: whoever has seen another one after the last knows that this one was set back.
async fn begun(udb: &dyn Udb) -> Result<Stored, UdbError> {
    loop {
        match begin(udb, udb.load().await?).await {
            // Another server over the same database was quicker.
            Err(UdbError::Conflict) => {}
            begun => return begun,
        }
    }
}

async fn begin(udb: &dyn Udb, mut stored: Stored) -> Result<Stored, UdbError> {
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

/// What delivers to the receivers of webhooks.
fn deliverer(app: &App) -> Deliverer {
    Deliverer {
        state_writer: app.state_writer.clone(),
        udb: Arc::clone(&app.udb),
        clock: app.config.clock.clone(),
        pause: app.config.webhook_pause,
        holder: rand::random::<u64>() & RANDOM_MASK,
    }
}

/// How often it is looked whether a part of the history is older than is kept.
const RETENTION_PAUSE: Duration = Duration::from_secs(60);

/// Has the clock looked at, again and again, by one server of several; a full queue only delays it.
async fn sweep(app: App) {
    let mut tick = interval(Duration::from_millis(app.config.sweep_ms.max(1)));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looked = None;
    loop {
        tick.tick().await;
        if looked.is_none_or(|looked: Instant| looked.elapsed() > RETENTION_PAUSE) {
            let may_be_more = retention::forget_events(&app).await;
            looked = Some(Instant::now()).filter(|_| !may_be_more);
        }
        app.sources.sweep(app.config.clock.now_ms());
        let sweeping = app.udb.alone(Box::pin(ask_for_nobody(&app, Order::Sweep)));
        if let Err(error) = sweeping.await {
            tracing::debug!(%error, "no sweep while the database cannot be used");
        }
    }
}

/// Has the state writer look for what other servers have committed, when it is told that they have and now and then.
async fn look(app: App) {
    if !app.udb.is_shared() {
        return;
    }
    loop {
        // Told or not: it is time to look.
        let _ = tokio::time::timeout(LOOK_INTERVAL, app.udb.news()).await;
        ask_for_nobody(&app, Order::Look).await;
    }
}

/// Has something done that nobody waits for. What the database refuses is said by the state writer.
async fn ask_for_nobody(app: &App, order: Order) {
    let asked = app.state_writer.ask(order, "server".to_owned(), None).await;
    if let Err(refusal) = asked {
        tracing::debug!(
            detail = refusal.detail,
            "the server's own order was refused"
        );
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
