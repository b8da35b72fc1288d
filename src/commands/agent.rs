//! `upstart agent`: runs one node's agent, told by flags or by a file with the same keys.

use super::first_process;
use crate::connection::{OperatorToken, asked_to_end, given, no_token};
use crate::failure::{Advise, CommandEnd, CommandOutcome, failure};
use crate::file_limit;
use crate::globals::Globals;
use agent::AgentError;
use agent::config::Config;
use agent::holder_client::HolderClientError;
use agent::journal::JournalFileError;
use clap::Args;
use metrics::MetricsAddress;
use model::expression::Variable;
use model::network::Network;
use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroUsize;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::Command;
use std::time::Duration;

/// How long an agent whose holder is gone waits before it begins anew: something that ends holders at once must not keep a processor busy.
const AGAIN_PAUSE: Duration = Duration::from_millis(500);

/// The longest pause between two questions to the server, and the most threads for calls: beyond them lies no use, but an agent that
/// seems dead, or dies.
const POLL_MS_MAX: u64 = 3_600_000;
const CALL_THREADS_MAX: u64 = 1_024;

/// The longest configuration.
const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// What `upstart help agent` says below the options.
const AFTER_HELP: &str = "\
It runs in the foreground, and says what it does on stderr: let a service manager keep it. SIGTERM or Ctrl-C ends it with exit code 0, and only it: the software
runs on under its holder, for the next agent (`upstart stop` ends both).";

/// Arguments of `upstart agent`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct AgentArgs {
    /// Read everything from this TOML file: data, name, class, attributes, variables, servers, token, root, addresses, networks, pass_environment, artifact_port, metrics_listen, poll_ms, call_threads
    #[arg(long, value_name = "FILE", conflicts_with_all = ["data", "name", "class", "attributes", "variables", "root", "addresses", "networks", "pass_environment", "artifact_port", "metrics_listen", "poll_ms", "call_threads"])]
    pub(crate) config: Option<PathBuf>,
    /// The node's data directory; one node each
    #[arg(long, value_name = "DIR", required_unless_present = "config")]
    pub(crate) data: Option<PathBuf>,
    /// The node's name, unique in the system
    #[arg(long, required_unless_present = "config")]
    pub(crate) name: Option<String>,
    /// The class whose software the node runs
    #[arg(long, required_unless_present = "config")]
    pub(crate) class: Option<String>,
    /// A free attribute for schedules and filters (repeatable)
    #[arg(long = "attribute", value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) attributes: Vec<(String, String)>,
    /// A variable for command lines and ports: a whole number, true, false, else text (repeatable)
    #[arg(long = "var", value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) variables: Vec<(String, String)>,
    /// The first root of the system's signed repository (metadata/1.root.json), which the node trusts from its first start on; without
    /// it, the node takes the root from its server once, unverified
    #[arg(long, value_name = "FILE")]
    pub(crate) root: Option<PathBuf>,
    /// An address at which peers reach the node (repeatable) [default: 127.0.0.1]
    #[arg(long = "address", value_name = "IP")]
    pub(crate) addresses: Vec<IpAddr>,
    /// A network from which callers may send labels, besides members' addresses, such as a load balancer's (repeatable)
    #[arg(long = "network", value_name = "IP/PREFIX")]
    pub(crate) networks: Vec<Network>,
    /// A variable of the agent's environment to pass to the software, which gets no others (repeatable)
    #[arg(long, value_name = "NAME", value_parser = passed)]
    pub(crate) pass_environment: Vec<String>,
    /// Serve artifacts at this port, over mutual TLS, to nodes of the same site (`--attribute site=NAME`), so that few nodes of a site
    /// fetch from the server
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) artifact_port: Option<u16>,
    /// Tell the node's metrics to Prometheus at this address (`/metrics`), without TLS and to everybody who reaches it: a port alone is one
    /// of this host
    #[arg(long, value_name = "[IP:]PORT")]
    pub(crate) metrics_listen: Option<MetricsAddress>,
    /// How often the server is asked, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = agent::config::POLL_MS_DEFAULT)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=POLL_MS_MAX))]
    pub(crate) poll_ms: u64,
    /// How many threads serve calls of other versions [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = threads)]
    pub(crate) call_threads: Option<NonZeroUsize>,
}

