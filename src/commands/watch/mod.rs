//! `upstart watch`: the nodes live. On a terminal a view that is drawn anew, otherwise each change as a line.

mod lines;
mod screen;

use crate::arguments::Globals;
use crate::connection::{connect, explain, wait_for};
use crate::describe;
use crate::failure::{End, Outcome};
use clap::Args;
use client::{Client, ClientError};
use model::api::{Event, Phase, SystemView};
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
    /// End when every node has settled at this version; exit code 1 when one blocks or time is up
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

    /// Yes when every node is there; no when one is blocked on its way there, or time is up.
    fn reached(&self, view: &SystemView) -> Option<End> {
        let version = self.version?;
        let is_there = |status: &model::api::NodeStatus| {
            status.version >= version && status.phase == Phase::Settled
        };
        if !view.nodes.is_empty() && view.nodes.iter().all(|node| is_there(&node.report.status)) {
            return Some(End::Yes);
        }
        let is_blocked = view.nodes.iter().any(|node| {
            node.report.status.phase == Phase::Blocked && node.report.status.version < version
        });
        (is_blocked || Instant::now() >= self.end).then_some(End::No)
    }
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
