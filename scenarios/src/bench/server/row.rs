//! One measurement: one database, so many nodes.

use super::crowd::CrowdProcess;
use super::gauge::{Gauge, Gauged, rss_mib};
use super::{Database, Options, Programs, shown, upgrades};
use crate::demo::place::Place;
use crate::demo::processes::Processes;
use crate::demo::system::{DemoSystem, SERVER};
use anyhow::Context;
use crowd::{CrowdFigures, CrowdSays};
use harness::Postgres;
use model::ids::Version;
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// A node that comes so much later than it wanted to was kept by the generator.
const LATE_P99_MS_MAX: f64 = 100.0;

/// How long the nodes may take to enrol, each.
const ENROLMENT_LIMIT_EACH: Duration = Duration::from_millis(50);

/// How long something may take besides.
const LIMIT: Duration = Duration::from_secs(120);

/// How often the server's memory is looked at, at least.
const LOOK: Duration = Duration::from_millis(500);

/// What was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Row {
    pub(super) database: Database,
    pub(super) nodes: u32,
    pub(super) reports_per_s: f64,
    pub(super) errors: u64,
    pub(super) cpu_cores: Cores,
    /// The most memory that the server had in use.
    pub(super) rss_mib: f64,
    pub(super) p99_ms: P99,
    /// From a publication until every node has been told of it; none where the time was over before.
    pub(super) all_know_s: Option<f64>,
    /// The server's processor time for each report, with everything else that it did.
    pub(super) server_us_per_report: f64,
    pub(super) verdicts_per_s: f64,
    pub(super) upgraded_per_s: f64,
    /// How many nodes were enrolled and certified each second, before.
    pub(super) enrolled_per_s: f64,
    pub(super) generator: Generator,
    /// What went wrong, by what was said.
    pub(super) said: std::collections::BTreeMap<String, u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Cores {
    pub(super) server: f64,
    pub(super) database: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct P99 {
    pub(super) report: f64,
    pub(super) verdict: f64,
    pub(super) fleet_query: f64,
}

/// The nodes' own part.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Generator {
    pub(super) cpu_cores: f64,
    pub(super) late_p99_ms: f64,
    pub(super) is_the_limit: bool,
}

/// Where it is measured.
pub(super) struct Scene<'a> {
    pub(super) options: &'a Options,
    pub(super) place: &'a Place,
    pub(super) processes: &'a Arc<Processes>,
    pub(super) programs: &'a Programs,
    pub(super) database: Database,
    pub(super) nodes: u32,
}

/// What is looked at while nodes report.
struct Gauges {
    server: Gauge,
    database: Option<Gauge>,
    crowd: Gauge,
    server_pid: u32,
}

/// What has come about meanwhile.
#[derive(Default)]
struct Seen {
    rss_mib: f64,
    all_know_s: Option<f64>,
}

