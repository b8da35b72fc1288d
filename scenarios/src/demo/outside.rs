//! Callers outside the system: the example's own client program, started without Upstart, so that it carries no label.

use super::hosts::Hosts;
use super::processes::Processes;
use anyhow::bail;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How a client is started by hand.
#[derive(Clone, Debug)]
pub struct ClientProgram {
    /// The program of each version, by version from 1.
    pub programs: Vec<PathBuf>,
    /// Where Python modules are that it needs; none where Python's own are enough.
    pub modules: Option<PathBuf>,
    /// The flag before the addresses.
    pub flag: &'static str,
    /// The folder for histories.
    pub history: PathBuf,
    /// The addresses that it calls, `host:port`.
    pub addresses: Vec<String>,
    /// Where it runs: each client on the host of its name.
    pub hosts: Arc<Hosts>,
    /// How many clients there are in all.
    pub clients: usize,
    /// Calls at a time.
    pub workers: usize,
    /// The pause between two calls of a worker.
    pub pause_ms: u64,
    /// The folder for what they print.
    pub logs: PathBuf,
}

const SIGTERM: i32 = 15;

/// How long a client may take to finish the calls that it is at.
const FINISH_LIMIT: Duration = Duration::from_secs(100);

impl ClientProgram {
    /// The name of a client, and of its host.
    pub fn name(number: usize) -> String {
        format!("outside-{number}")
    }

    /// Starts the client of this number at this version.
    pub fn start(&self, processes: &Processes, number: usize, version: u32) -> anyhow::Result<()> {
        let program = &self.programs[version as usize - 1];
        let name = Self::name(number);
        let mut command = self.hosts.command(&name, "python3");
        command.arg(program).env("PYTHONDONTWRITEBYTECODE", "1");
        if let Some(modules) = &self.modules {
            command.env("PYTHONPATH", modules);
        }
        command
            .args([self.flag, &self.addresses.join(",")])
            .arg("--history")
            .arg(&self.history);
        for (flag, value) in [
            ("--number", number as u64),
            ("--clients", self.clients as u64),
            ("--workers", self.workers as u64),
            ("--pause-ms", self.pause_ms),
        ] {
            command.args([flag, &value.to_string()]);
        }
        processes.start(&name, &mut command, &self.logs.join(format!("{name}.log")))
    }

    /// Lets the client finish what it is at, and end.
    pub fn finish(&self, processes: &Processes, number: usize) -> anyhow::Result<()> {
        let name = Self::name(number);
        processes.signal(&name, rustix::process::Signal::TERM);
        let last = Instant::now() + FINISH_LIMIT;
        while Instant::now() < last {
            match processes.ended(&name) {
                // By the signal itself: it came before the program listened to it, so before its first call.
                Some(status) if status.success() || status.signal() == Some(SIGTERM) => {
                    return Ok(());
                }
                Some(status) => bail!("{name} ended with {status}; see {}", self.logs.display()),
                None if !processes.runs(&name) => bail!("{name} does not run"),
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        }
        bail!("{name} does not come to its end")
    }
}
