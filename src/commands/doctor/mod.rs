//! `upstart doctor`: what of this host, of the servers and of the way to the other nodes is as Upstart needs it, and what to do where it is not.

mod disk;
mod host;
mod members;
mod servers;

use crate::connection::wait_for;
use crate::failure::{CommandEnd, CommandOutcome};
use crate::globals::Globals;
use crate::output;
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;

/// Arguments of `upstart doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// The data directory of a node or of a server, or the one that it will have
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Look at this host only: ask no server, and call no node
    #[arg(long)]
    offline: bool,
}

/// How something was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Health {
    /// As it should be.
    Good,
    /// Upstart works, and would work better otherwise; or it could not be looked at.
    Note,
    /// Something does not work, or will not.
    Trouble,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    /// What was looked at, in a word or two.
    about: String,
    health: Health,
    /// What was found.
    found: String,
    /// What to do next; empty where nothing is to be done.
    next: String,
}

impl Finding {
    fn good(about: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            about: about.into(),
            health: Health::Good,
            found: found.into(),
            next: String::new(),
        }
    }

    fn note(about: impl Into<String>, found: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            health: Health::Note,
            next: next.into(),
            ..Self::good(about, found)
        }
    }

    fn trouble(
        about: impl Into<String>,
        found: impl Into<String>,
        next: impl Into<String>,
    ) -> Self {
        Self {
            health: Health::Trouble,
            ..Self::note(about, found, next)
        }
    }
}

/// `upstart doctor`. No where something is in trouble.
pub(crate) fn run(globals: &Globals, arguments: &DoctorArgs) -> CommandOutcome {
    let mut findings = host::look();
    findings.push(disk::library());
    if let Some(data) = &arguments.data {
        findings.extend(disk::look(data));
    }
    if !arguments.offline {
        let answering = servers::look(globals, &mut findings);
        if let Some(client) = answering {
            findings.extend(wait_for(async { Ok(members::look(&client).await) })?);
        }
    }
    let is_in_trouble = findings
        .iter()
        .any(|finding| finding.health == Health::Trouble);
    if globals.json {
        output::json(&findings)?;
    } else {
        print(&findings)?;
    }
    Ok(if is_in_trouble {
        CommandEnd::No
    } else {
        CommandEnd::Yes
    })
}

fn print(findings: &[Finding]) -> anyhow::Result<()> {
    let mut table = output::table(["", "ABOUT", "FOUND"]);
    for finding in findings {
        let sign = match finding.health {
            Health::Good => "good",
            Health::Note => "note",
            Health::Trouble => "TROUBLE",
        };
        let text = if finding.next.is_empty() {
            finding.found.clone()
        } else {
            format!("{}\n-> {}", finding.found, finding.next)
        };
        table.add_row([sign, &finding.about, &text]);
    }
    output::print_table(&table)?;
    let count = |health| {
        let found = findings.iter().filter(|finding| finding.health == health);
        found.count()
    };
    output::line(format!(
        "{} good, {} to note, {} in trouble",
        count(Health::Good),
        count(Health::Note),
        count(Health::Trouble)
    ))
}
