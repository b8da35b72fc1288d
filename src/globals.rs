//! The arguments that every command understands.

use crate::telemetry::LogFormat;
use clap::{ArgAction, Args};
use std::path::PathBuf;

/// Where the server listens and where clients look for it when nobody says otherwise.
pub(crate) const SERVER_DEFAULT: &str = "https://127.0.0.1:7070";

/// Options of every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Globals {
    /// The upgrade server; several are tried in order
    #[arg(
        long = "server",
        global = true,
        value_name = "URL",
        env = "UPSTART_SERVER"
    )]
    #[arg(value_delimiter = ',', default_value = SERVER_DEFAULT)]
    pub(crate) servers: Vec<String>,
    /// A file that holds a token: the server's own, or a one-time token (UPSTART_TOKEN holds the token itself)
    #[arg(long, global = true, value_name = "FILE", env = "UPSTART_TOKEN_FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// The folder with the key and certificate of `upstart login` [default: upstart/identity in ~/.config or XDG_CONFIG_HOME]
    #[arg(long, global = true, value_name = "DIR", env = "UPSTART_IDENTITY")]
    pub(crate) identity: Option<PathBuf>,
    /// Print JSON on stdout, for programs
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// How what the program does is said on stderr: `json` has an object on each line, for collectors of logs
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        env = "UPSTART_LOG_FORMAT",
        default_value = "text"
    )]
    pub(crate) log_format: LogFormat,
    /// Say more on stderr; twice says everything (UPSTART_LOG takes a filter such as agent=debug)
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
}
