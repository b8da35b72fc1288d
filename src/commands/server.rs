//! `upstart server`: runs the upgrade server.

use crate::arguments::Globals;
use crate::failure::{Outcome, failure};
use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Arguments of `upstart server`.
#[derive(Debug, Args)]
pub(crate) struct ServerArgs {
    /// Where the database and the artifacts lie
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// Where to listen; anything but loopback wants a token
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:7070")]
    pub(crate) listen: SocketAddr,
}

/// `upstart server`.
pub(crate) fn run(_globals: &Globals, _arguments: ServerArgs) -> Outcome {
    Err(failure("no server yet", "wait for it"))
}