/// Reads `KEY=VALUE`.
fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it as KEY=VALUE".to_owned()),
    }
}

/// Reads a number of threads.
fn threads(text: &str) -> Result<NonZeroUsize, String> {
    let number = text.parse().ok();
    number
        .filter(|number: &NonZeroUsize| number.get() as u64 <= CALL_THREADS_MAX)
        .ok_or_else(|| format!("give a number from 1 to {CALL_THREADS_MAX}"))
}

/// Reads the name of a variable that is passed on.
fn passed(name: &str) -> Result<String, agent::environment::NotPassed> {
    agent::environment::may_be_passed(name)?;
    Ok(name.to_owned())
}

/// `upstart agent`: until SIGINT or SIGTERM; the software runs on under its holder.
pub(crate) fn run(globals: &Globals, arguments: AgentArgs) -> CommandOutcome {
    let config = match &arguments.config {
        Some(file) => from_file(file, globals)?,
        None => from_flags(arguments, globals)?,
    };
    check_root(&config)?;
    if first_process::is_first() {
        return first_process::run(&config.data);
    }
    file_limit::survive()?;
    agent::limits::tighten_umask();
    agent::limits::raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let ended = runtime.block_on(async {
        let (ask, asked) = tokio::sync::watch::channel(false);
        let mut asked_to_end = pin!(asked_to_end()?);
        let mut agent = pin!(agent::run(config, asked));
        tokio::select! {
            ended = &mut agent => {
                let is_left = matches!(ended, Err(AgentError::HolderGone | AgentError::Renumbered));
                let pause = if is_left { AGAIN_PAUSE } else { Duration::ZERO };
                // Asked while it waits, it ends.
                let again = tokio::select! {
                    () = tokio::time::sleep(pause) => is_left,
                    () = &mut asked_to_end => false,
                };
                return Ok::<_, anyhow::Error>((ended, again));
            }
            () = &mut asked_to_end => {}
        }
        // The agent may have ended by itself just now.
        let _ = ask.send(true);
        Ok((agent.await, false))
    })?;
    // Requests to a server that does not answer must not hold the end up.
    runtime.shutdown_background();
    match ended {
        (Err(error), true) => Err(begin_again(error)),
        (Err(error), false) => Err(explain(error)),
        (Ok(()), _) => Ok(CommandEnd::Yes),
    }
}

/// A lost holder ends no agent: it begins anew, as the same process, so that nobody need look after it. Gives what is in the way.
fn begin_again(error: AgentError) -> anyhow::Error {
    tracing::warn!(%error, "the agent restarts: a new holder ends the software that was left, and starts it again");
    let mut arguments = std::env::args_os();
    let mut again = Command::new("/proc/self/exe");
    if let Some(name) = arguments.next() {
        again.arg0(name);
    }
    agent::limits::restore_own();
    let failed = again.args(arguments).exec();
    tracing::error!(error = %failed, "cannot begin anew");
    explain(error)
}

