//! The upgrade server: repository, upgrade database (UDB) and HTTP interface.
//!
//! Requests become commands; [`rules`] decide each over the state in memory, without I/O; the keeper makes the changes
//! durable, a batch per transaction, and only then shows and answers them. One server serves one system.

mod clock;
mod config;
mod error;
mod http;
mod keeper;
mod problem;
mod repository;
mod rules;
mod serve;
mod state;
pub mod udb;

pub use clock::Clock;
pub use config::Config;
pub use error::ServerError;
pub use http::{App, router};
pub use problem::Kind;
pub use serve::{Server, run};
