//! `cargo deny`: licences, bans and sources always; advisories where their database can be fetched.

use super::install;
use super::tally::Tally;
use crate::workspace::{Workspace, run};
use std::process::Command;

pub(super) fn check(workspace: &Workspace, tally: &mut Tally) -> anyhow::Result<()> {
    let offline = ["bans", "licenses", "sources"];
    run(deny(workspace).arg("check").args(offline))?;
    tally.pass();
    if !install::succeeds_within(deny(workspace).args(["fetch", "db"]), FETCH_SECONDS) {
        tally.skip(
            "advisories",
            "the advisory database cannot be fetched from here",
        );
        return Ok(());
    }
    run(deny(workspace).args(["check", "--disable-fetch", "advisories"]))?;
    tally.pass();
    Ok(())
}

/// How long the advisory database may take: without a network some resolvers hang for minutes.
const FETCH_SECONDS: u64 = 60;

fn deny(workspace: &Workspace) -> Command {
    let mut command = workspace.command(install::tool(workspace, "cargo-deny"));
    command.args(["--log-level=error", "--workspace"]);
    command
}
