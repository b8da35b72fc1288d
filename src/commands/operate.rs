//! What operators change with one request: withdraw, pause, resume, approve, retry, forget, public.

use super::publish::{SigningArgs, unpublished};
use crate::connection::{connect, explain, wait_for};
use crate::describe;
use crate::failure::{CommandEnd, CommandOutcome, refusal};
use crate::globals::Globals;
use crate::output;
use clap::Args;
use client::Client;
use model::api::{ApproveRequest, NodeFact, PauseRequest, PublicRequest};
use model::ids::Version;
use serde::Serialize;
use std::time::{Duration, Instant};

/// In so many of its own pauses a node that lives is heard once at least.
const HEARD_PAUSES: u64 = 3;

/// Longer than this nobody waits to see whether a node is heard: it counts as heard.
const HEARD_WAIT_MAX: Duration = Duration::from_secs(10);

/// How often that is looked at.
const HEARD_ASKED: Duration = Duration::from_millis(200);

/// Arguments of `upstart withdraw`.
#[derive(Debug, Args)]
pub(crate) struct WithdrawArgs {
    /// The newest version; its number is never used again
    pub(crate) version: Version,
    #[command(flatten)]
    pub(crate) signing: SigningArgs,
}

/// Arguments of `upstart pause`.
#[derive(Debug, Args)]
pub(crate) struct PauseArgs {
    /// Why, for the people who find the system paused
    #[arg(default_value = "paused by an operator")]
    pub(crate) reason: String,
}

/// Arguments of `upstart approve`.
#[derive(Debug, Args)]
pub(crate) struct ApproveArgs {
    /// The version that may be upgraded to
    pub(crate) version: Version,
    /// Only for this class
    #[arg(long)]
    pub(crate) class: Option<String>,
    /// Only for this node
    #[arg(long)]
    pub(crate) node: Option<String>,
}

/// Arguments of `upstart retry`.
#[derive(Debug, Args)]
pub(crate) struct RetryArgs {
    /// The blocked node's name or number. The others of its class may go on from then on, too, and one of them may go before it
    pub(crate) node: String,
}

/// Arguments of `upstart forget`.
#[derive(Debug, Args)]
pub(crate) struct ForgetArgs {
    /// The node's name or number; if its agent still runs, the server tells it that it was forgotten
    pub(crate) node: String,
    /// Forget it although the server hears it: it resets whoever calls it
    #[arg(long)]
    pub(crate) even_if_heard: bool,
}

/// Arguments of `upstart public`.
#[derive(Debug, Args)]
pub(crate) struct PublicArgs {
    /// The version that callers without a label get
    pub(crate) version: Version,
    /// Only for this service; every service otherwise
    #[arg(long, value_name = "CLASS/SERVICE")]
    pub(crate) service: Option<String>,
}

/// Says what was done: the answer as JSON, or a sentence.
pub(crate) fn done(globals: &Globals, answer: &impl Serialize, sentence: &str) -> CommandOutcome {
    if globals.json {
        output::json(answer)?
    } else {
        output::line(sentence)?
    }
    Ok(CommandEnd::Yes)
}

/// `upstart withdraw`.
pub(crate) fn withdraw(globals: &Globals, arguments: &WithdrawArgs) -> CommandOutcome {
    let client = connect(globals)?;
    let version = arguments.version;
    let system = wait_for(async { client.system().await.map_err(explain) })?.system;
    let keys = arguments.signing.keys(&system)?;
    let summary = wait_for(async {
        let withdrawn = client.withdraw_signed(&keys, version).await;
        withdrawn.map_err(unpublished)
    })?;
    let next = version.0 + 1;
    let from = summary.from;
    let sentence = format!(
        "Version {version} is withdrawn; the next upgrade is version {next} and says `from = {from}`."
    );
    done(globals, &summary, &sentence)
}

/// `upstart pause`.
pub(crate) fn pause(globals: &Globals, arguments: &PauseArgs) -> CommandOutcome {
    let client = connect(globals)?;
    let request = PauseRequest {
        reason: arguments.reason.clone(),
    };
    let (before, pause) = wait_for(async {
        let before = client.system().await.ok();
        Ok((before, client.pause(&request).await.map_err(explain)?))
    })?;
    let mut sentence =
        "Paused: no node begins an upgrade; those under way finish. `upstart resume` ends it."
            .to_owned();
    let before = before.and_then(|view| view.paused);
    if let Some(before) = before.filter(|before| before.author != pause.author) {
        let (author, reason) = (before.author, before.reason);
        sentence.push_str(&format!(
            "\nThis replaces the pause by {author}, whose reason was: {reason}"
        ));
    }
    done(globals, &pause, &sentence)
}

