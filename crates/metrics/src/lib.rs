//! What Prometheus reads of servers and agents: the catalogue of all metrics, their values, and the text in which they are told.
//!
//! Nothing can be told that the catalogue does not list: a value is given together with its definition. What is counted as it happens
//! is kept in [`Instruments`]; what is known anyway is read at each scrape, into a [`Readings`]. Neither knows what a node or a server
//! is: they fill in the values, and this crate is below both.

mod address;
pub mod catalogue;
mod definition;
mod form;
mod instruments;
mod listener;
mod process;
mod readings;

pub use address::{AddressError, MetricsAddress, say_where};
pub use definition::{MetricDefinition, MetricKind};
pub use form::ScrapeForm;
pub use instruments::{CounterFamily, HistogramFamily, Instruments, StaticLabels};
pub use listener::{ScrapeSource, serve};
pub use process::read_process;
pub use prometheus_client::metrics::counter::Counter;
pub use prometheus_client::metrics::histogram::Histogram;
pub use readings::Readings;
