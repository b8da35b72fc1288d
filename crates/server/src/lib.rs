//! The upgrade server: repository, upgrade database (UDB) and HTTP interface.
//!
//! Requests become commands; [`rules`] decide each over the state in memory, without I/O; the state writer makes the changes
//! durable, a batch per transaction, and only then shows and answers them. One server serves one system.

pub mod backup;
mod clock;
mod config;
mod deliveries;
mod error;
mod front;
mod http;
mod issuer;
mod local;
mod measuring;
mod meters;
mod opening;
mod outside;
mod problem;
mod prometheus;
mod recovery;
mod repository;
mod retention;
mod rules;
mod sealing;
mod server;
mod sources;
mod state;
mod state_writer;
pub mod token;
pub mod udb;

pub use clock::ServerClock;
pub use config::{
    CERTIFICATE_MS_DEFAULT, DAY_MS, EVENTS_KEPT_DAYS, REACHABLE_MS_DEFAULT, ServerConfig,
};
pub use error::ServerError;
pub use http::{App, router};
pub use problem::Kind;
pub use prometheus::PrometheusPlace;
pub use repository::ArtifactsError;
pub use server::{Server, run};
