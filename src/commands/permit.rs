//! `upstart permit`: who may be unavailable now, and taking such leave away from a node that is lost.

use super::operate::done;
use crate::connection::{connect, explain, wait_for};
use crate::failure::{CommandEnd, CommandOutcome};
use crate::globals::Globals;
use crate::output;
use clap::{Args, Subcommand};
use model::ids::PermitId;

/// Arguments of `upstart permit`.
#[derive(Debug, Args)]
pub(crate) struct PermitArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: PermitCommand,
}

/// What can be done with permits.
#[derive(Debug, Subcommand)]
pub(crate) enum PermitCommand {
    /// List the permits held now
    List,
    /// Take a permit away; the server refuses its number from then on
    Break {
        /// The permit's number, from `upstart permit list`
        permit: PermitId,
    },
}

/// `upstart permit`.
pub(crate) fn run(globals: &Globals, arguments: &PermitArgs) -> CommandOutcome {
    match arguments.command {
        PermitCommand::List => list(globals),
        PermitCommand::Break { permit } => {
            let client = connect(globals)?;
            let (fact, view) = wait_for(async {
                let fact = client.break_permit(permit).await.map_err(explain)?;
                Ok((fact, client.system().await.ok()))
            })?;
            // It is broken whether or not the node's name can be said.
            let nodes = view.map(|view| view.nodes).unwrap_or_default();
            let node = nodes.iter().find(|node| node.node == fact.node);
            let name = node.map_or_else(|| fact.node.to_string(), |node| node.name.clone());
            let sentence = format!("Permit {permit} of node {name} is broken.");
            done(globals, &fact, &sentence)
        }
    }
}

fn list(globals: &Globals) -> CommandOutcome {
    let client = connect(globals)?;
    let view = wait_for(async { client.system().await.map_err(explain) })?;
    if globals.json {
        output::json(&view.permits)?;
        return Ok(CommandEnd::Yes);
    }
    let mut table = output::table(["PERMIT", "NODE", "VERSION", "GROUP", "CONFIRMED"]);
    for permit in &view.permits {
        let name = view.nodes.iter().find(|node| node.node == permit.node);
        table.add_row([
            permit.permit.to_string(),
            name.map_or_else(|| permit.node.to_string(), |node| node.name.clone()),
            crate::describe::place(permit.version, permit.revision),
            permit.group.clone(),
            if permit.confirmed { "yes" } else { "no" }.to_owned(),
        ]);
    }
    output::print_table(&table)?;
    Ok(CommandEnd::Yes)
}
