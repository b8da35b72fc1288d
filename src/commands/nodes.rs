//! `upstart nodes`: a list, or everything of one node, its counters included.

use crate::connection::{connect, explain, wait_for};
use crate::failure::{CommandEnd, CommandOutcome};
use crate::globals::Globals;
use crate::{describe, output};
use clap::Args;
use client::Client;
use model::api::{NodeFact, Phase};
use model::ids::Version;

/// Arguments of `upstart nodes`.
#[derive(Debug, Args)]
pub(crate) struct NodesArgs {
    /// Show everything about this node (name or number)
    #[arg(conflicts_with = "class")]
    pub(crate) node: Option<String>,
    /// Only nodes of this class
    #[arg(long)]
    pub(crate) class: Option<String>,
}

/// `upstart nodes`.
pub(crate) fn run(globals: &Globals, arguments: &NodesArgs) -> CommandOutcome {
    let client = connect(globals)?;
    if let Some(name) = &arguments.node {
        let (node, highest) = wait_for(one(&client, name))?;
        if globals.json {
            output::json(&node)?
        } else {
            print(&node, highest)?
        }
        return Ok(CommandEnd::Yes);
    }
    let mut nodes = wait_for(all(&client))?;
    let highest = describe::highest(nodes.iter());
    nodes.retain(|node| {
        arguments
            .class
            .as_ref()
            .is_none_or(|class| *class == node.class)
    });
    match (globals.json, &arguments.class) {
        (true, _) => output::json(&nodes)?,
        (false, None) if nodes.is_empty() => output::line(describe::NO_NODES)?,
        (false, Some(class)) if nodes.is_empty() => {
            output::line(format!("No node of class `{class}` is enrolled."))?;
        }
        (false, _) => output::print_table(&describe::nodes_table(nodes.iter(), highest))?,
    }
    Ok(CommandEnd::Yes)
}

/// A node, and the highest version at which some node has settled: a blocked one's remark depends on it.
async fn one(client: &Client, name: &str) -> anyhow::Result<(NodeFact, Version)> {
    let node = client.node(name).await.map_err(explain)?;
    let highest = match node.report.status.phase {
        Phase::Blocked => {
            let fleet = client.fleet().await.map_err(explain)?;
            let versions = fleet.standings.iter().map(|standing| standing.version);
            versions.max().unwrap_or_default()
        }
        _ => Version::default(),
    };
    Ok((node, highest))
}

/// Every node, page by page.
async fn all(client: &Client) -> anyhow::Result<Vec<NodeFact>> {
    let mut nodes = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = client
            .nodes(after.as_deref(), None)
            .await
            .map_err(explain)?;
        nodes.extend(page.items);
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(nodes),
        }
    }
}

fn print(node: &NodeFact, highest: Version) -> anyhow::Result<()> {
    let status = &node.report.status;
    let now = describe::now_ms();
    let mut table = output::table(["NODE", &node.name]);
    table.add_row(["number", &node.node.to_string()]);
    table.add_row(["class", &node.class]);
    for (name, value) in &node.attributes {
        table.add_row([&format!("attribute {name}"), value]);
    }
    table.add_row(["machine", &node.host]);
    table.add_row(["data directory", &node.data_directory]);
    table.add_row(["version", &describe::version(status)]);
    table.add_row(["revision", &status.revision.to_string()]);
    if let Some(bundle) = status.bundle {
        table.add_row(["runs", &format!("software as in {bundle}")]);
    }
    table.add_row(["answers up to", &status.staged.to_string()]);
    table.add_row(["phase", status.phase.words()]);
    table.add_row(["software", describe::child(node)]);
    table.add_row([
        "last heard",
        &output::duration(now.saturating_sub(node.seen_at_ms)),
    ]);
    table.add_row(["remark", &describe::remark(node, now, highest)]);
    for endpoint in &node.report.endpoints {
        let at = format!("{}:{}", endpoint.address, endpoint.port);
        table.add_row([
            &format!("{} at {}", endpoint.service, endpoint.version),
            &at,
        ]);
    }
    for (version, connections) in &node.report.connections {
        table.add_row([
            &format!("open at version {version}"),
            &connections.to_string(),
        ]);
    }
    for (name, count) in &node.report.counters {
        table.add_row([name, &count.to_string()]);
    }
    output::print_table(&table)
}
