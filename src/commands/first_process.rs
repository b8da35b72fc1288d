//! The agent as the first process of a container. Its end ends everything, so that this process does nothing but look after others: it
//! runs the agent as a child, reaps whatever loses its parent, and, asked to end, has the software end in order before it does.

use crate::failure::{CommandEnd, CommandOutcome, failure};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, wait};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// How long it waits before an agent that was killed is started again: the software serves on meanwhile.
const AGAIN_PAUSE: Duration = Duration::from_secs(1);

/// The exit code of what was ended by a signal, as shells say it: so much and the signal.
const KILLED_CODE: i32 = 128;

/// Whether this is the first process of its container.
pub(crate) fn is_first() -> bool {
    std::process::id() == 1
}

/// Runs the agent that these arguments are for, and what follows its end, until nothing of the node is left.
pub(crate) fn run(data: &Path) -> CommandOutcome {
    // Its environment may hold the server's token.
    agent::environment::conceal();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(look_after(data))
}

/// What goes on.
struct Supervision {
    /// The process that is waited for: the agent, then the command that stops the software.
    child: Pid,
    /// The container is to end.
    asked: bool,
    /// How the agent ended, once it is the software's turn.
    ended: Option<i32>,
}

async fn look_after(data: &Path) -> CommandOutcome {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut children = signal(SignalKind::child())?;
    let mut run = Supervision {
        child: agent()?,
        asked: false,
        ended: None,
    };
    loop {
        tokio::select! {
            _ = terminate.recv() => run.ask(),
            _ = interrupt.recv() => run.ask(),
            _ = children.recv() => {}
        }
        let Some(status) = reaped(run.child) else {
            continue;
        };
        let code = code(status);
        match run.ended {
            Some(agents) => return outcome(run.asked, agents, code),
            None if !run.asked && status.terminating_signal().is_some() => {
                tracing::warn!(
                    code,
                    "the agent was killed and is started again; its software runs on"
                );
                tokio::time::sleep(AGAIN_PAUSE).await;
                run.child = agent()?;
            }
            // In another container, on the same volume: what runs is its, and the agent has said so.
            None if agent::runner(data).is_some() => std::process::exit(code),
            None => {
                tracing::info!("the agent has ended; the software is stopped");
                run.ended = Some(code);
                run.child = start(
                    Command::new("/proc/self/exe")
                        .arg("stop")
                        .arg("--data")
                        .arg(data),
                )?;
            }
        }
    }
}

impl Supervision {
    /// Passes the wish on to the agent, once; the software is asked when the agent has ended.
    fn ask(&mut self) {
        if !self.asked && self.ended.is_none() {
            // It may have ended just now, which is heard next.
            let _ = kill_process(self.child, Signal::TERM);
        }
        self.asked = true;
    }
}

/// Starts the agent: this very command, whose process is not the first.
fn agent() -> anyhow::Result<Pid> {
    let mut arguments = std::env::args_os();
    let mut agent = Command::new("/proc/self/exe");
    if let Some(name) = arguments.next() {
        agent.arg0(name);
    }
    start(agent.args(arguments))
}

fn start(command: &mut Command) -> anyhow::Result<Pid> {
    let child = command.spawn()?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    pid.ok_or_else(|| anyhow::anyhow!("a process without a number was started"))
}

/// Reaps everything that has ended; says how this child did, if it was among it.
fn reaped(child: Pid) -> Option<WaitStatus> {
    let mut ended = None;
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if pid == child {
            ended = Some(status);
        }
    }
    ended
}

fn code(status: WaitStatus) -> i32 {
    let killed = status
        .terminating_signal()
        .map(|signal| KILLED_CODE + signal);
    status.exit_status().or(killed).unwrap_or(KILLED_CODE)
}

/// How the container ends: in order when it was asked to and nothing is left; else with what has failed, which was said already.
fn outcome(asked: bool, agent: i32, stop: i32) -> CommandOutcome {
    match (asked, agent, stop) {
        (_, 0, 0) => Ok(CommandEnd::Yes),
        // The agent has said why.
        (false, 1, 0) => Ok(CommandEnd::No),
        (_, agent, 0) => Err(failure(
            format!("the agent ended with exit code {agent}; its software was stopped in order"),
            "see what it said above",
        )),
        (_, _, stop) => Err(failure(
            format!("the software could not be stopped in order (exit code {stop})"),
            "see what was said above; the container's end ends it all the same",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_ends_well_only_when_software_and_agent_did() {
        assert!(matches!(outcome(true, 0, 0), Ok(CommandEnd::Yes)));
        assert!(matches!(outcome(false, 1, 0), Ok(CommandEnd::No)));
        let failed = outcome(false, 2, 0).expect_err("it failed").to_string();
        assert!(failed.contains("stopped in order"), "{failed}");
        let left = outcome(true, 0, 2).expect_err("it failed").to_string();
        assert!(left.contains("could not be stopped"), "{left}");
    }
}