impl Scene<'_> {
    pub(super) async fn measure(&self) -> anyhow::Result<Row> {
        let name = format!("{:?}-{}", self.database, self.nodes);
        let mut place = Place::beside(self.place, &name)?;
        let postgres = self.database(&mut place)?;
        let system = DemoSystem::start(
            &place,
            Arc::clone(self.processes),
            self.programs.upstart.clone(),
        )
        .await?;
        self.publish(&system, 1).await?;
        let (mut crowd, enrolled_per_s) = self.crowd(&place).await?;
        let gauges = self.gauges(&crowd, postgres.as_ref())?;
        crowd.measure().await?;
        let begun = Instant::now();
        let seen = self.roll(&system, &mut crowd, &gauges).await?;
        let seconds = begun.elapsed().as_secs_f64();
        let figures = crowd.measured().await?;
        let row = self.row((&figures, seconds), &gauges, &seen, enrolled_per_s)?;
        drop(crowd);
        self.processes.stop(SERVER, LIMIT);
        Ok(row)
    }

    /// Starts the database, if it is not the server's own. It writes through to the disk, as the server's own does.
    fn database(&self, place: &mut Place) -> anyhow::Result<Option<Postgres>> {
        if self.database == Database::Sqlite {
            return Ok(None);
        }
        let postgres = Postgres::start("bench server").context("PostgreSQL is not installed")?;
        postgres.sql("ALTER SYSTEM SET fsync = on");
        postgres.sql("SELECT pg_reload_conf()");
        let arguments = ["--database", &postgres.url()].map(str::to_owned);
        place.server_arguments.extend(arguments);
        Ok(Some(postgres))
    }

    async fn publish(&self, system: &DemoSystem, version: u32) -> anyhow::Result<()> {
        let folder: PathBuf = upgrades::write(&system.place.folder("bundles")?, version)?;
        let system = system.clone();
        tokio::task::spawn_blocking(move || system.publish(&folder, false)).await?
    }

    /// Starts the nodes, and waits until each has reported.
    async fn crowd(&self, place: &Place) -> anyhow::Result<(CrowdProcess, f64)> {
        let report_ms = (self.options.report_seconds * 1_000.0) as u64;
        let arguments = [
            ("--server", format!("127.0.0.1:{}", place.server_port(0))),
            (
                "--token-file",
                place.root.join("token").display().to_string(),
            ),
            ("--nodes", self.nodes.to_string()),
            ("--report-ms", report_ms.to_string()),
            ("--connections", self.options.connections.to_string()),
        ];
        let arguments = arguments.map(|(name, value)| [name.to_owned(), value]);
        let log = place.folder("logs")?.join("crowd.log");
        let mut crowd = CrowdProcess::start(self.programs, arguments.as_flattened(), &log)?;
        let limit = LIMIT + ENROLMENT_LIMIT_EACH * self.nodes;
        let enrolled = crowd.until("all nodes are enrolled", limit, |said| match said {
            CrowdSays::Enrolled { per_s } => Some(per_s),
            _ => None,
        });
        let enrolled_per_s = enrolled.await?;
        let here = crowd.until("all nodes have reported", LIMIT * 2, |said| {
            (said == CrowdSays::Here).then_some(())
        });
        here.await?;
        Ok((crowd, enrolled_per_s))
    }

    fn gauges(&self, crowd: &CrowdProcess, postgres: Option<&Postgres>) -> anyhow::Result<Gauges> {
        let of = |pid, with_children| Gauge::begin(Gauged { pid, with_children });
        let server_pid = self.processes.pid(SERVER).context("the server has ended")?;
        Ok(Gauges {
            server: of(server_pid, false)?,
            database: postgres
                .map(|postgres| of(postgres.pid(), true))
                .transpose()?,
            crowd: of(crowd.pid()?, false)?,
            server_pid,
        })
    }

    /// Publishes one version after the other, each when all nodes have settled at the one before, until the time is over.
    async fn roll(
        &self,
        system: &DemoSystem,
        crowd: &mut CrowdProcess,
        gauges: &Gauges,
    ) -> anyhow::Result<Seen> {
        let end = Instant::now() + Duration::from_secs_f64(self.options.minutes * 60.0);
        let mut seen = Seen::default();
        let mut newest = 2;
        self.publish(system, newest).await?;
        let mut published_ms = now_ms();
        while Instant::now() < end {
            let left = end.saturating_duration_since(Instant::now());
            seen.rss_mib = seen.rss_mib.max(rss_mib(gauges.server_pid));
            match crowd.next(LOOK.min(left)).await? {
                Some(CrowdSays::Told { version, at_ms }) if version == Version(newest) => {
                    let took_s = at_ms.saturating_sub(published_ms) as f64 / 1_000.0;
                    let longest_s = seen.all_know_s.unwrap_or(0.0).max(took_s);
                    seen.all_know_s = Some(longest_s);
                }
                Some(CrowdSays::Settled { version }) if version == Version(newest) => {
                    newest += 1;
                    self.publish(system, newest).await?;
                    published_ms = now_ms();
                }
                _ => {}
            }
        }
        Ok(seen)
    }

    fn row(
        &self,
        (figures, seconds): (&CrowdFigures, f64),
        gauges: &Gauges,
        seen: &Seen,
        enrolled_per_s: f64,
    ) -> anyhow::Result<Row> {
        let server = gauges.server.cores()?;
        let database = gauges.database.as_ref().map(Gauge::cores).transpose()?;
        let reports = figures.reports.count.max(1) as f64;
        let each_second = |count: u64| shown(count as f64 / seconds);
        let late_p99_ms = figures.late.p99_ms;
        Ok(Row {
            database: self.database,
            nodes: self.nodes,
            reports_per_s: each_second(figures.reports.count),
            errors: figures.errors.values().sum(),
            cpu_cores: Cores {
                server: shown(server),
                database: shown(database.unwrap_or(0.0)),
            },
            rss_mib: shown(seen.rss_mib),
            p99_ms: P99 {
                report: shown(figures.reports.p99_ms),
                verdict: shown(figures.verdicts.p99_ms),
                fleet_query: shown(figures.fleet_queries.p99_ms),
            },
            all_know_s: seen.all_know_s.map(shown),
            server_us_per_report: shown(server * seconds * 1_000_000.0 / reports),
            verdicts_per_s: each_second(figures.verdicts.count),
            upgraded_per_s: each_second(figures.upgraded),
            enrolled_per_s: shown(enrolled_per_s),
            generator: Generator {
                cpu_cores: shown(gauges.crowd.cores()?),
                late_p99_ms: shown(late_p99_ms),
                is_the_limit: late_p99_ms > LATE_P99_MS_MAX,
            },
            said: figures.errors.clone(),
        })
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}
