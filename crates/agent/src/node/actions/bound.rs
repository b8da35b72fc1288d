//! A command that ends with the agent: one that went on alone would run beside the one that the next agent starts.

use crate::limits;
use rustix::process::{
    Pid, Signal, getpid, getppid, kill_process, set_parent_process_death_signal,
};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus};
use std::sync::mpsc;
use std::thread;
use tokio::sync::oneshot;

/// A running command; dropped, it is killed.
pub(super) struct Bound {
    process: Option<Pid>,
    ended: oneshot::Receiver<io::Result<ExitStatus>>,
}

impl Bound {
    /// Starts it.
    ///
    /// # Errors
    /// It cannot be started.
    pub(super) fn start(mut command: Command) -> io::Result<Self> {
        kill_with_parent(limits::restored(&mut command));
        let (started, told) = mpsc::sync_channel(1);
        let (end, ended) = oneshot::channel();
        // The kernel's signal comes when the thread ends that started the command: this one ends after it, or with the agent.
        thread::Builder::new()
            .name("command".to_owned())
            .spawn(move || match command.spawn() {
                Ok(mut child) => {
                    // Whoever asked may be gone; then the command is killed, and waited for all the same.
                    let _ = started.send(Ok(child.id()));
                    let _ = end.send(child.wait());
                }
                Err(error) => drop(started.send(Err(error))),
            })?;
        let process = told.recv().map_err(io::Error::other)??;
        let process = i32::try_from(process).ok().and_then(Pid::from_raw);
        Ok(Self { process, ended })
    }

    /// Its process, which leads a group of its own; none when it has ended.
    pub(super) fn process(&self) -> Option<Pid> {
        self.process
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub(super) async fn end(&mut self) -> io::Result<ExitStatus> {
        let status = (&mut self.ended).await;
        self.process = None;
        status.map_err(io::Error::other)?
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if let Some(process) = self.process {
            // It may have ended just now.
            let _ = kill_process(process, Signal::KILL);
        }
    }
}

#[expect(
    unsafe_code,
    reason = "the standard library has no parent's death signal"
)]
fn kill_with_parent(command: &mut Command) {
    let agent = getpid();
    // SAFETY: between fork and exec only system calls are made, and nothing is allocated.
    unsafe {
        command.pre_exec(move || {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            if getppid() == Some(agent) {
                Ok(())
            } else {
                Err(io::ErrorKind::BrokenPipe.into())
            }
        });
    }
}
