//! The arguments that every command understands, and the list of commands.

use crate::commands as c;
use clap::{ArgAction, Args, Parser, Subcommand};
use std::path::PathBuf;

/// What `--help` says below the options: the exit codes and where the environment is read.
const AFTER_HELP: &str = "\
Exit codes: 0 done or yes; 1 a negative answer (a check failed, the server refused); 2 an error.
`upstart help COMMAND` explains one command; `upstart man DIR` writes manual pages.";

/// Upgrades the software of distributed systems automatically while they keep serving.
#[derive(Debug, Parser)]
#[command(name = "upstart", version, propagate_version = true, after_help = AFTER_HELP)]
#[command(disable_help_subcommand = false, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// What every command understands.
    #[command(flatten)]
    pub(crate) globals: Globals,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Globals {
    /// The upgrade server; several are tried in order.
    #[arg(
        long = "server",
        global = true,
        value_name = "URL",
        env = "UPSTART_SERVER",
        value_delimiter = ','
    )]
    pub(crate) servers: Vec<String>,
    /// The file that holds the server's bearer token.
    #[arg(long, global = true, value_name = "FILE", env = "UPSTART_TOKEN_FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// The bearer token itself, from the environment only: an argument would show in `ps`.
    #[arg(skip = std::env::var("UPSTART_TOKEN").ok().filter(|token| !token.is_empty()))]
    pub(crate) token: Option<String>,
    /// Print JSON on stdout, for programs.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Say more on stderr; twice says everything. UPSTART_LOG takes a filter such as `agent=debug`.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// One command each.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Owns a node's child; started by its agent.
    #[command(hide = true)]
    Holder(c::hidden::HolderArgs),
    /// Becomes the child; started by its holder.
    #[command(hide = true)]
    Launch(c::hidden::Rest),
    /// Becomes a transform; started by its agent.
    #[command(hide = true)]
    Confine(c::hidden::Rest),
}
