//! A node: an agent's process over a data directory; its holder and its software outlive it.

use super::commands::{self, Commands};
use super::frozen::Frozen;
use super::node_options::NodeOptions;
use super::server::{logged, upstart, upstart_at};
use kit::{until, until_ok};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

/// A node of a test's system.
#[derive(Debug)]
pub struct Node {
    /// What it was told.
    pub options: NodeOptions,
    /// Its data directory.
    pub data: PathBuf,
    log: PathBuf,
    commands: Commands,
    agent: Option<Child>,
}

/// The same program without CAP_SYS_ADMIN.
fn without_privileges(program: &Command) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--inh-caps", "-sys_admin", "--bounding-set", "-sys_admin"]);
    command.arg(program.get_program());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

/// The same command with a hard limit of open files.
fn limited(command: &Command, open_files: u64) -> Command {
    let mut limited = Command::new("prlimit");
    limited
        .arg(format!("--nofile={open_files}:{open_files}"))
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    limited
}

impl Node {
    pub(crate) fn start(folder: &Path, commands: Commands, options: NodeOptions) -> Self {
        let name = options.name.replace(':', "-");
        let mut node = Self {
            data: (options.data.clone()).unwrap_or_else(|| folder.join(&name)),
            log: folder.join(format!("{name}.log")),
            options,
            commands,
            agent: None,
        };
        node.start_agent();
        node
    }

    /// Starts its agent (again).
    pub fn start_agent(&mut self) {
        assert!(self.agent.is_none(), "the agent runs");
        let options = &self.options;
        let program = options.program.as_deref();
        let mut command = program.map_or_else(upstart, upstart_at);
        if !options.privileged {
            command = without_privileges(&command);
        }
        let mut command = self.commands.agent(command, options, &self.data);
        command.env("UPSTART_LOG", "info,agent=debug");
        if let Some(limit) = options.open_files {
            command = limited(&command, limit);
        }
        let child = logged(command, &self.log)
            .spawn()
            .expect("the agent starts");
        self.agent = Some(child);
    }

    /// Its agent's process.
    pub fn agent(&self) -> u32 {
        self.agent.as_ref().expect("the agent runs").id()
    }

    /// Kills its agent; holder and software run on.
    pub fn kill_agent(&mut self) {
        if let Some(mut child) = self.agent.take() {
            kit::kill(i32::try_from(child.id()).expect("a process id"));
            child.wait().expect("the agent is reaped");
        }
    }

    /// Everything that its agent left behind ends at once, as in a power cut.
    pub fn end_below(&self) {
        let Ok(data) = std::fs::canonicalize(&self.data) else {
            return;
        };
        until("nothing of the node to be left", || {
            let mut left = kit::pids_naming(&data);
            left.retain(|pid| kit::alive(*pid));
            left.iter().for_each(|pid| kit::kill(*pid));
            left.is_empty().then_some(())
        });
    }

