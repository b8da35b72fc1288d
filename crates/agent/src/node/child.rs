//! The running software as the agent knows it, across restarts of the agent.

use super::surroundings::Surroundings;
use crate::birth::{Birth, is_in_place};
use crate::cached;
use crate::household::Household;
use crate::layout::Layout;
use crate::relay::{ListeningSoftware, LiveTraffic};
use intercept::holder::{ChildExit, Interception, Killed, RunningChild};
use model::bundle::{Class, Signal, StopTo};
use model::expression::Variable;
use model::machine::Serving;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// One start of the software. The last one is kept on disk, so that the next agent knows what runs under the holder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ChildStart {
    /// Rises with every start.
    pub(super) generation: u64,
    /// Which software.
    pub(super) serving: Serving,
    /// How often the library had been loaded before, to tell whether this start loaded it at all.
    #[serde(default)]
    pub(super) loads_before: Option<u64>,
    /// How it is stopped, for `upstart stop`, which knows no upgrade.
    #[serde(default)]
    pub(super) stop: StopManner,
    /// The node's variables, after which its ports and its command were made. Absent in what agents before 0.2 have written.
    #[serde(default)]
    pub(super) variables: Option<BTreeMap<String, Variable>>,
    /// The data directory, to which its paths lead. Absent in what agents before 0.2 have written.
    #[serde(default)]
    pub(super) root: Option<PathBuf>,
}

/// How software is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StopManner {
    pub(super) signal: i32,
    /// All of its processes get the signal at once.
    pub(super) to_all: bool,
    pub(super) grace_ms: u64,
}

impl StopManner {
    /// How the software of a class is asked to end.
    pub(super) fn of(class: &Class) -> Self {
        Self {
            signal: class.lifecycle.stop_signal.number,
            to_all: class.lifecycle.stop_signal_to == StopTo::All,
            grace_ms: class.lifecycle.stop_grace_ms,
        }
    }

    pub(super) fn grace(&self) -> Duration {
        Duration::from_millis(self.grace_ms)
    }
}

impl Default for StopManner {
    /// What an upgrade file that says nothing means.
    fn default() -> Self {
        Self {
            signal: rustix::process::Signal::TERM.as_raw(),
            to_all: false,
            grace_ms: 10_000,
        }
    }
}

/// The child, as long as anything of it is left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KnownChild {
    pub(super) start: ChildStart,
    /// Where the hooks saw it listen.
    pub(super) listening: Vec<SocketAddr>,
    /// How it is intercepted.
    pub(super) interception: Interception,
    /// The library in it signs labels.
    pub(super) signs: bool,
    /// The main process, as long as it is known to live.
    pub(super) process: Option<i32>,
}

impl ChildStart {
    /// A start that no record tells of: its software is nobody's wish.
    pub(super) fn unknown(generation: u64) -> Self {
        Self {
            generation,
            serving: Serving::default(),
            loads_before: None,
            stop: StopManner::default(),
            variables: None,
            root: None,
        }
    }

    /// Where the directory was when the software was started, if that path leads there no more.
    pub(super) fn left(layout: &Layout) -> Option<PathBuf> {
        let last: Self = cached::load(&layout.start())?;
        let here = Birth::at(layout.root());
        last.root
            .filter(|root| root != layout.root() && !is_in_place(root, here))
    }

    /// The start of what runs under a holder, where it was recorded.
    pub(super) fn of(layout: &Layout, running: &RunningChild) -> Option<Self> {
        let last: Option<Self> = cached::load(&layout.start());
        last.filter(|start| start.generation == running.generation)
    }
}

/// Software that runs was started with the node's variables of that time, after which its ports were made: they stay in force
/// until nothing of it runs. Gives them, where the agent was given others.
pub(super) fn kept_variables(
    given: &BTreeMap<String, Variable>,
    start: ChildStart,
) -> Option<BTreeMap<String, Variable>> {
    start.variables.filter(|kept| kept != given)
}

