//! The node's metrics, as Prometheus reads them. They are told by a thread of their own from what the node has reported last: whoever
//! reads them asks nothing of those who do the node's work.

use super::Node;
use super::surroundings::Surroundings;
use crate::relay::{ResetReason, Tally, held_calls};
use call::RefusalKind;
use intercept::stats::Counter;
use metrics::catalogue::{
    AGENT_CALLS, AGENT_CALLS_FAILED, AGENT_CALLS_HELD, AGENT_CALLS_REFUSED,
    AGENT_CERTIFICATE_EXPIRY, AGENT_CONNECTIONS, AGENT_DISK_FREE, AGENT_DISK_SIZE, AGENT_DISTRUSTS,
    AGENT_HOOKS, AGENT_INFO, AGENT_PHASE, AGENT_PROGRESS_DONE, AGENT_PROGRESS_TOTAL, AGENT_RELEASE,
    AGENT_RESETS, AGENT_SOFTWARE, AGENT_STAGED_VERSION, AGENT_TARGET_VERSION, AGENT_UNAVAILABLE,
    AGENT_VERSION,
};
use metrics::{MetricDefinition, MetricsAddress, Readings, ScrapeForm, ScrapeSource, read_process};
use model::api::{ChildState, NodeReport, NodeStatus, Phase};
use model::ids::Version;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// How often it is tried to listen where somebody else does, or where the address is not there yet.
const LISTEN_PAUSE: Duration = Duration::from_secs(2);

/// What is told of a node.
struct NodeScrape {
    surroundings: Arc<Surroundings>,
    tally: Arc<Tally>,
    report: watch::Receiver<Option<NodeReport>>,
}

impl Node {
    /// Tells the node's metrics, if they are to be told.
    pub(super) fn tell_metrics(&self, report: watch::Receiver<Option<NodeReport>>) {
        let Some(address) = self.surroundings.config.metrics_listen else {
            return;
        };
        let scrape = NodeScrape {
            surroundings: Arc::clone(&self.surroundings),
            tally: Arc::clone(&self.relay.tally),
            report,
        };
        let thread = std::thread::Builder::new().name("metrics".to_owned());
        let started = thread.spawn(move || tell(address, scrape));
        if let Err(error) = started {
            tracing::warn!(%error, "no metrics are told: their thread cannot be started");
        }
    }
}

fn tell(address: MetricsAddress, scrape: NodeScrape) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(async {
            let listener = listening(address).await;
            metrics::say_where(address);
            metrics::serve(listener, Arc::new(scrape)).await;
        }),
        Err(error) => tracing::warn!(%error, "no metrics are told"),
    }
}

/// Listens there, as soon as that can be done: nobody's software waits for it.
async fn listening(address: MetricsAddress) -> TcpListener {
    let mut is_said = false;
    loop {
        match TcpListener::bind(address.0).await {
            Ok(listener) => return listener,
            Err(error) if !is_said => {
                tracing::warn!(%error, %address, "no metrics are told yet: end what listens there, or give another --metrics-listen; it is tried again");
                is_said = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(LISTEN_PAUSE).await;
    }
}

impl ScrapeSource for NodeScrape {
    async fn scrape(&self, form: ScrapeForm) -> String {
        let meters = &self.surroundings.link.meters;
        form.text(self.read(), Some(&meters.instruments))
    }
}

impl NodeScrape {
    fn read(&self) -> Readings {
        let mut readings = Readings::default();
        read_process(&mut readings, env!("CARGO_PKG_VERSION"));
        self.read_surroundings(&mut readings);
        self.read_tally(&mut readings);
        if let Some(report) = self.report.borrow().as_ref() {
            read_status(&report.status, &mut readings);
            read_counters(report, &mut readings);
        }
        readings
    }

    fn read_surroundings(&self, readings: &mut Readings) {
        let surroundings = &self.surroundings;
        let (config, link) = (&surroundings.config, &surroundings.link);
        let view = link.view.borrow().clone();
        let system = view.as_ref().map_or("", |view| &view.system);
        readings.put_of(&AGENT_INFO, [&config.name, &config.class, system], true);
        readings.put(&AGENT_DISTRUSTS, link.distrust.lock().is_some());
        link.meters.read(readings);
        if let Some(credential) = surroundings.client.credential() {
            let end = credential.says().expires_at_ms as f64 / 1e3;
            readings.put(&AGENT_CERTIFICATE_EXPIRY, end);
        }
        if let Ok(disk) = rustix::fs::statvfs(surroundings.layout.root()) {
            let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
            readings.put(&AGENT_DISK_FREE, bytes(disk.f_bavail));
            readings.put(&AGENT_DISK_SIZE, bytes(disk.f_blocks));
        }
    }

    fn read_tally(&self, readings: &mut Readings) {
        for ((caller, software, kind), number) in self.tally.between() {
            let (caller, software) = (caller.to_string(), software.to_string());
            readings.put_of(&AGENT_CALLS, [&caller, &software, kind], number);
        }
        let refused = self.tally.refusals();
        for kind in RefusalKind::ALL {
            let number = refused.get(&kind).copied().unwrap_or(0);
            readings.put_of(&AGENT_CALLS_REFUSED, [kind.name()], number);
        }
        readings.put(&AGENT_CALLS_HELD, held_calls());
        for (version, open) in self.tally.connections() {
            readings.put_of(&AGENT_CONNECTIONS, [&version.to_string()], open);
        }
    }
}

fn read_status(status: &NodeStatus, readings: &mut Readings) {
    readings.put(&AGENT_VERSION, status.version.0);
    readings.put(&AGENT_STAGED_VERSION, status.staged.0);
    let target = status.target.unwrap_or(Version(0));
    readings.put(&AGENT_TARGET_VERSION, target.0);
    for phase in Phase::ALL {
        readings.put_of(&AGENT_PHASE, [phase.name()], phase == status.phase);
    }
    for state in ChildState::ALL {
        readings.put_of(&AGENT_SOFTWARE, [state.name()], state == status.child);
    }
    let progress = status.progress.as_ref();
    let in_bytes = progress.filter(|progress| progress.unit == "bytes");
    let done = in_bytes.map_or(0, |progress| progress.done);
    let total = in_bytes.and_then(|progress| progress.total).unwrap_or(0);
    readings.put(&AGENT_PROGRESS_DONE, done);
    readings.put(&AGENT_PROGRESS_TOTAL, total);
}

fn read_counters(report: &NodeReport, readings: &mut Readings) {
    let number = |name: &str| report.counters.get(name).copied().unwrap_or(0);
    readings.put(&AGENT_CALLS_FAILED, number("calls.failed"));
    for (reason, _) in ResetReason::ALL {
        readings.put_of(&AGENT_RESETS, [reason.name()], number(reason.counter()));
    }
    for counter in Counter::ALL {
        let name = counter.name();
        readings.put_of(&AGENT_HOOKS, [name], number(name));
    }
    read_durations(report, "unavailable_ms.", &AGENT_UNAVAILABLE, readings);
    read_durations(report, "release_ms.", &AGENT_RELEASE, readings);
}

/// What was measured of each version.
fn read_durations(
    report: &NodeReport,
    prefix: &str,
    definition: &'static MetricDefinition,
    readings: &mut Readings,
) {
    for (name, ms) in &report.counters {
        if let Some(version) = name.strip_prefix(prefix) {
            readings.put_of(definition, [version], *ms as f64 / 1e3);
        }
    }
}
