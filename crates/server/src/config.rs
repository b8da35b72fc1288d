//! What a server is told at its start.

use crate::{PrometheusPlace, ServerClock};
use identity::Issuer;
use std::net::SocketAddr;
use std::path::PathBuf;
use webhook::RetryPause;

/// How long a node stays reachable after it was last heard, unless told otherwise.
pub const REACHABLE_MS_DEFAULT: u64 = 15_000;

/// How long a permit lasts unconfirmed, unless told otherwise: a node confirms within moments or has died.
const PERMIT_TTL_MS: u64 = 60_000;

/// How long a certificate counts, unless told otherwise: a week. Half of it is how long a server may be away before one expires.
pub const CERTIFICATE_MS_DEFAULT: u64 = 7 * 24 * 60 * 60 * 1_000;

/// How often reachability and permits are looked at, unless told otherwise.
const SWEEP_MS: u64 = 500;

/// How often schedules' conditions are measured for, unless told otherwise.
const MEASURE_MS: u64 = 5_000;

/// The largest artifact, unless told otherwise: what a manifest may list.
const ARTIFACT_BYTES_MAX: u64 = model::manifest::FILE_BYTES_MAX;

/// What a server is told at its start.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where metrics are told in the clear, besides; `None`: nowhere.
    pub metrics_listen: Option<SocketAddr>,
    /// The directory of the database and the repository; made when it is not there.
    pub data: PathBuf,
    /// The URL of a PostgreSQL database; `None`: SQLite in the data directory.
    pub database: Option<String>,
    /// The folder of the repository, which other servers may use, too; `None`: one in the data directory.
    pub repository: Option<PathBuf>,
    /// Where the artifacts lie, as `s3://BUCKET/PREFIX` or `oci://HOST/NAME`; `None`: in the repository's folder.
    pub artifacts: Option<String>,
    /// The bearer token that every request must carry; `None`: that of the data directory, which is made at the first start.
    pub token: Option<String>,
    /// Whose web tokens let operators in.
    pub issuer: Option<Issuer>,
    /// A node is reachable for so long after it was last heard.
    pub reachable_ms: u64,
    /// A permit expires after so long unless it is confirmed.
    pub permit_ttl_ms: u64,
    /// How long a certificate of a node or an operator counts.
    pub certificate_ms: u64,
    /// How long entries of the history are kept; `None`: for ever.
    pub events_kept_ms: Option<u64>,
    /// How long receivers of webhooks that fail are left alone.
    pub webhook_pause: RetryPause,
    /// How often reachability and expiry are looked at.
    pub sweep_ms: u64,
    /// The largest artifact that is stored, in bytes.
    pub artifact_bytes_max: u64,
    /// Who is asked for what schedules want measured.
    pub prometheus: Option<PrometheusPlace>,
    /// How often it is measured.
    pub measure_ms: u64,
    /// Where the time comes from; with PostgreSQL it is the database's.
    pub clock: ServerClock,
}

/// How many days entries of the history are kept unless told otherwise.
pub const EVENTS_KEPT_DAYS: u64 = 365;

/// A day.
pub const DAY_MS: u64 = 86_400_000;

impl ServerConfig {
    /// The defaults for a server that listens at `listen` and keeps its files in `data`.
    #[must_use]
    pub fn new(listen: SocketAddr, data: PathBuf) -> Self {
        Self {
            listen,
            metrics_listen: None,
            data,
            database: None,
            repository: None,
            artifacts: None,
            token: None,
            issuer: None,
            reachable_ms: REACHABLE_MS_DEFAULT,
            permit_ttl_ms: PERMIT_TTL_MS,
            certificate_ms: CERTIFICATE_MS_DEFAULT,
            events_kept_ms: Some(EVENTS_KEPT_DAYS * DAY_MS),
            webhook_pause: RetryPause::default(),
            sweep_ms: SWEEP_MS,
            artifact_bytes_max: ARTIFACT_BYTES_MAX,
            prometheus: None,
            measure_ms: MEASURE_MS,
            clock: ServerClock::system(),
        }
    }
}
