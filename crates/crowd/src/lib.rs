//! Many nodes in one process, as upgrade servers see them: each has a key and a certificate of its own and an address of its own, reports,
//! waits for its turn, leaves with a permit and settles, as agents do. What they would run is left out: an upgrade is a pause.
//!
//! What agents fetch of the signed repository (files that any web server can give) and the members' list are left out, too.

mod enrolment;
mod line;
mod node;
mod query;
mod tally;

pub use tally::{CrowdFigures, DurationFigures};

use enrolment::enrol_all;
use model::ids::Version;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tally::CrowdTally;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::Semaphore;

/// How the crowd is.
#[derive(Clone, Debug, clap::Args)]
pub struct CrowdOptions {
    /// Where the server listens
    #[arg(long, value_name = "IP:PORT")]
    pub server: SocketAddr,
    /// The file of the server's token, by which the nodes are let in at first
    #[arg(long, value_name = "FILE")]
    pub token_file: PathBuf,
    /// How many nodes
    #[arg(long)]
    pub nodes: u32,
    /// Their class
    #[arg(long, default_value = "storage")]
    pub class: String,
    /// How many nodes have one value of the attribute `group`
    #[arg(long, default_value_t = 100)]
    pub group_nodes: u32,
    /// How often each reports, in milliseconds
    #[arg(long, default_value_t = 30_000)]
    pub report_ms: u64,
    /// How long a node is unavailable for an upgrade, in milliseconds
    #[arg(long, default_value_t = 5_000)]
    pub away_ms: u64,
    /// How many connections are open at once, at most
    #[arg(long, default_value_t = 15_000)]
    pub connections: usize,
    /// How often somebody asks for a page of the nodes and for the system's state, in milliseconds
    #[arg(long, default_value_t = 5_000)]
    pub query_ms: u64,
}

/// What the crowd says on stdout, a line each. It is told `measure` and `end` on stdin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CrowdSays {
    /// Every node is enrolled and certified.
    Enrolled {
        /// How many each second.
        per_s: f64,
    },
    /// Every node has reported for the first time.
    Here,
    /// Every node has been told of a version.
    Told {
        /// Which.
        version: Version,
        /// When the last was, in milliseconds since 1970.
        at_ms: u64,
    },
    /// Every node has settled at a version.
    Settled {
        /// Which.
        version: Version,
    },
    /// What was measured since `measure`.
    Measured(Box<CrowdFigures>),
}

/// What all nodes have in common.
pub(crate) struct Crowd {
    pub(crate) options: CrowdOptions,
    pub(crate) tally: CrowdTally,
    /// The connections that may be opened.
    pub(crate) places: Arc<Semaphore>,
    told: Mutex<BTreeMap<Version, u32>>,
    settled: Mutex<BTreeMap<Version, u32>>,
    here: Mutex<u32>,
}

impl Crowd {
    fn new(options: CrowdOptions) -> Self {
        Self {
            places: Arc::new(Semaphore::new(options.connections)),
            options,
            tally: CrowdTally::default(),
            told: Mutex::default(),
            settled: Mutex::default(),
            here: Mutex::default(),
        }
    }

    /// A node has reported for the first time.
    pub(crate) fn came(&self) {
        let mut here = self.here.lock();
        *here += 1;
        if *here == self.options.nodes {
            say(&CrowdSays::Here);
        }
    }

    /// A node has been told of a version.
    pub(crate) fn was_told(&self, version: Version) {
        if self.is_last(&self.told, version) {
            let at_ms = now_ms();
            say(&CrowdSays::Told { version, at_ms });
        }
    }

    /// A node has settled at a version.
    pub(crate) fn has_settled(&self, version: Version) {
        if self.is_last(&self.settled, version) {
            say(&CrowdSays::Settled { version });
        }
    }

    fn is_last(&self, counts: &Mutex<BTreeMap<Version, u32>>, version: Version) -> bool {
        let mut counts = counts.lock();
        let count = counts.entry(version).or_default();
        *count += 1;
        *count == self.options.nodes
    }
}

/// The time in milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

/// The address of a host: loopback's network has as many as there are nodes. The kernel gives each its own ports.
pub(crate) fn address(number: u32) -> IpAddr {
    let [_, high, middle, low] = number.to_be_bytes();
    Ipv4Addr::new(127, 16 + high, middle, low).into()
}

/// Whoever started this may have gone: that ends it, too, as the end of stdin does.
fn say(said: &CrowdSays) {
    if let Ok(text) = serde_json::to_string(said) {
        let _ = writeln!(std::io::stdout(), "{text}");
    }
}

/// Enrols the nodes and has them live until stdin ends.
///
/// # Errors
/// The server cannot be reached, or takes them not.
pub async fn run(options: CrowdOptions) -> anyhow::Result<()> {
    let crowd = Arc::new(Crowd::new(options));
    let begun = std::time::Instant::now();
    let nodes = enrol_all(&crowd).await?;
    let per_s = f64::from(crowd.options.nodes) / begun.elapsed().as_secs_f64();
    say(&CrowdSays::Enrolled { per_s });
    for node in nodes {
        tokio::spawn(node.live());
    }
    let every = Duration::from_millis(crowd.options.query_ms);
    tokio::spawn(query::ask_again_and_again(Arc::clone(&crowd), every));
    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    while let Some(order) = orders.next_line().await? {
        match order.trim() {
            "measure" => crowd.tally.clear(),
            "end" => say(&CrowdSays::Measured(Box::new(crowd.tally.figures()))),
            other => anyhow::bail!("`{other}` is neither `measure` nor `end`"),
        }
    }
    Ok(())
}
