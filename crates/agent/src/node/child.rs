//! The running software as the agent knows it, across restarts of the agent.

use super::Node;
use crate::relay;
use crate::sync;
use intercept::holder::Interception;
use model::machine::Place;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// One start of the software. The last one is kept on disk, so that the next agent knows what runs under the holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Start {
    /// Rises with every start.
    pub(super) generation: u64,
    /// Which software.
    pub(super) place: Place,
    /// How often the library had been loaded before, to tell whether this start loaded it at all.
    #[serde(default)]
    pub(super) loads_before: Option<u64>,
}

/// The child, as long as anything of it is left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Running {
    pub(super) start: Start,
    /// Where the hooks saw it listen.
    pub(super) listening: Vec<SocketAddr>,
    /// How it is intercepted.
    pub(super) interception: Interception,
}

impl Start {
    /// A start that no record tells of: its software is nobody's wish.
    pub(super) fn unknown(generation: u64) -> Self {
        Self {
            generation,
            place: Place::default(),
            loads_before: None,
        }
    }
}

impl Node {
    /// Takes over a child that runs already.
    pub(super) fn adopted(&self, running: Running, process: Option<i32>) {
        self.child_process
            .store(process.unwrap_or(0), Ordering::Relaxed);
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
        sync::load(&self.layout.root().join("start.json"))
    }

    /// Records a start before it is made.
    pub(super) fn child_starts(&self, start: Start) {
        sync::save_small(&self.layout.root().join("start.json"), &start);
        self.child.send_replace(Some(Running {
            start,
            listening: Vec::new(),
            interception: Interception::default(),
        }));
        self.show_child();
    }

    /// The child's main process is known, and how it is intercepted.
    pub(super) fn child_runs(&self, process: i32, interception: Interception) {
        self.child_process.store(process, Ordering::Relaxed);
        say(&interception);
        self.child.send_if_modified(|child| {
            if let Some(child) = child {
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
        let child = self.child().map(|child| relay::Child {
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
