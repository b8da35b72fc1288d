//! Looks at the system and at the clients all the time: prints the live view and remembers what the summary needs.

use super::open_connections::OpenConnections;
use super::summary::CrossVersionCalls;
use super::system::DemoSystem;
use super::tail::{Seen, Tail};
use super::tallies::Tallies;
use model::api::{Phase, SystemView};
use model::ids::Version;
use parking_lot::{Mutex, MutexGuard};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The pause between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// The pause between two lines of the live view where there is no terminal.
const LINE_PAUSE: Duration = Duration::from_secs(3);

/// What was seen.
#[derive(Debug, Default)]
struct Remembered {
    live_max: usize,
    /// The nodes whose upgrade is under way.
    stopped: BTreeSet<String>,
    /// Each node's version at the last look.
    versions: BTreeMap<String, Version>,
    tallies: Tallies,
    resets_max: u64,
    seen: Seen,
}

/// The watcher of one run.
#[derive(Clone, Debug)]
pub struct Watcher {
    remembered: Arc<Mutex<Remembered>>,
    open_connections: Arc<OpenConnections>,
    /// Which port each gateway's callers use, by node.
    ports: Arc<BTreeMap<String, u16>>,
    began: Instant,
    over: Arc<AtomicBool>,
}

impl Watcher {
    /// Begins; `ports` are those at which the clients' connections arrive, by node name.
    pub fn begin(
        system: &DemoSystem,
        history: &Path,
        ports: BTreeMap<String, u16>,
    ) -> anyhow::Result<Self> {
        let hosts = &system.place.hosts;
        let sockets = ports
            .iter()
            .map(|(node, port)| Ok((*port, hosts.sockets(node)?)))
            .collect::<anyhow::Result<_>>()?;
        let watcher = Self {
            remembered: Arc::default(),
            open_connections: Arc::new(OpenConnections::begin(sockets)),
            ports: Arc::new(ports),
            began: Instant::now(),
            over: Arc::default(),
        };
        tokio::spawn(watcher.clone().look(system.clone(), Tail::new(history)));
        Ok(watcher)
    }

    fn remembered(&self) -> MutexGuard<'_, Remembered> {
        self.remembered.lock()
    }

    /// The clients' calls so far.
    pub fn seen(&self) -> Seen {
        self.remembered().seen
    }

    /// Calls through adapters so far.
    pub fn crossed(&self) -> CrossVersionCalls {
        self.remembered().tallies.crossed()
    }

    /// The most versions that were live at once.
    pub fn live_max(&self) -> usize {
        self.remembered().live_max
    }

    /// How many connections may have broken: those that were open when a child was stopped or an agent killed.
    pub fn resets_max(&self) -> u64 {
        self.remembered().resets_max
    }

    /// For how long calls were held, once for each upgrade of each node.
    pub fn unavailable_ms(&self) -> Vec<u64> {
        self.remembered().tallies.unavailable_ms()
    }

    /// The sum of a counter over all nodes.
    pub fn count(&self, name: &str) -> u64 {
        self.remembered().tallies.sum(name)
    }

    /// Calls across versions that one node's adapters served.
    pub fn crossed_at(&self, node: &str) -> u64 {
        self.remembered().tallies.crossed_at(node)
    }

    /// Something that callers' connections to this node end at is about to happen, or has just happened.
    pub fn connections_may_break(&self, node: &str) {
        if let Some(port) = self.ports.get(node) {
            self.remembered().resets_max += self.open_connections.lately(*port);
        }
    }

    /// Looks no more.
    pub fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// [`Self::end`] was called.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// A line for people, above the live view.
    pub fn say(&self, text: &str) {
        let clear = if std::io::stderr().is_terminal() {
            "\r\x1b[2K"
        } else {
            ""
        };
        eprintln!("{clear}[{:>4} s] {text}", self.began.elapsed().as_secs());
    }

    async fn look(self, system: DemoSystem, mut tail: Tail) {
        let terminal = std::io::stderr().is_terminal();
        let mut printed = Instant::now();
        while !self.is_over() {
            let seen = tail.look();
            self.remembered().seen = seen;
            if let Ok(view) = system.view().await {
                self.remember(&view);
                let line = format!(
                    "[{:>4} s] {}",
                    self.began.elapsed().as_secs(),
                    self.line(&view)
                );
                if terminal {
                    eprint!("\r\x1b[2K{line}");
                } else if printed.elapsed() > LINE_PAUSE {
                    printed = Instant::now();
                    eprintln!("{line}");
                }
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }

    fn remember(&self, view: &SystemView) {
        let mut begun = Vec::new();
        let mut remembered = self.remembered();
        let versions: BTreeSet<Version> = view
            .nodes
            .iter()
            .map(|fact| fact.report.status.version)
            .collect();
        remembered.live_max = remembered
            .live_max
            .max(versions.iter().filter(|version| version.0 > 0).count());
        for fact in &view.nodes {
            remembered.tallies.add(fact);
            let version = fact.report.status.version;
            let moved = remembered
                .versions
                .insert(fact.name.clone(), version)
                .is_some_and(|before| before < version);
            let noticed = remembered.stopped.contains(&fact.name);
            if is_unavailable(fact.report.status.phase) {
                remembered.stopped.insert(fact.name.clone());
            } else {
                remembered.stopped.remove(&fact.name);
            }
            // An upgrade between two looks shows only by its version.
            if !noticed && (moved || remembered.stopped.contains(&fact.name)) {
                begun.push(fact.name.clone());
            }
        }
        drop(remembered);
        begun
            .iter()
            .for_each(|node| self.connections_may_break(node));
    }

    fn line(&self, view: &SystemView) -> String {
        let mut line = String::new();
        let mut class = "";
        let mut nodes: Vec<_> = view.nodes.iter().collect();
        nodes.sort_by_key(|fact| (&fact.class, &fact.name));
        for fact in nodes {
            if fact.class != class {
                class = &fact.class;
                let _ = write!(line, "{class} ");
            }
            let status = &fact.report.status;
            let _ = match status.phase {
                Phase::Settled | Phase::Staged | Phase::Fetching => {
                    write!(line, "{} ", status.version)
                }
                phase => write!(line, "{}({}) ", status.version, phase.words()),
            };
        }
        let (seen, crossed) = (self.seen(), self.crossed());
        let _ = write!(
            line,
            "| {} calls, {} writes, {} resets",
            seen.calls, seen.writes, seen.resets
        );
        let _ = write!(line, " | past {} future {}", crossed.past, crossed.future);
        line
    }
}

fn is_unavailable(phase: Phase) -> bool {
    matches!(
        phase,
        Phase::Stopping
            | Phase::Transforming
            | Phase::Committed
            | Phase::Probing
            | Phase::FlippingBack
    )
}
