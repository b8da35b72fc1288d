//! A network namespace without a name: it lives as long as this value or a process in it.

use crate::{NetworkError, refused};
use nix::sched::{CloneFlags, setns, unshare};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::sync::Arc;

/// A network namespace.
#[derive(Clone, Debug)]
pub struct Namespace {
    file: Arc<File>,
}

impl Namespace {
    /// Makes one; its loopback device is up.
    ///
    /// # Errors
    /// The kernel refuses: it needs root.
    pub fn new() -> Result<Self, NetworkError> {
        let made = std::thread::scope(|scope| {
            let there = scope.spawn(|| {
                unshare(CloneFlags::CLONE_NEWNET)?;
                File::open("/proc/thread-self/ns/net")
            });
            there.join()
        });
        let file = made
            .unwrap_or_else(|_| Err(std::io::Error::other("the thread panicked")))
            .map_err(refused("make a network namespace"))?;
        let namespace = Self {
            file: Arc::new(file),
        };
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// A path to it that works while this process runs.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }

    /// A program that will run in it; it keeps the process id, and everything but the network is this process's.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.path()))
            .arg("--")
            .arg(program);
        command
    }

    /// Runs this in a thread in the namespace: sockets made by it belong there for good.
    ///
    /// # Errors
    /// The kernel does not let the thread in.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, NetworkError> {
        std::thread::scope(|scope| {
            let there = scope.spawn(|| {
                self.enter()?;
                Ok(work())
            });
            match there.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Moves the calling thread here, and with it the threads and programs that it starts from now on.
    ///
    /// # Errors
    /// The kernel does not let the thread in.
    pub fn enter(&self) -> Result<(), NetworkError> {
        setns(&*self.file, CloneFlags::CLONE_NEWNET)
            .map_err(|error| refused("enter a network namespace")(error.into()))
    }

    /// Sets a kernel setting of the namespace, named as below `/proc/sys`.
    ///
    /// # Errors
    /// There is no such setting.
    pub fn set(&self, setting: &str, value: &str) -> Result<(), NetworkError> {
        let path = format!("/proc/sys/{setting}");
        self.within(|| std::fs::write(&path, value))?
            .map_err(refused(format!("set {path}")))
    }

    /// Gives the namespace one more address of its own; only programs in it reach it.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn add_own_address(&self, address: IpAddr) -> Result<(), NetworkError> {
        self.ip(&format!("address add {address} dev lo"))
    }

    /// Runs `ip` here with these words.
    pub(crate) fn ip(&self, words: &str) -> Result<(), NetworkError> {
        self.configure("ip", words.split_whitespace(), "")
    }

    /// Runs `nft` here with these rules.
    ///
    /// # Errors
    /// It does not take them.
    pub fn nft(&self, rules: &str) -> Result<(), NetworkError> {
        self.configure("nft", ["-f", "-"], rules)
    }

    fn configure<'a>(
        &self,
        program: &str,
        arguments: impl IntoIterator<Item = &'a str>,
        input: &str,
    ) -> Result<(), NetworkError> {
        let mut command = self.command(program);
        // Debian keeps both where an ordinary user's path does not lead.
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .args(arguments)
            .env("PATH", format!("{path}:/usr/sbin:/sbin"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let shown = format!("{command:?}");
        let run = || {
            let mut child = command.spawn()?;
            if let Some(mut stdin) = child.stdin.take() {
                stdin.write_all(input.as_bytes())?;
            }
            child.wait_with_output()
        };
        let output = { run }().map_err(refused(format!("run {shown}")))?;
        if output.status.success() {
            return Ok(());
        }
        Err(NetworkError::Command {
            command: format!("{program} in {shown} < {input}"),
            said: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        })
    }
}
