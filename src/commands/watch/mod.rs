//! `upstart watch`: the nodes live. On a terminal a view that is drawn anew, otherwise each change as a line.

mod lines;
mod screen;

use crate::arguments::Globals;
use crate::connection::{connect, explain, wait_for};
use crate::describe;
use crate::failure::{End, Outcome, refusal};
use clap::Args;
use client::{Client, ClientError};
use model::api::{Event, NodeFact, NodeStatus, Phase, SystemView};
use model::ids::Version;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// How often the server is asked for the system.
const ASK_EVERY: Duration = Duration::from_millis(400);

/// How many of the latest events are kept for the view.
const EVENTS_KEPT: usize = 200;

/// Arguments of `upstart watch`.
#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// End when every node has settled at this version or a later one; exit code 1 when one blocks on its way there, the version is
    /// withdrawn, or time is up
    #[arg(long, value_name = "VERSION")]
    pub(crate) until: Option<Version>,
    /// With --until: wait at most this long
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 600,
        requires = "until"
    )]
    pub(crate) timeout: u64,
}

/// `upstart watch`.
pub(crate) fn run(globals: &Globals, arguments: &WatchArgs) -> Outcome {
    let client = connect(globals)?;
    let is_terminal = std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
    let goal = Goal::new(arguments);
    match is_terminal && !globals.json {
        true => screen::run(&client, &goal),
        false => wait_for(lines::run(&client, &goal, globals.json)),
    }
}

/// When watching ends by itself.
struct Goal {
    version: Option<Version>,
    end: Instant,
}

impl Goal {
    fn new(arguments: &WatchArgs) -> Self {
        let end = Instant::now() + Duration::from_secs(arguments.timeout);
        Self {
            version: arguments.until,
            end,
        }
    }

    /// Yes when every node is there; no when one is blocked on its way there, when nobody can get there, or time is up.
    fn reached(&self, view: &SystemView) -> Option<Outcome> {
        let version = self.version?;
        let not_there: Vec<&NodeFact> = (view.nodes.iter())
            .filter(|node| !is_at(&node.report.status, version))
            .collect();
        if !view.nodes.is_empty() && not_there.is_empty() {
            return Some(Ok(End::Yes));
        }
        let phase_of = |node: &NodeFact| node.report.status.phase;
        if let Some(node) = not_there
            .iter()
            .find(|node| phase_of(node) == Phase::Blocked)
        {
            let reason = node.report.status.reason.clone().unwrap_or_default();
            return Some(Err(refusal(
                format!("{} is blocked on its way: {reason}", node.name),
                "publish a revision, withdraw the version, or `upstart retry` the node",
            )));
        }
        let mut upgrades = view.upgrades.iter();
        if upgrades.any(|upgrade| upgrade.version == version && upgrade.withdrawn) {
            return Some(Err(refusal(
                format!("version {version} is withdrawn"),
                "wait for the version that follows it",
            )));
        }
        (Instant::now() >= self.end).then(|| Err(too_late(version, &not_there)))
    }

    /// How watching ends when the person at the terminal ends it.
    fn given_up(&self) -> End {
        match self.version {
            None => End::Yes,
            Some(_) => End::No,
        }
    }
}

/// Whether a node has settled at a version: it may be on its way to a later one since.
fn is_at(status: &NodeStatus, version: Version) -> bool {
    status.version >= version && status.phase != Phase::Joining
}

fn too_late(version: Version, not_there: &[&NodeFact]) -> anyhow::Error {
    let names: Vec<String> = (not_there.iter())
        .map(|node| {
            format!(
                "{} ({})",
                node.name,
                describe::phase(node.report.status.phase)
            )
        })
        .collect();
    let what = match names.is_empty() {
        true => "time is up, and there are no nodes".to_owned(),
        false => format!(
            "time is up, and these nodes have not settled at {version}: {}",
            names.join(", ")
        ),
    };
    refusal(
        what,
        "see `upstart status` for what they wait for; --timeout gives more time",
    )
}

/// What was heard from the server last, and whether it answers now.
#[derive(Default)]
struct Scene {
    view: SystemView,
    events: Vec<Event>,
    cursor: Option<String>,
    /// Why the server does not answer, while it does not.
    trouble: Option<String>,
}

impl Scene {
    /// Asks the server; a server that is away for a while is a remark in the view, not the end of it.
    async fn refresh(&mut self, client: &Client) -> anyhow::Result<()> {
        match self.fetch(client).await {
            Ok(()) => self.trouble = None,
            Err(error) if error.is_temporary() && self.view.view > 0 => {
                self.trouble = Some(error.to_string());
            }
            Err(error) => return Err(explain(error)),
        }
        Ok(())
    }

    async fn fetch(&mut self, client: &Client) -> Result<(), ClientError> {
        self.view = client.system().await?;
        loop {
            let page = client.events(self.cursor.as_deref(), None, None).await?;
            let is_end = page.items.is_empty() || page.next.is_none();
            self.cursor = page.next.or(self.cursor.take());
            self.events.extend(page.items);
            let surplus = self.events.len().saturating_sub(EVENTS_KEPT);
            self.events.drain(..surplus);
            if is_end {
                return Ok(());
            }
        }
    }

    /// How many nodes have settled at the newest version, and how many there are.
    fn share(&self) -> (usize, usize) {
        let newest = describe::newest(&self.view).unwrap_or_default();
        (
            describe::settled_at(&self.view, newest),
            self.view.nodes.len(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::is_at;
    use model::api::{NodeStatus, Phase};
    use model::ids::Version;

    #[test]
    fn who_is_beyond_a_version_has_settled_at_it() {
        let at = |version, phase| {
            let status = NodeStatus {
                version: Version(version),
                phase,
                ..NodeStatus::default()
            };
            is_at(&status, Version(2))
        };
        assert!(at(2, Phase::Settled) && at(3, Phase::Settled));
        assert!(at(2, Phase::Staged) && at(2, Phase::Transforming) && at(2, Phase::Blocked));
        assert!(!at(1, Phase::Settled) && !at(1, Phase::Probing) && !at(2, Phase::Joining));
    }
}
