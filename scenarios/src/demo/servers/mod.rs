//! `--database postgres`: the store, upgraded through all its versions by three servers over one PostgreSQL, whose primary is
//! killed once, so that its standby takes over. `--object-store s3`: its artifacts lie in a bucket; `--registry oci`: in a registry.
//! With any of them, servers are killed at random all the time. What callers see is held to the same zeros as where nothing happens to any server.

mod database;
mod kills;

use super::Ending;
use super::place::Place;
use super::processes::Processes;
use super::store::{DEMANDS, Setting, Store, through_all_versions};
use super::summary::Demands;
use super::system::REPOSITORY;
use anyhow::Context;
use clap::ValueEnum;
use database::Database;
use harness::{ArtifactsPlace, ObjectStore, OciRegistry};
use kills::ServerKills;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// Where the servers have the upgrade database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DatabaseKind {
    /// PostgreSQL with a synchronous standby, for three servers.
    Postgres,
}

/// Where the servers have the artifacts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ObjectStoreKind {
    /// A bucket of a server that speaks S3.
    S3,
}

/// Where the servers have the artifacts instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RegistryKind {
    /// An OCI registry, Debian's docker-registry.
    Oci,
}

/// What servers of a run have elsewhere.
#[derive(Clone, Debug, Default)]
pub struct Elsewhere {
    database: Option<Arc<Database>>,
    artifacts: Option<ArtifactsHome>,
}

/// Where the artifacts of a run lie.
#[derive(Clone, Debug)]
enum ArtifactsHome {
    Bucket(Arc<ObjectStore>),
    Registry(Arc<OciRegistry>),
}

impl ArtifactsHome {
    /// Starts it, where one is asked for. From a thread that lasts as long as the run.
    fn start(
        objects: Option<ObjectStoreKind>,
        registry: Option<RegistryKind>,
    ) -> anyhow::Result<Option<Self>> {
        match (objects, registry) {
            (None, None) => Ok(None),
            (Some(ObjectStoreKind::S3), _) => {
                let objects = ObjectStore::start("cargo xtask demo --object-store s3");
                let objects = objects.context(
                    "`--object-store s3` needs moto; `cargo xtask test --install-only` installs it",
                )?;
                Ok(Some(Self::Bucket(Arc::new(objects))))
            }
            (None, Some(RegistryKind::Oci)) => {
                let registry = OciRegistry::start("cargo xtask demo --registry oci");
                let registry = registry.context(
                    "`--registry oci` needs docker-registry; `cargo xtask test --install-only` installs it",
                )?;
                Ok(Some(Self::Registry(Arc::new(registry))))
            }
        }
    }

    fn place(&self) -> ArtifactsPlace {
        match self {
            Self::Bucket(objects) => objects.place(),
            Self::Registry(registry) => registry.place(),
        }
    }

    /// How many objects, or blobs, lie there.
    fn count(&self) -> usize {
        match self {
            Self::Bucket(objects) => objects.count(),
            Self::Registry(registry) => registry.blobs(),
        }
    }
}

/// How many servers there are over one database.
const SERVERS: u16 = 3;

/// So many servers are killed at least.
const KILLS_MIN: u64 = 5;

/// A short run, for the tests: how many times fewer calls it makes.
const HASTE: u64 = 5;

/// How long an order is repeated while servers or the database are away: a standby takes over within seconds.
const ORDER_LIMIT: Duration = Duration::from_secs(60);

impl Elsewhere {
    /// Starts what is asked for, and has the run's servers use it; from a thread that lasts as long as the run.
    pub fn start(
        place: &mut Place,
        (database, objects, registry): (
            Option<DatabaseKind>,
            Option<ObjectStoreKind>,
            Option<RegistryKind>,
        ),
    ) -> anyhow::Result<Self> {
        let mut elsewhere = Self {
            artifacts: ArtifactsHome::start(objects, registry)?,
            ..Self::default()
        };
        if let Some(DatabaseKind::Postgres) = database {
            let database = Database::start()?;
            let arguments = ["--database", &database.url()];
            place.servers = SERVERS;
            place.server_arguments.extend(arguments.map(str::to_owned));
            if elsewhere.artifacts.is_none() {
                // With a bucket or a registry they need no folder in common.
                let repository = place.folder(REPOSITORY)?.display().to_string();
                let arguments = ["--repository", &repository];
                place.server_arguments.extend(arguments.map(str::to_owned));
                place.has_shared_folder = true;
            }
            elsewhere.database = Some(Arc::new(database));
        }
        if let Some(artifacts) = &elsewhere.artifacts {
            let there = artifacts.place();
            let arguments = ["--artifacts", &there.address];
            place.server_arguments.extend(arguments.map(str::to_owned));
            place.server_environment = there.environment;
        }
        if elsewhere.is_wanted() {
            place.order_limit = ORDER_LIMIT;
        }
        Ok(elsewhere)
    }

    /// Whether anything is elsewhere.
    pub fn is_wanted(&self) -> bool {
        self.database.is_some() || self.artifacts.is_some()
    }
}

/// Runs the store while its servers are killed and its database fails over.
pub async fn run(
    place: &Place,
    processes: Arc<Processes>,
    program: PathBuf,
    elsewhere: &Elsewhere,
    short: bool,
) -> anyhow::Result<Ending> {
    let haste = if short { HASTE } else { 1 };
    let setting = Setting {
        haste,
        ..Setting::default()
    };
    let demands = Demands {
        calls: DEMANDS.calls / haste,
        writes: DEMANDS.writes / haste,
        ..DEMANDS
    };
    let store = Store::prepare_in(place, processes, program, setting).await?;
    store.start(|_| None).await?;
    let kills = ServerKills::begin(&store.system, &store.watcher);
    let failing_over = elsewhere.database.clone().map(|database| {
        let (system, watcher) = (store.system.clone(), store.watcher.clone());
        tokio::spawn(database.fail_over(system, watcher))
    });
    let mut ending = through_all_versions(&store, demands).await?;
    let killed = kills.end().await?;
    ending.summary.servers_killed = Some(killed);
    if killed < KILLS_MIN {
        let few = format!("only {killed} servers were killed, not {KILLS_MIN}");
        ending.shortcomings.push(few);
    }
    if let Some(failing_over) = failing_over {
        let failovers = failovers(failing_over).await?;
        ending.summary.failovers = Some(failovers);
        if failovers == 0 {
            let none = "no standby took over in the middle of an upgrade".to_owned();
            ending.shortcomings.push(none);
        }
    }
    if let Some(artifacts) = elsewhere.artifacts.clone() {
        let count = tokio::task::spawn_blocking(move || artifacts.count()).await?;
        ending.summary.objects = Some(count);
        if count == 0 {
            let none = "no artifact lies in the bucket or the registry".to_owned();
            ending.shortcomings.push(none);
        }
    }
    Ok(ending)
}

/// How often a standby has taken over; one that is not over by now did not.
async fn failovers(failing_over: JoinHandle<anyhow::Result<u64>>) -> anyhow::Result<u64> {
    if !failing_over.is_finished() {
        failing_over.abort();
        return Ok(0);
    }
    failing_over.await.context("the failover broke off")?
}
