//! `upstart server`: runs the upgrade server until it is asked to end.

use crate::arguments::Globals;
use crate::connection::{asked_to_end, token};
use crate::failure::{End, Outcome, failure};
use clap::Args;
use server::{Config, ServerError};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Arguments of `upstart server`.
#[derive(Debug, Args)]
pub(crate) struct ServerArgs {
    /// Where the database and the artifacts lie
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// Where to listen; anything but loopback wants a token (--token-file)
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:7070")]
    pub(crate) listen: SocketAddr,
    /// A node counts as reachable for so long after it was last heard
    #[arg(long, value_name = "MS")]
    pub(crate) reachable_ms: Option<u64>,
}

/// `upstart server`.
pub(crate) fn run(globals: &Globals, arguments: ServerArgs) -> Outcome {
    let config = configuration(globals, arguments)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let end = asked_to_end()?;
        server::run(config, end).await.map_err(explain)
    })?;
    Ok(End::Yes)
}

fn configuration(globals: &Globals, arguments: ServerArgs) -> anyhow::Result<Config> {
    let mut config = Config::new(arguments.listen, arguments.data);
    config.token = token(globals)?;
    if let Some(reachable_ms) = arguments.reachable_ms {
        config.reachable_ms = reachable_ms;
    }
    if config.token.is_none() && !config.listen.ip().is_loopback() {
        return Err(failure(
            format!(
                "{} can be reached by others, and no token protects the system",
                config.listen
            ),
            "give a token with --token-file FILE, or listen on 127.0.0.1",
        ));
    }
    Ok(config)
}

fn explain(error: ServerError) -> anyhow::Error {
    let next = match &error {
        ServerError::Listen { .. } => "end what listens there, or give another --listen IP:PORT",
        ServerError::Data { .. } => "give --data a directory that can be written",
        server::ServerError::InUse(_) => "end that server, or give another --data DIR",
        _ => "keep the data directory as it is and look at the cause; nodes go on meanwhile",
    };
    let error = anyhow::Error::from(error);
    let parts: Vec<String> = error.chain().map(ToString::to_string).collect();
    failure(parts.join(": "), next)
}
