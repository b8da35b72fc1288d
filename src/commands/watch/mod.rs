//! `upstart watch`: the nodes live. On a terminal a view that is drawn anew, otherwise each change as a line.

mod lines;
mod rows;
mod screen;

use crate::connection::{connect, end_after, explain, until, wait_for};
use crate::describe;
use crate::failure::{CommandEnd, CommandOutcome, refusal};
use crate::globals::Globals;
use clap::Args;
use client::{Client, ClientError};
use model::api::{Event, NodeFact, Phase, SystemView};
use model::ids::{Revision, Version};
use std::io::IsTerminal;
use std::str::FromStr;
use std::time::{Duration, Instant};

/// How often the server is asked for the system.
const ASK_EVERY: Duration = Duration::from_millis(400);

/// How many of the latest events are kept for the view.
const EVENTS_KEPT: usize = 200;

/// Arguments of `upstart watch`.
#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// End when every node has settled at this version (`2`: its newest revision; `2.3`: that one) or beyond; exit code 1 when one
    /// blocks on its way there, the version is withdrawn, or time is up
    #[arg(long, value_name = "VERSION[.REVISION]")]
    pub(crate) until: Option<WantedVersion>,
    /// With --until: wait at most this long
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 600,
        requires = "until"
    )]
    pub(crate) timeout: u64,
}

/// A version to wait for, in its newest revision or in this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WantedVersion {
    version: Version,
    revision: Option<Revision>,
}

impl FromStr for WantedVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (version, revision) = match text.split_once('.') {
            Some((version, revision)) => (version, Some(revision)),
            None => (text, None),
        };
        let wrong = |_| format!("`{text}` is no version; write 2, or 2.3 for its revision 3");
        Ok(Self {
            version: version.parse().map_err(wrong)?,
            revision: revision.map(str::parse).transpose().map_err(wrong)?,
        })
    }
}

impl WantedVersion {
    /// The revision to wait for, as things stand.
    fn revision(&self, view: &SystemView) -> Revision {
        let mut upgrades = view.upgrades.iter();
        let there = upgrades.find(|upgrade| upgrade.version == self.version);
        let newest = there.map_or(Revision(1), |upgrade| upgrade.revision);
        self.revision.unwrap_or(newest)
    }
}

/// `upstart watch`.
pub(crate) fn run(globals: &Globals, arguments: &WatchArgs) -> CommandOutcome {
    let client = connect(globals)?;
    let is_terminal = std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
    let goal = Goal::new(arguments);
    if is_terminal && !globals.json {
        screen::run(&client, &goal)
    } else {
        wait_for(lines::run(&client, &goal, globals.json))
    }
}

/// When watching ends by itself.
struct Goal {
    wanted: Option<WantedVersion>,
    end: Instant,
}

impl Goal {
    fn new(arguments: &WatchArgs) -> Self {
        Self {
            wanted: arguments.until,
            end: end_after(arguments.timeout),
        }
    }

    /// Whether there was a time to reach it, and that is up.
    fn is_too_late(&self) -> bool {
        self.wanted.is_some() && Instant::now() >= self.end
    }

    /// Yes when every node is there; no when one is blocked on its way there, when nobody can get there, or time is up.
    fn reached(&self, view: &SystemView) -> Option<CommandOutcome> {
        let wanted = self.wanted?;
        let (version, revision) = (wanted.version, wanted.revision(view));
        let not_there: Vec<&NodeFact> = (view.nodes.iter())
            .filter(|node| !describe::is_at(&node.report.status, version, revision))
            .collect();
        if !view.nodes.is_empty() && not_there.is_empty() {
            return Some(Ok(CommandEnd::Yes));
        }
        if let Some(node) = not_there.iter().find(|node| stays_blocked(view, node)) {
            let reason = node.report.status.reason.clone().unwrap_or_default();
            return Some(Err(refusal(
                format!("{} is blocked on its way: {reason}", node.name),
                describe::next_step(node, describe::highest(view.nodes.iter()))
                    .unwrap_or_else(|| format!("`upstart retry {}`", node.name)),
            )));
        }
        let mut upgrades = view.upgrades.iter();
        if upgrades.any(|upgrade| upgrade.version == version && upgrade.withdrawn) {
            return Some(Err(refusal(
                format!("version {version} is withdrawn"),
                "wait for the version that follows it",
            )));
        }
        (Instant::now() >= self.end)
            .then(|| Err(too_late(&describe::place(version, revision), &not_there)))
    }

    /// How watching ends when the person at the terminal ends it.
    fn given_up(&self) -> CommandEnd {
        match self.wanted {
            None => CommandEnd::Yes,
            Some(_) => CommandEnd::No,
        }
    }
}

/// Whether a node is blocked, and nothing has freed it since that it may not have heard of: `retry`, a revision, a withdrawal.
fn stays_blocked(view: &SystemView, node: &NodeFact) -> bool {
    let (status, report) = (&node.report.status, &node.report);
    let tried = status.target.zip(status.target_revision);
    let is_freed = |(version, revision): (Version, Revision)| {
        let mut upgrades = view.upgrades.iter();
        let there = upgrades.find(|upgrade| upgrade.version == version);
        there.is_some_and(|upgrade| upgrade.withdrawn || upgrade.revision > revision)
    };
    status.phase == Phase::Blocked
        && node.retry <= report.retry_acknowledged
        && !tried.is_some_and(is_freed)
}

