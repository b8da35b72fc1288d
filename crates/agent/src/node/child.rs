//! The running software as the agent knows it, across restarts of the agent.

use super::Node;
use crate::relay::ListeningSoftware;
use crate::sync;
use crate::unpoisoned::Unpoisoned as _;
use intercept::holder::{ChildExit, Interception, Killed};
use model::bundle::Signal;
use model::machine::Serving;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::time::Duration;

/// One start of the software. The last one is kept on disk, so that the next agent knows what runs under the holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Start {
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
pub(super) struct Running {
    pub(super) start: Start,
    /// Where the hooks saw it listen.
    pub(super) listening: Vec<SocketAddr>,
    /// How it is intercepted.
    pub(super) interception: Interception,
    /// The main process, as long as it is known to live.
    pub(super) process: Option<i32>,
}

impl Start {
    /// A start that no record tells of: its software is nobody's wish.
    pub(super) fn unknown(generation: u64) -> Self {
        Self {
            generation,
            serving: Serving::default(),
            loads_before: None,
            stop: StopManner::default(),
        }
    }
}

impl Node {
    /// Takes over a child that runs already.
    pub(super) fn adopted(&self, running: Running) {
        self.child.send_replace(Some(running));
        self.show_child();
    }

    /// The child, if anything of one is left.
    pub(super) fn child(&self) -> Option<Running> {
        self.child.borrow().clone()
    }

    /// The number of the next start, durable before it is used.
    pub(super) fn next_generation(&self) -> Result<u64, String> {
        let last = self.last_start().map_or(0, |start| start.generation);
        Ok(last.max(self.clock.now_ms()) + 1)
    }

    /// The last start that was recorded.
    pub(super) fn last_start(&self) -> Option<Start> {
        sync::load(&self.layout.start())
    }

    /// Records a start before it is made.
    pub(super) fn child_starts(&self, start: Start) {
        sync::save_small(&self.layout.start(), &start);
        self.unfit.send_replace(None);
        self.child.send_replace(Some(Running {
            start,
            listening: Vec::new(),
            interception: Interception::default(),
            process: None,
        }));
        self.show_child();
    }

    /// It is known which process the child is, and how it is intercepted.
    pub(super) fn child_runs(&self, process: i32, interception: Interception) {
        say(&interception);
        self.child.send_if_modified(|child| {
            if let Some(child) = child {
                child.process = Some(process);
                child.interception = interception;
            }
            false
        });
    }

    /// The hooks saw the child listen.
    pub(super) fn child_listens(&self, address: SocketAddr) {
        self.child.send_if_modified(|child| match child {
            Some(child) if !child.listening.contains(&address) => {
                child.listening.push(address);
                true
            }
            _ => false,
        });
        self.show_child();
    }

    /// Nothing is left of a child.
    pub(super) fn child_ended(&self, generation: u64) {
        self.child.send_if_modified(|child| {
            let ended = child
                .as_ref()
                .is_some_and(|child| child.start.generation == generation);
            if ended {
                *child = None;
            }
            ended
        });
        self.show_child();
    }

    /// Takes in how a child ended: what had to be killed is told when the stop ends.
    pub(super) fn note_killed(&self, exit: &ChildExit) {
        if let Some(killed) = &exit.killed {
            let mut noted = self.killed.lock().unpoisoned();
            *noted = Some(killed_text(killed));
        }
    }

    /// What had to be killed of the last child, once.
    pub(super) fn take_killed(&self) -> Option<String> {
        let mut noted = self.killed.lock().unpoisoned();
        noted.take()
    }

    /// Waits until nothing is left of a child; false when it takes longer than `limit`.
    pub(super) async fn child_gone(&self, generation: u64, limit: Duration) -> bool {
        let mut child = self.child.subscribe();
        let gone = child.wait_for(|child| {
            child
                .as_ref()
                .is_none_or(|child| child.start.generation != generation)
        });
        matches!(tokio::time::timeout(limit, gone).await, Ok(Ok(_)))
    }

    /// Waits until the hooks have seen the child listen on this port; an error when the child ends before.
    pub(super) async fn child_listening_on(&self, port: u16) -> Result<(), String> {
        let mut child = self.child.subscribe();
        let state = child
            .wait_for(|child| {
                child.as_ref().is_none_or(|child| {
                    child.listening.iter().any(|address| address.port() == port)
                })
            })
            .await
            .map_err(|_| "the agent ends".to_owned())?;
        match state.as_ref() {
            Some(_) => Ok(()),
            None => Err("the software ended".to_owned()),
        }
    }

    fn show_child(&self) {
        let child = self.child().map(|child| ListeningSoftware {
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
