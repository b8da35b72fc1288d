//! `upstart status`: the whole system on one screen; where there are many nodes, they are counted.

use crate::connection::{connect, explain, wait_for};
use crate::failure::{CommandEnd, CommandOutcome};
use crate::globals::Globals;
use crate::{describe, output};
use clap::Args;
use client::Client;
use model::api::{DisagreeingNode, FleetView, OnceFact, OnceState, SystemView, UpgradeSummary};

/// So many nodes are shown one by one.
const NODES_SHOWN: u64 = 200;

/// Arguments of `upstart status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {}

/// `upstart status`.
pub(crate) fn run(globals: &Globals, _arguments: &StatusArgs) -> CommandOutcome {
    let client = connect(globals)?;
    if globals.json {
        let view = wait_for(async { client.system().await.map_err(explain) })?;
        output::json(&view)?;
        return Ok(CommandEnd::Yes);
    }
    match wait_for(ask(&client))? {
        Asked::Nodes(view) => print(&view, None)?,
        Asked::Counts(fleet) => print(&fleet.system, Some(&fleet))?,
    }
    Ok(CommandEnd::Yes)
}

/// What the server has answered.
enum Asked {
    Nodes(SystemView),
    Counts(FleetView),
}

/// Asks for what fits a screen. A server from before does not count.
async fn ask(client: &Client) -> anyhow::Result<Asked> {
    match client.fleet().await {
        Ok(fleet) if fleet.nodes > NODES_SHOWN => Ok(Asked::Counts(fleet)),
        Ok(_) => Ok(Asked::Nodes(client.system().await.map_err(explain)?)),
        Err(error) if error.kind() == Some("/problems/unknown-route") => {
            Ok(Asked::Nodes(client.system().await.map_err(explain)?))
        }
        Err(error) => Err(explain(error)),
    }
}

fn print(view: &SystemView, counts: Option<&FleetView>) -> anyhow::Result<()> {
    let nodes = counts.map_or(view.nodes.len(), |fleet| fleet.nodes as usize);
    let permits = counts.map_or(view.permits.len(), |fleet| fleet.permits as usize);
    if view.upgrades.is_empty() {
        output::line("No system yet: `upstart publish DIR` with version 1 defines it.")?;
        return socket(view);
    }
    output::line(format!(
        "System {} ({})",
        view.system,
        output::counted(nodes, "node", "nodes")
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
    for (name, why) in &view.failing_webhooks {
        let why = output::within(why);
        output::line(format!(
            "The receiver of the webhook {name} takes nothing ({why}): `upstart webhooks list`."
        ))?;
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
    versions(view, counts)?;
    if !view.public.is_empty() {
        let services: Vec<String> = view
            .public
            .iter()
            .map(|(service, version)| format!("{service} {version}"))
            .collect();
        output::line(format!("\nPublic versions: {}", services.join(", ")))?;
    }
    for once in &view.once {
        output::line(done_once(once))?;
    }
    if permits > 0 {
        output::line(format!("Permits held: {permits} (`upstart permit list`)"))?;
    }
    output::line("")?;
    if let Some(fleet) = counts {
        return standings(fleet);
    }
    if view.nodes.is_empty() {
        return output::line(describe::NO_NODES);
    }
    output::print_table(&describe::nodes_table(
        view.nodes.iter(),
        describe::highest(view.nodes.iter()),
    ))
}

/// Where something stands that is done once for the whole system.
fn done_once(fact: &OnceFact) -> String {
    let (name, node) = (output::within(&fact.name), output::within(&fact.node));
    let what = format!("Once for the system, `{name}` of version {}:", fact.version);
    let attempt = match fact.attempts {
        0 | 1 => String::new(),
        attempts => format!(", attempt {attempts}"),
    };
    match fact.state {
        OnceState::Given => format!("{what} {node} does it{attempt}"),
        OnceState::Done => format!("{what} done by {node}"),
        OnceState::Failed => format!(
            "{what} failed at {node}{attempt}, and is tried again: {}",
            output::within(&fact.why)
        ),
    }
}

/// How many nodes of each class stand where.
fn standings(fleet: &FleetView) -> anyhow::Result<()> {
    let mut table = output::table([
        "CLASS",
        "VERSION",
        "NODES",
        "RUNNING",
        "NOT HEARD",
        "BLOCKED",
    ]);
    for standing in &fleet.standings {
        let unheard = standing.nodes - standing.reachable;
        table.add_row([
            standing.class.clone(),
            standing.version.to_string(),
            standing.nodes.to_string(),
            standing.running.to_string(),
            unheard.to_string(),
            standing.blocked.to_string(),
        ]);
    }
    output::print_table(&table)?;
    output::line("\n`upstart nodes` lists them one by one.")
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

fn versions(view: &SystemView, counts: Option<&FleetView>) -> anyhow::Result<()> {
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
            counts.map_or_else(
                || nodes_at(view, upgrade),
                |fleet| counted_at(fleet, upgrade),
            ),
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

/// The same of many nodes, whatever revision of it they run.
fn counted_at(fleet: &FleetView, upgrade: &UpgradeSummary) -> String {
    let here = fleet.standings.iter();
    let here = here.filter(|standing| standing.version == upgrade.version);
    here.map(|standing| standing.nodes).sum::<u64>().to_string()
}