fn too_late(version: &str, not_there: &[&NodeFact]) -> anyhow::Error {
    let names: Vec<String> = (not_there.iter())
        .map(|node| format!("{} ({})", node.name, node.report.status.phase.words()))
        .collect();
    let what = if names.is_empty() {
        "time is up, and there are no nodes yet: start an agent".to_owned()
    } else {
        format!(
            "time is up, and these nodes have not settled at {version}: {}",
            names.join(", ")
        )
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
    /// Asks the server; a server that is away for a while is a remark in the view, not the end of it, unless the time is up.
    async fn refresh(&mut self, client: &Client, goal: &Goal) -> anyhow::Result<()> {
        let fetched = match goal.wanted {
            Some(_) => until(client, goal.end, self.fetch(client)).await,
            None => self.fetch(client).await,
        };
        match fetched {
            Ok(()) => self.trouble = None,
            Err(error) if error.is_temporary() && self.view.view > 0 && !goal.is_too_late() => {
                self.trouble = Some(error.to_string());
            }
            Err(error) => return Err(explain(error)),
        }
        Ok(())
    }

    async fn fetch(&mut self, client: &Client) -> Result<(), ClientError> {
        self.view = client.system().await?;
        self.view.nodes.sort_by(|a, b| a.name.cmp(&b.name));
        loop {
            let page = match client.events(self.cursor.as_deref(), None, None).await {
                // The history was set back: what was read of it is another's.
                Err(error) if error.status() == Some(410) && self.cursor.is_some() => {
                    self.cursor = None;
                    self.events.clear();
                    continue;
                }
                page => page?,
            };
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
        let newest = describe::newest(&self.view);
        let there = newest.map_or(0, |newest| describe::settled_at(&self.view, newest).0);
        (there, self.view.nodes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::{Goal, WantedVersion};
    use crate::describe::is_at;
    use crate::failure::CommandEnd;
    use model::api::{NodeFact, NodeStatus, Phase, SystemView, UpgradeSummary};
    use model::ids::{Revision, Version};
    use model::machine::Place;
    use std::time::{Duration, Instant};

    fn status(version: u32, revision: u32, phase: Phase) -> NodeStatus {
        let (version, revision) = (Version(version), Revision(revision));
        NodeStatus {
            version,
            revision,
            bundle: Some(Place { version, revision }),
            phase,
            ..NodeStatus::default()
        }
    }

    #[test]
    fn who_is_beyond_a_version_has_settled_at_it() {
        let at = |version, phase| is_at(&status(version, 1, phase), Version(2), Revision(1));
        assert!(at(2, Phase::Settled) && at(3, Phase::Settled));
        assert!(at(2, Phase::Staged) && at(2, Phase::Transforming) && at(2, Phase::Blocked));
        assert!(!at(1, Phase::Settled) && !at(1, Phase::Probing) && !at(2, Phase::Joining));
        let number_only = NodeStatus {
            version: Version(3),
            ..status(2, 1, Phase::Staged)
        };
        assert!(
            !is_at(&number_only, Version(2), Revision(2)),
            "its software is revised"
        );
    }

    /// Version 1 at revision 2, with one node.
    fn view(status: NodeStatus, retry: u64) -> SystemView {
        let mut node: NodeFact = serde_json::from_value(serde_json::json!({
            "node": 1, "name": "a", "class": "c", "attributes": {}, "host": "h",
            "data_directory": "/d", "seen_at_ms": 0, "reachable": true, "settled_at_ms": 0, "retry": retry,
            "report": { "status": serde_json::to_value(NodeStatus::default()).expect("JSON"),
                "endpoints": [], "connections": {}, "counters": {}, "retired_acknowledged": 0,
                "retry_acknowledged": 0 },
        }))
        .expect("a node");
        node.report.status = status;
        let upgrade = UpgradeSummary {
            version: Version(1),
            from: Version(0),
            revision: Revision(2),
            manifest_sha256: String::new(),
            description: String::new(),
            withdrawn: false,
            published_at_ms: 0,
            author: String::new(),
        };
        SystemView {
            nodes: vec![node],
            upgrades: vec![upgrade],
            ..SystemView::default()
        }
    }

    /// How a goal stands: reached, failed, or still ahead.
    fn stands(until: &str, view: &SystemView) -> Option<bool> {
        let goal = Goal {
            wanted: Some(until.parse().expect("a version")),
            end: Instant::now() + Duration::from_secs(600),
        };
        goal.reached(view)
            .map(|outcome| matches!(outcome, Ok(CommandEnd::Yes)))
    }

    #[test]
    fn a_version_is_reached_in_its_newest_revision_or_in_the_one_that_is_named() {
        let before = view(status(1, 1, Phase::Fetching), 0);
        assert_eq!(stands("1", &before), None, "nothing was tried yet");
        assert_eq!(stands("1.2", &before), None);
        assert_eq!(stands("1.1", &before), Some(true));
        let blocked = NodeStatus {
            target: Some(Version(1)),
            target_revision: Some(Revision(2)),
            ..status(1, 1, Phase::Blocked)
        };
        assert_eq!(stands("1", &view(blocked.clone(), 0)), Some(false));
        let mut revised = view(blocked.clone(), 0);
        revised.upgrades[0].revision = Revision(3);
        assert_eq!(stands("1", &revised), None, "a newer revision frees it");
        assert_eq!(stands("1", &view(blocked, 1)), None, "it is to try again");
        assert_eq!(
            stands("1", &view(status(1, 2, Phase::Settled), 0)),
            Some(true)
        );
        for wrong in ["", "x", "1.", "1.x", ".1"] {
            assert!(wrong.parse::<WantedVersion>().is_err(), "{wrong}");
        }
    }
}