/// What is in the way of an agent, and what to do.
pub(super) fn explain(error: AgentError) -> anyhow::Error {
    let next = match &error {
        AgentError::Server(_) => {
            "see `upstart status`; give the agent the right class, server and token"
        }
        AgentError::Name(..) => "give another --name (`name` in the configuration)",
        AgentError::NoHandshakeData => "set it for good in /etc/sysctl.d",
        error if file_limit::advice(error).is_some() => {
            file_limit::advice(error).unwrap_or_default()
        }
        AgentError::Library(_) => {
            "install it beside the program (in a clone, `cargo build --package preload` makes it)"
        }
        AgentError::Journal(error) => journal_advice(error),
        AgentError::File { .. } => {
            "the agent's user must be able to read and write everything below --data"
        }
        AgentError::Unfit(..) => "give another --data",
        AgentError::NotANodes(..) => "give --data an empty folder, or one that is not there yet",
        AgentError::Distrust(_) => {
            "see to it that only root and the agent's user can write there (`chown`, `chmod go-w`, `setfacl -b`), or give another --data"
        }
        AgentError::Broken { .. } => {
            "start the agent again: it goes on with what is there; report this with the agent's log"
        }
        AgentError::Holder(HolderClientError::Locked { .. }) => {
            "find out what that process is and end it, then start the agent again; nobody but root and the agent's user can open the lock from now on"
        }
        AgentError::HolderGone | AgentError::Renumbered => {
            "start the agent again: it goes on with what is there"
        }
        _ => "start the agent again; -v says more",
    };
    let what = anyhow::Error::from(error)
        .chain()
        .map(ToString::to_string)
        .collect::<Vec<_>>();
    failure(what.join(": "), next)
}

pub(super) fn journal_advice(error: &JournalFileError) -> &'static str {
    match error {
        JournalFileError::Locked { .. } => {
            "one agent runs a node: end the other, or give another --data"
        }
        JournalFileError::Copy { .. } => {
            "start the agent with the original's --data; or, if this takes its place for good (moved, restored, and the original is not used any more), `upstart claim --data DIR`"
        }
        JournalFileError::Linked { .. } => {
            "copy the directory anew, with files of its own (`cp -a`, not `cp -al`), and claim that"
        }
        JournalFileError::SetBack { .. } => {
            "give the --data that the node was last in (is its disk mounted?); if this is a backup that is to go on, what was written since is not in it: `upstart claim --data DIR`; or begin a new node with an empty directory after `upstart forget`"
        }
        JournalFileError::Missing { .. }
        | JournalFileError::Short { .. }
        | JournalFileError::Cut { .. }
        | JournalFileError::NoWitness { .. } => {
            "the software was not touched, and its state is where it was; restore the whole data directory from a backup, or begin a new node with an empty one and `upstart forget` this"
        }
        JournalFileError::NoSpace { .. } => "free some space and start the agent again",
        JournalFileError::Format { .. } => {
            "the software was not touched; keep the file for whoever looks into it, and restore the data directory, or begin a new node with an empty one and `upstart forget` this"
        }
        JournalFileError::Disk { .. } | JournalFileError::Failed { .. } => {
            "the software was not touched; look at the disk (its space, its permissions, `dmesg`), then start the agent again"
        }
    }
}

