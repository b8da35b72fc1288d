//! What the program says of itself on stderr.

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// The environment variable with a filter such as `agent=debug,info`; it wins over `-v`.
const FILTER_VARIABLE: &str = "UPSTART_LOG";

/// Starts logging to stderr: `level` is what is said without `-v`.
pub(crate) fn start(level: &str, verbose: u8) {
    let fallback = match verbose {
        0 => level,
        1 => "debug",
        _ => "trace",
    };
    let filter = std::env::var(FILTER_VARIABLE)
        .ok()
        .and_then(|text| EnvFilter::try_new(text).ok())
        .unwrap_or_else(|| EnvFilter::new(fallback));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}
