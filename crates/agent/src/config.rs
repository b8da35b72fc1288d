//! What an agent is told when it starts.

use metrics::MetricsAddress;
use model::expression::Variable;
use model::network::Network;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// How often an agent asks the server by default, in milliseconds.
pub const POLL_MS_DEFAULT: u64 = 2_000;

/// An agent's configuration, from the command line or a TOML file of the same keys.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The node's data directory; one node each.
    pub data: PathBuf,
    /// The node's name, unique in the system.
    pub name: String,
    /// The class whose software the node runs.
    pub class: String,
    /// Free attributes that schedules and filters look at.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// The node's variables, for command lines and port expressions.
    #[serde(default)]
    pub variables: BTreeMap<String, Variable>,
    /// The upgrade server's URLs; the next one is tried when one fails.
    pub servers: Vec<String>,
    /// The bearer token for the server.
    #[serde(default)]
    pub token: Option<String>,
    /// The user whose file the token was in: a server that this one runs on this host is believed, too.
    #[serde(skip)]
    pub token_owner: Option<u32>,
    /// The first root of the system's signed repository (`metadata/1.root.json`), to be trusted from the first start on; without it, the
    /// server is believed once, unverified.
    #[serde(default)]
    pub root: Option<PathBuf>,
    /// The addresses at which peers reach the node, where the upgrade file names none.
    #[serde(default = "default_addresses")]
    pub addresses: Vec<IpAddr>,
    /// Networks from which callers may send labels, besides members' addresses: what is behind load balancers and address translation.
    #[serde(default)]
    pub networks: Vec<Network>,
    /// Variables of the agent's own environment that software, its commands and transforms get too.
    #[serde(default)]
    pub pass_environment: Vec<String>,
    /// The port at which artifacts are served to other nodes of the same site; none are without one.
    #[serde(default)]
    pub artifact_port: Option<u16>,
    /// Where metrics are told to Prometheus, without TLS; nowhere without it.
    #[serde(default)]
    pub metrics_listen: Option<MetricsAddress>,
    /// How often the server is asked, in milliseconds; jitter is added.
    #[serde(default = "default_poll_ms")]
    pub poll_ms: u64,
    /// How many threads serve calls of other versions.
    #[serde(default = "default_call_threads")]
    pub call_threads: NonZeroUsize,
}

fn default_addresses() -> Vec<IpAddr> {
    vec![IpAddr::from([127, 0, 0, 1])]
}

fn default_poll_ms() -> u64 {
    POLL_MS_DEFAULT
}

/// One thread for each processor that the agent may use.
pub fn default_call_threads() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}
