//! A PostgreSQL with a synchronous standby, whose primary is killed in the middle of an upgrade.

use crate::demo::store::PART_LIMIT;
use crate::demo::system::{DemoSystem, is_at};
use crate::demo::watcher::Watcher;
use anyhow::{Context, bail};
use harness::Postgres;
use model::api::SystemView;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The pause between two looks at the new primary.
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// The database of a run.
#[derive(Debug)]
pub(super) struct Database {
    primary: Mutex<Postgres>,
    standby: Postgres,
}

impl Database {
    /// Starts both. From a thread that lasts as long as the run: they end with it.
    pub(super) fn start() -> anyhow::Result<Self> {
        let primary = Postgres::start("cargo xtask demo --database postgres");
        let primary = primary.context(
            "`--database postgres` needs PostgreSQL 15; `cargo xtask test --install-only` installs it",
        )?;
        // What is answered from here on is at the standby, too.
        let standby = primary.standby(true);
        Ok(Self {
            primary: Mutex::new(primary),
            standby,
        })
    }

    /// Where it is: at the primary, or at the standby once that is promoted.
    pub(super) fn url(&self) -> String {
        self.primary.lock().url_with(&self.standby)
    }

    /// Waits until the storage class is half upgraded, kills the primary and promotes the standby; how often it did that.
    pub(super) async fn fail_over(
        self: Arc<Self>,
        system: DemoSystem,
        watcher: Watcher,
    ) -> anyhow::Result<u64> {
        let what = "a storage node has upgraded and another has not";
        system.wait(what, PART_LIMIT, is_halfway).await?;
        watcher.say("PostgreSQL's primary is killed in the middle of an upgrade");
        let begun = Instant::now();
        let database = Arc::clone(&self);
        let taken_over = tokio::task::spawn_blocking(move || {
            database.primary.lock().kill();
            let before = generation(&database.standby);
            database.standby.promote();
            before
        });
        let before = taken_over.await.context("PostgreSQL broke off")??;
        self.until_it_goes_on(before).await?;
        watcher.say(&format!(
            "the standby is the primary, and servers have committed there {} ms after the other was killed",
            begun.elapsed().as_millis()
        ));
        Ok(1)
    }

    async fn until_it_goes_on(&self, before: u64) -> anyhow::Result<()> {
        let last = Instant::now() + PART_LIMIT;
        while generation(&self.standby)? <= before {
            if Instant::now() > last {
                bail!("no server commits at the promoted standby");
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
        Ok(())
    }
}

fn is_halfway(view: &SystemView) -> bool {
    let mut storage = view.nodes.iter().filter(|fact| fact.class == "storage");
    let upgraded = storage.clone().any(|fact| is_at(fact, 2));
    upgraded && !storage.all(|fact| is_at(fact, 2))
}

/// How many commits there were.
fn generation(cluster: &Postgres) -> anyhow::Result<u64> {
    let said = cluster.try_sql("SELECT generation FROM upstart.head");
    Ok(said.map_err(anyhow::Error::msg)?.parse()?)
}