/// The variables that differ, as `kept` has them and as they were `given`.
pub(super) fn differences(
    kept: &BTreeMap<String, Variable>,
    given: &BTreeMap<String, Variable>,
) -> String {
    let names: BTreeSet<&String> = kept.keys().chain(given.keys()).collect();
    let shown = |variables: &BTreeMap<String, Variable>, name: &String| {
        (variables.get(name)).map_or("not set".to_owned(), ToString::to_string)
    };
    let differing = names
        .into_iter()
        .filter(|name| kept.get(*name) != given.get(*name))
        .map(|name| {
            format!(
                "{name}: {} instead of {}",
                shown(kept, name),
                shown(given, name)
            )
        });
    differing.collect::<Vec<_>>().join(", ")
}

/// Whoever looks after the child: what is known of it, for as long as anything of it is left.
pub(super) struct ChildKeeper {
    surroundings: Arc<Surroundings>,
    traffic: Arc<LiveTraffic>,
    present: watch::Sender<Option<KnownChild>>,
    /// Whose processes the software's are.
    household: Household,
    /// Why the software that runs can never be healthy, when that is certain.
    unfit: watch::Sender<Option<String>>,
    /// What had to be killed of the last child, until it is told.
    killed: Mutex<Option<String>>,
}

/// Why the software will not listen.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(super) enum ChildGone {
    /// Nobody looks after it any more.
    #[error("the agent ends")]
    AgentEnds,
    /// Nothing is left of it.
    #[error("the software ended")]
    Ended,
}

impl ChildKeeper {
    pub(super) fn new(
        surroundings: &Arc<Surroundings>,
        traffic: &Arc<LiveTraffic>,
        household: Household,
    ) -> Arc<Self> {
        Arc::new(Self {
            surroundings: surroundings.clone(),
            traffic: traffic.clone(),
            present: watch::Sender::new(None),
            household,
            unfit: watch::Sender::new(None),
            killed: Mutex::default(),
        })
    }

    /// Takes over what runs under the holder.
    pub(super) fn adopt(&self, running: Option<RunningChild>, listening: Vec<SocketAddr>) {
        let Some(running) = running else {
            return;
        };
        let start = ChildStart::of(&self.surroundings.layout, &running)
            .unwrap_or_else(|| ChildStart::unknown(running.generation));
        if running.generation == 0 {
            tracing::info!(
                "ends what a lost holder has left of the software, before it is started"
            );
        } else {
            tracing::info!(version = %start.serving.version, bundle = %start.serving.bundle, pid = running.pid, "adopts the running software");
        }
        self.present.send_replace(Some(KnownChild {
            start,
            listening,
            interception: running.interception,
            signs: running.signs,
            process: running.pid,
        }));
        self.show();
    }

    /// The child, if anything of one is left.
    pub(super) fn present(&self) -> Option<KnownChild> {
        self.present.borrow().clone()
    }

    /// Where the software's processes are found.
    pub(super) fn household(&self) -> &Household {
        &self.household
    }

    /// It is certain that the software that runs can never be healthy.
    pub(super) fn declare_unfit(&self, why: String) {
        self.unfit.send_replace(Some(why));
    }

    /// Resolves when that is certain, with why; `None` when nobody looks any more.
    pub(super) async fn until_unfit(&self) -> Option<String> {
        let mut unfit = self.unfit.subscribe();
        let why = unfit.wait_for(Option::is_some).await;
        why.ok().and_then(|why| why.clone())
    }

    /// The number of the next start, durable before it is used.
    pub(super) fn next_generation(&self) -> u64 {
        let last = self.last_start().map_or(0, |start| start.generation);
        last.max(self.surroundings.clock.now_ms()) + 1
    }

    /// The last start that was recorded.
    pub(super) fn last_start(&self) -> Option<ChildStart> {
        cached::load(&self.surroundings.layout.start())
    }

    /// Records a start before it is made.
    pub(super) fn starts(&self, start: ChildStart) {
        cached::save_small(&self.surroundings.layout.start(), &start);
        self.unfit.send_replace(None);
        self.present.send_replace(Some(KnownChild {
            start,
            listening: Vec::new(),
            interception: Interception::default(),
            signs: true,
            process: None,
        }));
        self.show();
    }

    /// It is known which process the child is, and how it is intercepted.
    pub(super) fn runs(&self, process: i32, interception: Interception) {
        say(&interception);
        self.present.send_if_modified(|child| {
            if let Some(child) = child {
                child.process = Some(process);
                child.interception = interception;
            }
            false
        });
    }

