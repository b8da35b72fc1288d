//! `upstart page`: a one-time link to the fleet's web page, which signs a browser in.

use crate::connection::{connect, explain, wait_for};
use crate::failure::{Advise, CommandEnd, CommandOutcome, failure};
use crate::globals::Globals;
use crate::output;
use clap::Args;
use serde::Serialize;
use std::io::Write;
use std::net::IpAddr;
use std::process::{Command, Stdio};

/// What opens a link in the browser that somebody prefers.
const OPENER: &str = "xdg-open";

/// Arguments of `upstart page`.
#[derive(Debug, Args)]
pub(crate) struct PageArgs {
    /// Open the link in this machine's browser instead of printing it
    #[arg(long)]
    pub(crate) open: bool,
}

/// A link, for programs.
#[derive(Debug, Serialize)]
struct OneTimeLink {
    url: String,
    expires_in_ms: u64,
}

/// `upstart page`.
pub(crate) fn run(globals: &Globals, arguments: &PageArgs) -> CommandOutcome {
    let client = connect(globals)?;
    let (server, link) = wait_for(async { client.page_link().await.map_err(explain) })?;
    let url = format!("{}{}", base(&server), link.path);
    if arguments.open {
        opened(&url)?;
        return Ok(CommandEnd::Yes);
    }
    if globals.json {
        output::json(&OneTimeLink {
            url,
            expires_in_ms: link.expires_in_ms,
        })?;
        return Ok(CommandEnd::Yes);
    }
    output::line(&url)?;
    // A closed stderr leaves nobody to tell.
    let _ = writeln!(
        std::io::stderr(),
        "Open it within {}: it signs one browser in as you, once.",
        output::duration(link.expires_in_ms)
    );
    Ok(CommandEnd::Yes)
}

/// The address for a browser: on its own host the server is asked without TLS, whose authority no browser knows.
fn base(server: &str) -> String {
    let server = server.trim_end_matches('/');
    let Some(rest) = server.strip_prefix("https://") else {
        return server.to_owned();
    };
    let authority = rest.split('/').next().unwrap_or(rest);
    let host = authority
        .rsplit_once(':')
        .map_or(authority, |(host, _)| host);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let is_here = bare == "localhost" || bare.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    let scheme = if is_here { "http" } else { "https" };
    format!("{scheme}://{rest}")
}

fn opened(url: &str) -> anyhow::Result<()> {
    let mut opener = Command::new(OPENER);
    let opener = opener.arg(url).stdin(Stdio::null()).stdout(Stdio::null());
    let next = "run the command without --open, and open the link that it prints";
    let status = opener.status();
    let status = status.advise(format!("{OPENER} cannot be run"), next)?;
    if status.success() {
        return Ok(());
    }
    Err(failure(format!("{OPENER} has found no browser"), next))
}

#[cfg(test)]
mod tests {
    use super::base;

    #[test]
    fn on_its_own_host_a_browser_needs_no_certificate() {
        assert_eq!(base("https://127.0.0.1:7070/"), "http://127.0.0.1:7070");
        assert_eq!(base("https://localhost:7070/"), "http://localhost:7070");
        assert_eq!(base("https://[::1]:7070/"), "http://[::1]:7070");
        assert_eq!(base("https://10.0.0.5:7070/"), "https://10.0.0.5:7070");
        assert_eq!(base("http://10.0.0.5:7070/"), "http://10.0.0.5:7070");
        assert_eq!(base("https://gate.example/up/"), "https://gate.example/up");
    }
}
