//! `upstart status`: the whole system on one screen.

use crate::connection::{connect, explain, wait_for};
use crate::failure::{CommandEnd, CommandOutcome};
use crate::globals::Globals;
use crate::{describe, output};
use clap::Args;
use model::api::{DisagreeingNode, SystemView, UpgradeSummary};

/// Arguments of `upstart status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {}

/// `upstart status`.
pub(crate) fn run(globals: &Globals, _arguments: &StatusArgs) -> CommandOutcome {
    let client = connect(globals)?;
    let view = wait_for(async { client.system().await.map_err(explain) })?;
    if globals.json {
        output::json(&view)?
    } else {
        print(&view)?
    }
    Ok(CommandEnd::Yes)
}

fn print(view: &SystemView) -> anyhow::Result<()> {
    if view.upgrades.is_empty() {
        output::line("No system yet: `upstart publish DIR` with version 1 defines it.")?;
        return socket(view);
    }
    output::line(format!(
        "System {} ({})",
        view.system,
        output::counted(view.nodes.len(), "node", "nodes")
    ))?;
    if let Some(trouble) = &view.trouble {
        output::line(format!(
            "The server cannot store what changes ({trouble}): what nodes have told since is missing here. Make room, or see the server's log."
        ))?;
    }
    socket(view)?;
    for problem in &view.damaged {
        let problem = output::within(problem);
        output::line(format!("The repository is not whole: {problem}."))?;
    }
    if let Some(pause) = &view.paused {
        let (author, reason) = (output::within(&pause.author), output::within(&pause.reason));
        output::line(format!("Paused by {author}: {reason}"))?;
    }
    disagreeing(view)?;
    for node in &view.revoked {
        let node = output::within(node);
        output::line(format!(
            "The key of node {node} is revoked: it serves on at its version, and hears of no upgrade. `upstart invite node {node}` lets it in again; `upstart forget {node}` takes it out of the system."
        ))?;
    }
    output::line("")?;
    versions(view)?;
    if !view.public.is_empty() {
        let services: Vec<String> = view
            .public
            .iter()
            .map(|(service, version)| format!("{service} {version}"))
            .collect();
        output::line(format!("\nPublic versions: {}", services.join(", ")))?;
    }
    if !view.permits.is_empty() {
        output::line(format!(
            "Permits held: {} (`upstart permit list`)",
            view.permits.len()
        ))?;
    }
    output::line("")?;
    if view.nodes.is_empty() {
        return output::line(describe::NO_NODES);
    }
    output::print_table(&describe::nodes_table(view.nodes.iter()))
}

/// Who is in the way of those who need no token.
fn socket(view: &SystemView) -> anyhow::Result<()> {
    let Some(name) = &view.socket_taken else {
        return Ok(());
    };
    output::line(format!(
        "Somebody else has the socket at which the server tells its token (`@{name}`; `ss -xlp` names the program): commands and agents on its host need --token-file until it ends."
    ))
}

/// Who runs what is not published here, and what to do.
fn disagreeing(view: &SystemView) -> anyhow::Result<()> {
    for DisagreeingNode { node, disagreement } in &view.disagreeing {
        let place = disagreement.place();
        output::line(if disagreement.differs() {
            format!(
                "Node {node} has another upgrade {place} than the one published here; nobody upgrades until that is settled. Put the database back once more and publish what the node has (a copy is in versions/{place}/bundle of its data directory), then the other one as the next version; or forget the node, and begin it with an empty data directory."
            )
        } else {
            format!(
                "Node {node} has upgrade {place}, which is not published here: the database is older than that. Publish it again, from the same folder (a copy is in versions/{place}/bundle of the node's data directory)."
            )
        })?;
    }
    Ok(())
}

fn versions(view: &SystemView) -> anyhow::Result<()> {
    let mut table = output::table([
        "VERSION",
        "FROM",
        "REVISION",
        "STATE",
        "NODES",
        "DESCRIPTION",
    ]);
    for upgrade in &view.upgrades {
        table.add_row([
            upgrade.version.to_string(),
            upgrade.from.to_string(),
            upgrade.revision.to_string(),
            describe::upgrade(view, upgrade).to_owned(),
            nodes_at(view, upgrade),
            upgrade.description.clone(),
        ]);
    }
    output::print_table(&table)
}

/// How many nodes have settled at an upgrade; those at older revisions of it for themselves.
fn nodes_at(view: &SystemView, upgrade: &UpgradeSummary) -> String {
    match describe::settled_at(view, upgrade) {
        (newest, 0) => newest.to_string(),
        (newest, older) => format!("{newest}, and {older} at older revisions"),
    }
}
