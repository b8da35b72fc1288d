//! Looking after the child: reaping, answering its start, killing on, noticing that nothing of it is left.

use super::child;
use super::detach::LOG_BYTES_MAX;
use super::output::OUTPUT_BYTES_MAX;
use super::service::{HolderService, SOCKET_TICK, TICK};
use crate::birth::is_in_place;
use intercept::holder::{HolderEvent, ReplyBody};
use std::time::Instant;

impl HolderService {
    /// Reaps, answers a start, kills on, and notices when nothing of the child is left.
    pub(super) fn look_after_child(&mut self) {
        child::reap(|pid, status| {
            if let Some(child) = &mut self.child {
                child.note_end(pid, status);
            }
        });
        self.answer_start();
        self.go_on_stopping(Instant::now());
        if self.killing {
            self.group.kill();
        }
        self.rotate_output();
        let Some(child) = &self.child else { return };
        let ended = child.exit.is_some();
        // Reading the control group's events also arms the next notice of them.
        let looked = ended || self.group.changes().is_some();
        // What cannot be said now is looked at again.
        let empty = looked && self.group.is_empty().unwrap_or(false);
        if ended && empty {
            self.end_child();
        }
    }

    fn answer_start(&mut self) {
        let Some(child) = &mut self.child else { return };
        let Some(outcome) = child.hear_launch() else {
            return;
        };
        let Some(launch) = child.launch.take() else {
            return;
        };
        match outcome {
            Err(why) => child.unborn = Some((launch.asker, why)),
            Ok(()) => {
                let interception = child.interception.clone();
                tracing::info!(?interception, "the software was executed");
                let pid = launch.pid;
                let started = ReplyBody::Started { pid, interception };
                self.answer_asker(launch.asker, Ok(started));
            }
        }
    }

    /// Answers a start, unless its asker has been replaced; says whether it was there.
    fn answer_asker(&mut self, asker: (u64, u64), body: Result<ReplyBody, String>) -> bool {
        let (agent, id) = asker;
        let there = self.agent.as_ref().map(|agent| agent.number) == Some(agent);
        if there {
            self.answer(id, body.map(|body| (body, None)));
        }
        there
    }

    fn rotate_output(&mut self) {
        if self.last_tick.elapsed() < TICK {
            return;
        }
        self.last_tick = Instant::now();
        if let Some(output) = self.child.as_ref().and_then(|child| child.output.as_ref()) {
            output.look_after(OUTPUT_BYTES_MAX);
        }
        if let Some(log) = &self.log {
            log.look_after(LOG_BYTES_MAX);
        }
    }

    /// Listens for agents anew where somebody has removed the socket, or the note of where the child is.
    pub(super) fn look_after_way_in(&mut self, now: Instant) {
        if now < self.last_look + SOCKET_TICK {
            return;
        }
        self.last_look = now;
        // Another directory may be in this place: its agent must not find this holder there.
        if is_in_place(&self.data, self.home) && !super::socket_path(&self.data).exists() {
            match super::listen_for_agents(&self.data) {
                Ok(listener) => {
                    tracing::warn!("the socket for agents was gone and is there again");
                    self.agent_listener = listener;
                }
                Err(error) => tracing::warn!(%error, "the socket for agents is gone"),
            }
        }
    }

    fn end_child(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        child.take_net();
        let Some(mut exit) = child.exit else { return };
        exit.killed = child.killed;
        self.killing = false;
        self.stopping = None;
        self.listeners.child_ended();
        self.listening.clear();
        self.last_exit = Some(exit.clone());
        let told = child
            .unborn
            .is_some_and(|(asker, why)| self.answer_asker(asker, Err(why)));
        if !told {
            self.tell(HolderEvent::ChildExited(exit));
        }
    }
}
