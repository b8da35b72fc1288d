//! Watching without a terminal: each change of a node is one line, or one JSON object.

use super::{ASK_EVERY, Goal, Scene};
use crate::commands::events::clock;
use crate::failure::{CommandEnd, CommandOutcome};
use crate::{describe, output};
use client::Client;
use model::api::{NodeFact, SystemView};
use std::collections::BTreeMap;

/// Prints changes until the goal is reached (or for ever).
pub(super) async fn run(client: &Client, goal: &Goal, json: bool) -> CommandOutcome {
    let mut scene = Scene::default();
    let mut said = BTreeMap::new();
    loop {
        scene.refresh(client, goal).await?;
        print_changes(&scene.view, &mut said, json)?;
        if let Some(outcome) = goal.reached(&scene.view) {
            return outcome;
        }
        // Who waits for a version wants to know whether it is there, whoever reads how it gets there.
        if goal.wanted.is_none() && output::reader_has_gone() {
            return Ok(CommandEnd::Yes);
        }
        // Ctrl-C ends it as it ends every program: it has not reached its goal.
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// Prints the nodes whose sentence differs from the one that was printed last.
fn print_changes(
    view: &SystemView,
    said: &mut BTreeMap<String, String>,
    json: bool,
) -> anyhow::Result<()> {
    for node in &view.nodes {
        let sentence = sentence(node);
        if said.get(&node.name) == Some(&sentence) {
            continue;
        }
        if json {
            output::json(node)?
        } else {
            output::line(format!("{} {sentence}", clock(describe::now_ms())))?
        }
        said.insert(node.name.clone(), sentence);
    }
    Ok(())
}

fn sentence(node: &NodeFact) -> String {
    let status = &node.report.status;
    let mut text = format!(
        "{} {} {}, software {}",
        node.name,
        describe::version(status),
        status.phase.words(),
        describe::child(node)
    );
    if !node.reachable {
        text.push_str(", not heard");
    }
    for remark in status
        .progress
        .iter()
        .map(describe::progress)
        .chain(status.reason.clone())
    {
        text.push_str(": ");
        text.push_str(&output::within(&remark));
    }
    // A moment, which stays the same: a line comes only with what is new.
    if let Some(until_ms) = status.until_ms.filter(|_| status.reason.is_some()) {
        text.push_str(&format!("; not before {}", clock(until_ms)));
    }
    text
}
