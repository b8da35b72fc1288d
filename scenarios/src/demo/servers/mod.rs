//! `--database postgres`: the store, upgraded through all its versions by three servers over one PostgreSQL. Servers are killed
//! at random all the time, and PostgreSQL's primary once, so that its standby takes over. What callers see is held to the same
//! zeros as where nothing happens to any server.

mod database;
mod kills;

pub use database::Database;

use super::Ending;
use super::place::Place;
use super::processes::Processes;
use super::store::{DEMANDS, Setting, Store, through_all_versions};
use super::summary::Demands;
use super::system::REPOSITORY;
use anyhow::Context;
use clap::ValueEnum;
use kills::ServerKills;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Where the servers have the upgrade database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DatabaseKind {
    /// PostgreSQL with a synchronous standby, for three servers.
    Postgres,
}

/// How many servers there are over one database.
const SERVERS: u16 = 3;

/// So many servers are killed at least.
const KILLS_MIN: u64 = 5;

/// A short run, for the tests: how many times fewer calls it makes.
const HASTE: u64 = 5;

/// How long an order is repeated while servers or the database are away: a standby takes over within seconds.
const ORDER_LIMIT: Duration = Duration::from_secs(60);

/// Has the run's servers use this database; before they are started.
pub fn use_database(place: &mut Place, database: &Database) -> anyhow::Result<()> {
    let repository = place.folder(REPOSITORY)?;
    place.servers = SERVERS;
    place.order_limit = ORDER_LIMIT;
    place.server_arguments = vec![
        "--database".to_owned(),
        database.url(),
        "--repository".to_owned(),
        repository.display().to_string(),
    ];
    Ok(())
}

/// Runs the store while its servers are killed and its database fails over.
pub async fn run(
    place: &Place,
    processes: Arc<Processes>,
    program: PathBuf,
    database: Arc<Database>,
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
    let system = store.system.clone();
    let failing_over = tokio::spawn(database.fail_over(system, store.watcher.clone()));
    let mut ending = through_all_versions(&store, demands).await?;
    let killed = kills.end().await?;
    let failovers = if failing_over.is_finished() {
        failing_over.await.context("the failover broke off")??
    } else {
        failing_over.abort();
        0
    };
    ending.summary.servers_killed = Some(killed);
    ending.summary.failovers = Some(failovers);
    if killed < KILLS_MIN {
        let few = format!("only {killed} servers were killed, not {KILLS_MIN}");
        ending.shortcomings.push(few);
    }
    if failovers == 0 {
        let none = "no standby took over in the middle of an upgrade".to_owned();
        ending.shortcomings.push(none);
    }
    Ok(ending)
}
