//! The way from this host to the other nodes.

use super::Finding;
use crate::{describe, output};
use client::Client;
use model::api::NodeFact;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// How many nodes are called, at most: from each page the first.
const NODES_MAX: usize = 200;

/// How long one may take to accept.
const LIMIT: Duration = Duration::from_secs(2);

/// How many that are not reached are named.
const NAMED_MAX: usize = 5;

/// Calls the ports of nodes that the server hears, at the version at which they run.
pub(super) async fn look(client: &Client) -> Vec<Finding> {
    let about = "nodes";
    let page = match client.nodes(None, None).await {
        Ok(page) => page,
        Err(error) => {
            let found = format!("cannot be listed: {error}");
            let next =
                "this needs the role viewer; `upstart doctor --offline` looks at this host only";
            return vec![Finding::note(about, found, next)];
        }
    };
    let mut findings: Vec<Finding> = unheard(&page.items).into_iter().collect();
    let heard = page.items.iter().filter(|node| node.reachable);
    let calls: BTreeSet<(String, SocketAddr)> = heard.take(NODES_MAX).flat_map(called).collect();
    if calls.is_empty() {
        findings.push(Finding::note(about, "none has a port that is open yet", ""));
        return findings;
    }
    let count = calls.len();
    let mut calling = JoinSet::new();
    for (name, address) in calls {
        calling.spawn(async move {
            let opened = tokio::time::timeout(LIMIT, TcpStream::connect(address)).await;
            let why = match opened {
                Ok(Ok(_)) => return None,
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no answer within {} s", LIMIT.as_secs()),
            };
            Some(format!("{name} at {address} ({why})"))
        });
    }
    let mut missed: Vec<String> = calling.join_all().await.into_iter().flatten().collect();
    missed.sort();
    findings.push(judged(count, &missed));
    findings
}

/// Those that the server does not hear.
fn unheard(nodes: &[NodeFact]) -> Option<Finding> {
    let now_ms = describe::now_ms();
    let mut silent: Vec<&NodeFact> = nodes.iter().filter(|node| !node.reachable).collect();
    silent.sort_by_key(|node| node.seen_at_ms);
    let named = silent.iter().take(NAMED_MAX).map(|node| {
        let since = output::duration(now_ms.saturating_sub(node.seen_at_ms));
        format!("{} (for {since})", node.name)
    });
    let named = named.collect::<Vec<_>>().join(", ");
    let more = match silent.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    let found = format!(
        "{} of {} not heard by the server: {named}{more}",
        silent.len(),
        output::counted(nodes.len(), "node", "nodes")
    );
    (!silent.is_empty()).then(|| {
        Finding::trouble(
            "nodes",
            found,
            "see whether their agents run (their service, their log), and reach the server from their hosts; one that will never come back: `upstart forget NAME`",
        )
    })
}

/// The ports at which a node is called at the version that it runs.
fn called(node: &NodeFact) -> Vec<(String, SocketAddr)> {
    let runs = node.report.status.version;
    let own = node.report.endpoints.iter();
    own.filter(|endpoint| endpoint.version == runs)
        .map(|endpoint| {
            let address = SocketAddr::new(endpoint.address, endpoint.port);
            (node.name.clone(), address)
        })
        .collect()
}

fn judged(count: usize, missed: &[String]) -> Finding {
    let about = "nodes";
    if missed.is_empty() {
        return Finding::good(
            about,
            format!("all {count} ports of nodes that were called accept"),
        );
    }
    let named = missed.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>();
    let more = missed.len() - named.len();
    let more = if more > 0 {
        format!(", and {more} more")
    } else {
        String::new()
    };
    Finding::trouble(
        about,
        format!(
            "{} of {count} ports of nodes that the server hears do not accept: {}{more}",
            missed.len(),
            named.join("; ")
        ),
        "if this host is to call them: open the way (firewall, routes), or see what the node's software does, `upstart nodes NAME`",
    )
}

#[cfg(test)]
mod tests {
    use super::super::Health;
    use super::*;

    #[test]
    fn nodes_that_are_not_heard_are_told() {
        let node = |name: &str, reachable: bool| {
            let fact = serde_json::json!({
                "node": 1, "name": name, "class": "db", "attributes": {}, "host": "", "data_directory": "",
                "report": model::api::NodeReport::default(), "seen_at_ms": 0, "reachable": reachable,
                "settled_at_ms": 0, "retry": 0,
            });
            serde_json::from_value::<NodeFact>(fact).expect("a node")
        };
        assert_eq!(unheard(&[node("a", true)]), None);
        let told = unheard(&[node("a", true), node("b", false)]).expect("told");
        assert_eq!(told.health, Health::Trouble);
        let begins = "1 of 2 nodes not heard by the server: b (for ";
        assert!(told.found.starts_with(begins), "{}", told.found);
    }

    #[test]
    fn a_few_of_those_that_are_not_reached_are_named() {
        assert_eq!(judged(3, &[]).health, Health::Good);
        let missed: Vec<String> = (0..7).map(|node| format!("n{node}")).collect();
        let told = judged(9, &missed);
        assert_eq!(told.health, Health::Trouble);
        assert!(told.found.ends_with("n3; n4, and 2 more"), "{}", told.found);
    }
}
