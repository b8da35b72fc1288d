//! The processes of a run: started, ended, and none left behind, by process id only.

use anyhow::{Context, bail};
use parking_lot::{Mutex, MutexGuard};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The children of this program, by name.
#[derive(Debug, Default)]
pub struct Processes {
    children: Mutex<BTreeMap<String, Child>>,
    /// The run is over: nothing is started any more.
    over: AtomicBool,
}

impl Processes {
    fn children(&self) -> MutexGuard<'_, BTreeMap<String, Child>> {
        self.children.lock()
    }

    /// Starts a program; what it prints is appended to `log`.
    pub fn start(&self, name: &str, command: &mut Command, log: &Path) -> anyhow::Result<()> {
        if self.over.load(Ordering::Relaxed) {
            bail!("the run is over: {name} is not started");
        }
        let output = OpenOptions::new().create(true).append(true).open(log);
        let output = output.with_context(|| format!("cannot write {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        self.children().insert(name.to_owned(), child);
        Ok(())
    }

    /// The process id of a program that has been started and not been waited for.
    pub fn pid(&self, name: &str) -> Option<u32> {
        self.children().get(name).map(Child::id)
    }

    /// How the program ended, if it has; it is then forgotten.
    pub fn ended(&self, name: &str) -> Option<ExitStatus> {
        let mut children = self.children();
        let status = children.get_mut(name)?.try_wait().ok()??;
        children.remove(name);
        Some(status)
    }

    /// Whether the program runs.
    pub fn runs(&self, name: &str) -> bool {
        let mut children = self.children();
        children
            .get_mut(name)
            .is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Sends a signal to a program that this object started; one that has ended is left alone.
    pub fn signal(&self, name: &str, signal: Signal) {
        let mut children = self.children();
        if let Some(child) = children.get_mut(name)
            && matches!(child.try_wait(), Ok(None))
        {
            send(child.id(), signal);
        }
    }

    /// Asks a program to end (SIGTERM), kills it when it does not within `limit`, and reaps it.
    pub fn stop(&self, name: &str, limit: Duration) {
        self.signal(name, Signal::TERM);
        let last = Instant::now() + limit;
        while Instant::now() < last && self.runs(name) {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.kill(name);
    }

    /// Kills a program and reaps it.
    pub fn kill(&self, name: &str) {
        if let Some(mut child) = self.children().remove(name) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts nothing any more; see [`Self::end_all`].
    fn close(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Ends the run: every process of it, holders and what they own included: all whose command line or environment names
    /// the run's directory.
    pub fn end_all(&self, root: &Path) {
        self.close();
        self.end_below(root);
    }

    /// Ends every process that belongs to this directory, holders and what they owned included.
    pub fn end_below(&self, root: &Path) {
        let last = Instant::now() + Duration::from_secs(10);
        let names: Vec<String> = self.children().keys().cloned().collect();
        for name in names {
            self.kill(&name);
        }
        loop {
            let left = of_run(root);
            if left.is_empty() || Instant::now() > last {
                return;
            }
            for process in left {
                send(process.pid, Signal::KILL);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A process of the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Its arguments.
    pub arguments: Vec<String>,
}

/// Sends a signal to one process.
pub fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// Every process but this one whose command line or environment names the run's directory, or that works in it: some
/// programs write over both to show what they do.
pub fn of_run(root: &Path) -> Vec<Process> {
    let mark = root.as_os_str().as_encoded_bytes();
    let names_run = |path: PathBuf| {
        fs::read(path).is_ok_and(|text| text.windows(mark.len()).any(|window| window == mark))
    };
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != std::process::id())
        .filter(|pid| {
            let folder = PathBuf::from(format!("/proc/{pid}"));
            let works_in_run =
                || fs::read_link(folder.join("cwd")).is_ok_and(|cwd| cwd.starts_with(root));
            names_run(folder.join("cmdline")) || names_run(folder.join("environ")) || works_in_run()
        })
        .filter_map(|pid| {
            Some(Process {
                pid,
                arguments: arguments(pid)?,
            })
        })
        .collect()
}

/// A process' arguments; none for one that has ended and is not reaped yet.
fn arguments(pid: u32) -> Option<Vec<String>> {
    let text = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let text = String::from_utf8_lossy(&text);
    let arguments: Vec<String> = text.split_terminator('\0').map(str::to_owned).collect();
    (!arguments.is_empty()).then_some(arguments)
}

/// The software that runs below a node's data directory: processes that run another program than agents and holders do.
pub fn software(data: &Path, program: &Path) -> Vec<Process> {
    let mut found = of_run(data);
    found.retain(|process| {
        fs::read_link(format!("/proc/{}/exe", process.pid))
            .is_ok_and(|executed| executed != program)
    });
    found
}