fn from_flags(arguments: AgentArgs, globals: &Globals) -> anyhow::Result<Config> {
    let missing = || {
        failure(
            "an agent needs --data, --name and --class",
            "see `upstart help agent`",
        )
    };
    arguments.addresses.iter().try_for_each(own_address)?;
    let given = given(globals)?;
    let mut addresses = arguments.addresses;
    if addresses.is_empty() {
        addresses.push(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    Ok(Config {
        data: absolute(&arguments.data.ok_or_else(missing)?)?,
        name: arguments.name.ok_or_else(missing)?,
        class: arguments.class.ok_or_else(missing)?,
        attributes: arguments.attributes.into_iter().collect(),
        variables: arguments
            .variables
            .into_iter()
            .map(|(key, text)| (key, Variable::from(text.as_str())))
            .collect::<BTreeMap<_, _>>(),
        servers: globals.servers.clone(),
        token: given.token,
        token_owner: given.owner,
        root: arguments.root.as_deref().map(absolute).transpose()?,
        addresses,
        networks: arguments.networks,
        pass_environment: arguments.pass_environment,
        artifact_port: arguments.artifact_port,
        metrics_listen: arguments.metrics_listen,
        poll_ms: arguments.poll_ms,
        call_threads: arguments
            .call_threads
            .unwrap_or_else(agent::config::default_call_threads),
    })
}

/// Refuses what is nobody's own address: peers could not reach the node there.
fn own_address(address: &IpAddr) -> anyhow::Result<()> {
    let is_broadcast = *address == IpAddr::V4(Ipv4Addr::BROADCAST);
    if !(address.is_unspecified() || address.is_multicast() || is_broadcast) {
        return Ok(());
    }
    Err(failure(
        format!("{address} is not the address of one host: peers cannot reach the node there"),
        "give --address (`addresses` in the configuration) an address of this host that peers reach, as `ip address` lists them",
    ))
}

/// A root that a new node is to trust must be one: without it the node would take nothing, for ever.
fn check_root(config: &Config) -> anyhow::Result<()> {
    let Some(root) = &config.root else {
        return Ok(());
    };
    if config.data.join("trusted.json").exists() {
        return Ok(());
    }
    let what = format!("{} is no root that a node can trust", root.display());
    let next = "give the first root of the system as --root (`root` in the configuration): `1.root.json` beside the publisher's keys";
    let bytes = crate::files::read(root).advise(&what, next)?;
    match repository::Trust::pin(&bytes) {
        Ok(_) => Ok(()),
        Err(error) => Err(failure(format!("{what}: {error}"), next)),
    }
}

/// The file's keys; the token may come from the global options, so that it need not stand in the file.
fn from_file(file: &Path, globals: &Globals) -> anyhow::Result<Config> {
    let what = format!("cannot read the agent's configuration {}", file.display());
    let (text, about) = read_file(file)?;
    let mut config: Config = toml::from_str(&text).map_err(|error| {
        failure(
            format!("{what}: {}", error.to_string().trim_end()),
            "mend the file; `upstart help agent` names its keys",
        )
    })?;
    agent::trust::check_file(file).advise(
        &what,
        "see to it that only root and the agent's user can write there (`chown`, `chmod go-w`, `setfacl -b`), or give --config another file",
    )?;
    config.addresses.iter().try_for_each(own_address)?;
    for name in &config.pass_environment {
        agent::environment::may_be_passed(name)
            .map_err(|why| failure(format!("{what}: {why}"), "mend `pass_environment`"))?;
    }
    for (key, number, most) in [
        ("poll_ms", config.poll_ms, POLL_MS_MAX),
        (
            "call_threads",
            config.call_threads.get() as u64,
            CALL_THREADS_MAX,
        ),
    ] {
        if !(1..=most).contains(&number) {
            let why = format!("{what}: `{key}` is {number}");
            return Err(failure(why, format!("give a number from 1 to {most}")));
        }
    }
    if config.token.is_some() {
        server::token::check_private(file, &about).map_err(|error| no_token(&error))?;
        config.token_owner = Some(about.uid());
    }
    config.data = absolute(&config.data)?;
    if config.token.is_none() {
        let OperatorToken { token, owner } = given(globals)?;
        (config.token, config.token_owner) = (token, owner);
    }
    Ok(config)
}

/// Reads a configuration; a pipe, which nobody might write into, is none.
fn read_file(file: &Path) -> anyhow::Result<(String, Metadata)> {
    let what = format!("cannot read the agent's configuration {}", file.display());
    let next = "give --config the path of a TOML file";
    let opened = server::token::open(file).advise(&what, next)?;
    let (mut opened, about) =
        opened.ok_or_else(|| failure(format!("{what}: it is no regular file"), next))?;
    if about.len() > CONFIG_BYTES_MAX {
        let length = about.len();
        return Err(failure(format!("{what}: it has {length} bytes"), next));
    }
    let mut text = String::new();
    opened.read_to_string(&mut text).advise(&what, next)?;
    Ok((text, about))
}

/// The software is told paths in the data directory, so that they must not depend on where somebody stands.
fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).advise(
        format!("{} is no path for a data directory", path.display()),
        "give --data a directory",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_need_a_key() {
        assert_eq!(pair("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(pair("=b").is_err());
        assert!(pair("a").is_err());
    }
}