/// `upstart resume`.
pub(crate) fn resume(globals: &Globals) -> CommandOutcome {
    let client = connect(globals)?;
    let before = wait_for(async {
        let before = client.system().await.ok();
        client.resume().await.map_err(explain)?;
        Ok(before)
    })?;
    let sentence = match before {
        Some(view) if view.paused.is_none() => "Nothing was paused.",
        _ => "Resumed.",
    };
    done(globals, &serde_json::json!({ "paused": null }), sentence)
}

/// `upstart approve`.
pub(crate) fn approve(globals: &Globals, arguments: &ApproveArgs) -> CommandOutcome {
    let client = connect(globals)?;
    let request = ApproveRequest {
        version: arguments.version,
        class: arguments.class.clone(),
        node: arguments.node.clone(),
    };
    let (approval, view) = wait_for(async {
        let approval = client.approve(&request).await.map_err(explain)?;
        Ok((approval, client.system().await.ok()))
    })?;
    let whom = match (&approval.node, &approval.class) {
        (Some(node), _) => format!("node {node}"),
        (None, Some(class)) => format!("class {class}"),
        (None, None) => "every node".to_owned(),
    };
    let mut sentence = format!("Version {} is approved for {whom}.", approval.version);
    let nodes = view.map(|view| view.nodes).unwrap_or_default();
    let is_there =
        |node: &NodeFact| describe::is_at(&node.report.status, approval.version, approval.revision);
    if !nodes.is_empty() && nodes.iter().all(is_there) {
        sentence.push_str(" Every node has settled there already: nothing waits for this.");
    }
    done(globals, &approval, &sentence)
}

/// `upstart retry`.
pub(crate) fn retry(globals: &Globals, arguments: &RetryArgs) -> CommandOutcome {
    let client = connect(globals)?;
    let node = wait_for(async { client.retry(&arguments.node).await.map_err(explain) })?;
    let sentence = format!(
        "{} is told to try again, and the others of its class may go on, too, one of them perhaps before it; `upstart watch` shows how it goes.",
        node.name
    );
    done(globals, &node, &sentence)
}

/// A node that the server hears now. One that was heard just before may have ended since: it is given three of its own pauses to show
/// itself.
async fn heard(client: &Client, node: &str) -> anyhow::Result<Option<NodeFact>> {
    let first = client.node(node).await.map_err(explain)?;
    let poll_ms = first.report.poll_ms;
    if !first.reachable || poll_ms == 0 {
        return Ok(None);
    }
    let wait = Duration::from_millis(poll_ms.saturating_mul(HEARD_PAUSES));
    if wait > HEARD_WAIT_MAX {
        return Ok(Some(first));
    }
    let end = Instant::now() + wait;
    while Instant::now() < end {
        tokio::time::sleep(HEARD_ASKED).await;
        let now = client.node(node).await.map_err(explain)?;
        if now.seen_at_ms > first.seen_at_ms {
            return Ok(Some(now));
        }
    }
    Ok(None)
}

fn still_heard(fact: &NodeFact) -> anyhow::Error {
    let (name, status) = (&fact.name, &fact.report.status);
    refusal(
        format!(
            "{name} is heard by the server: {} at version {}, software {}; once it is forgotten it resets whoever calls it",
            status.phase.words(),
            describe::version(status),
            describe::child(fact)
        ),
        format!(
            "end it first, on its host (its agent's service, then `upstart stop --data {}`), or say that you mean it: `upstart forget {name} --even-if-heard`",
            fact.data_directory
        ),
    )
}

/// `upstart forget`.
pub(crate) fn forget(globals: &Globals, arguments: &ForgetArgs) -> CommandOutcome {
    let client = connect(globals)?;
    wait_for(async {
        let heard = if arguments.even_if_heard {
            None
        } else {
            heard(&client, &arguments.node).await?
        };
        match heard {
            Some(fact) => Err(still_heard(&fact)),
            None => client.forget(&arguments.node).await.map_err(explain),
        }
    })?;
    let answer = serde_json::json!({ "forgotten": arguments.node });
    done(
        globals,
        &answer,
        &format!(
            "{} is forgotten and holds nothing up any more.",
            arguments.node
        ),
    )
}

/// `upstart public`.
pub(crate) fn public(globals: &Globals, arguments: &PublicArgs) -> CommandOutcome {
    let client = connect(globals)?;
    let request = PublicRequest {
        service: arguments.service.clone(),
        version: arguments.version,
    };
    let public = wait_for(async { client.set_public(&request).await.map_err(explain) })?;
    let services: Vec<String> = public
        .iter()
        .map(|(service, version)| format!("{service} at {version}"))
        .collect();
    done(
        globals,
        &public,
        &format!("Public versions: {}.", services.join(", ")),
    )
}
