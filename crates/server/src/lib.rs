//! The upgrade server: repository, upgrade database (UDB) and HTTP interface.
//!
//! Requests become commands; [`rules`] decide each over the state in memory, without I/O; the keeper makes the changes
//! durable, a batch per transaction, and only then shows and answers them. One server serves one system.

mod clock;
mod config;
mod error;
mod front;
mod http;
mod keeper;
mod local;
mod problem;
mod repository;
mod rules;
mod serve;
mod state;
pub mod token;
pub mod udb;

pub use clock::Clock;
pub use config::{Config, REACHABLE_MS_DEFAULT};
pub use error::ServerError;
pub use http::{App, router};
pub use problem::Kind;
pub use serve::{Server, run};