    /// The hooks saw the child listen.
    pub(super) fn listens(&self, address: SocketAddr) {
        self.present.send_if_modified(|child| match child {
            Some(child) if !child.listening.contains(&address) => {
                child.listening.push(address);
                true
            }
            _ => false,
        });
        self.show();
    }

    /// Nothing is left of a child.
    pub(super) fn ended(&self, generation: u64) {
        self.present.send_if_modified(|child| {
            let ended = child
                .as_ref()
                .is_some_and(|child| child.start.generation == generation);
            if ended {
                *child = None;
            }
            ended
        });
        self.show();
    }

    /// Takes in how a child ended: what had to be killed is told when the stop ends.
    pub(super) fn note_killed(&self, exit: &ChildExit) {
        if let Some(killed) = &exit.killed {
            let mut noted = self.killed.lock();
            *noted = Some(killed_text(killed));
        }
    }

    /// What had to be killed of the last child, once.
    pub(super) fn take_killed(&self) -> Option<String> {
        let mut noted = self.killed.lock();
        noted.take()
    }

    /// Waits until nothing is left of a child; false when it takes longer than `limit`.
    pub(super) async fn gone(&self, generation: u64, limit: Duration) -> bool {
        let mut child = self.present.subscribe();
        let gone = child.wait_for(|child| {
            child
                .as_ref()
                .is_none_or(|child| child.start.generation != generation)
        });
        matches!(tokio::time::timeout(limit, gone).await, Ok(Ok(_)))
    }

    /// Waits until the hooks have seen the child listen on this port; an error when the child ends before.
    pub(super) async fn listening_on(&self, port: u16) -> Result<(), ChildGone> {
        let mut child = self.present.subscribe();
        let state = child
            .wait_for(|child| {
                child.as_ref().is_none_or(|child| {
                    child.listening.iter().any(|address| address.port() == port)
                })
            })
            .await
            .map_err(|_| ChildGone::AgentEnds)?;
        match state.as_ref() {
            Some(_) => Ok(()),
            None => Err(ChildGone::Ended),
        }
    }

    fn show(&self) {
        let child = self.present().map(|child| ListeningSoftware {
            generation: child.start.generation,
            listening: child.listening,
        });
        self.traffic.change(|picture| picture.child = child);
    }
}

/// Says what is in force: people look for it when something of the software does not work as it did before.
fn say(interception: &Interception) {
    match &interception.why_no_net {
        Some(why) => tracing::warn!(
            why,
            "only the preloaded library intercepts: a program that it does not reach is stopped"
        ),
        None if interception.no_new_privileges => tracing::warn!(
            "the software runs with NO_NEW_PRIVS, since this agent has no CAP_SYS_ADMIN: sudo, set-user-ID programs and file \
             capabilities gain nothing"
        ),
        None => tracing::info!("every process of the software is intercepted"),
    }
}

/// What people are told of software that had to be killed.
pub(super) fn killed_text(killed: &Killed) -> String {
    let mut processes: Vec<String> = (killed.processes.iter())
        .map(|process| format!("process {} ({})", process.pid, process.program))
        .collect();
    if killed.more > 0 {
        processes.push(format!("{} more", killed.more));
    }
    let signal = Signal::ALL.iter().find(|it| it.number == killed.signal);
    let signal = signal.map_or_else(
        || format!("signal {}", killed.signal),
        |signal| format!("SIG{}", signal.name),
    );
    format!(
        "had to be killed, since it had not ended {} ms after {signal}: {}",
        killed.after_ms,
        processes.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::killed_text;
    use intercept::holder::{Killed, KilledProcess};

    #[test]
    fn what_was_killed_is_named() {
        let process = KilledProcess {
            pid: 77,
            program: "node".to_owned(),
        };
        let mut killed = Killed {
            signal: 15,
            after_ms: 10_002,
            processes: vec![process],
            more: 0,
        };
        assert_eq!(
            killed_text(&killed),
            "had to be killed, since it had not ended 10002 ms after SIGTERM: process 77 (node)"
        );
        killed.more = 3;
        killed.signal = 50;
        assert_eq!(
            killed_text(&killed),
            "had to be killed, since it had not ended 10002 ms after signal 50: process 77 (node), 3 more"
        );
    }
}