    /// The process of its holder.
    pub fn holder(&self) -> Option<i32> {
        let data = std::fs::canonicalize(&self.data).ok()?;
        kit::pids_naming(&data).into_iter().find(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.windows(7).any(|word| word == b"\0holder")
        })
    }

    /// Stops its agent without ending it, until the guard is dropped: it neither learns nor answers anything.
    pub fn freeze_agent(&self) -> Frozen {
        let agent = self.agent.as_ref().expect("the agent runs");
        Frozen::new(i32::try_from(agent.id()).expect("a process id"))
    }

    /// The same with its software.
    pub fn freeze_software(&self) -> Frozen {
        Frozen::new(self.running_child())
    }

    /// Asks its agent to end, as a service manager does, and waits for it.
    pub fn end_agent(&mut self) {
        let Some(mut child) = self.agent.take() else {
            return;
        };
        let pid = i32::try_from(child.id()).expect("a process id");
        // One that has just begun would die of the signal.
        until("the agent to hear signals", || {
            kit::catches(pid, libc::SIGTERM).then_some(())
        });
        kit::signal(pid, libc::SIGTERM);
        let status = until("the agent to end", || child.try_wait().expect("waits"));
        assert!(status.success(), "the agent ended with {status}");
    }

    /// Waits until its agent has killed itself at the place that it was told.
    pub fn until_agent_dies(&mut self) {
        let what = format!("the agent of {} to die", self.options.name);
        let child = self.agent.as_mut().expect("the agent runs");
        let status = until(&what, || child.try_wait().expect("waits"));
        assert_eq!(status.signal(), Some(libc::SIGKILL), "{status}");
        self.agent = None;
    }

    /// Whether its agent has ended by itself.
    pub fn agent_has_ended(&mut self) -> bool {
        let agent = self.agent.as_mut();
        agent.is_some_and(|child| matches!(child.try_wait(), Ok(Some(_))))
    }

    /// Waits until its agent has ended with an error; tells the end of what it said.
    pub fn until_agent_gives_up(&mut self) -> String {
        let what = format!("the agent of {} to give up", self.options.name);
        let child = self.agent.as_mut().expect("the agent runs");
        let status = until(&what, || child.try_wait().expect("waits"));
        assert_eq!(status.code(), Some(2), "{status}");
        self.agent = None;
        self.tail()
    }

    /// Stops its software and holder; its agent must have ended.
    pub fn stop_software(&self) {
        let output = self.stop_command().output().expect("runs");
        assert!(output.status.success(), "{output:?}");
    }

    fn stop_command(&self) -> Command {
        commands::stop(upstart(), &self.data)
    }

    /// What `upstart stop` says of it.
    pub fn try_stop(&self) -> std::process::Output {
        self.stop_command().output().expect("runs")
    }

    /// The main process of its software.
    pub fn child(&self) -> Option<i32> {
        let marks = ["box.py", "software/"];
        let state = self.data.join("current");
        kit::pids_naming(&state).into_iter().find(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            marks.iter().any(|mark| line.contains(mark)) && kit::alive(*pid)
        })
    }

    /// The same; it must run within the usual limit.
    pub fn running_child(&self) -> i32 {
        until("the software to run", || self.child())
    }

    /// What its software has printed.
    pub fn output(&self) -> String {
        std::fs::read_to_string(self.data.join("output.log")).unwrap_or_default()
    }

    /// How often it says a thing in its output.
    pub fn printed(&self, text: &str) -> usize {
        self.output().matches(text).count()
    }

    /// Waits until its output says a thing.
    pub fn until_printed(&self, text: &str) {
        until_ok(&format!("`{text}` in the output"), || {
            let output = self.output();
            if output.contains(text) {
                Ok(())
            } else {
                Err(output)
            }
        });
    }

    /// What its agent has said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until its agent says a thing.
    pub fn until_said(&self, text: &str) {
        until_ok(
            &format!("`{text}` in the agent's log"),
            || match std::fs::read_to_string(&self.log) {
                Ok(said) if said.contains(text) => Ok(()),
                _ => Err(self.tail()),
            },
        );
    }

    /// The end of what its agent said.
    fn tail(&self) -> String {
        kit::last_lines(&self.log, 60)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill_agent();
        if std::thread::panicking() {
            eprintln!("--- agent of {}\n{}", self.options.name, self.tail());
            let output = self.output();
            let from = output.len().saturating_sub(2_000);
            let from = (from..output.len())
                .find(|at| output.is_char_boundary(*at))
                .unwrap_or(0);
            eprintln!("--- software of {}\n{}", self.options.name, &output[from..]);
        }
        if self.data.join("journal").exists() {
            let _ = self.stop_command().output();
        }
        // Whatever a broken test or product leaves: everything of the node names its directory.
        for pid in kit::pids_naming(&self.data) {
            if kit::alive(pid) {
                eprintln!("{pid} of {} was left behind", self.options.name);
                kit::kill(pid);
            }
        }
    }
}
