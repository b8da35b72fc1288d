//! The upgrade server's process.

use super::clock::Clock;
use super::commands;
use super::objects::ArtifactsPlace;
use kit::until_ok;
use std::ffi::OsString;
use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A node that has said nothing for so long counts as unreachable in the tests.
const REACHABLE_MS: u64 = 3_000;

/// Where programs are found, as a service manager has it: what a developer's shell puts before may be scripts that start others,
/// and a test that kills the software would kill the script.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Gives a server that was not started yet the keys that all servers over one database have.
///
/// # Errors
/// They cannot be read, or written.
pub fn copy_keys(from: &Path, to: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700).create(to)?;
    for name in ["authority.pem", "server.pem"] {
        std::fs::copy(from.join(name), to.join(name))?;
    }
    Ok(())
}

/// The binary under test: cargo puts it where it puts this program, or one folder above where this is a test.
pub fn program() -> PathBuf {
    let own = std::env::current_exe().expect("this program has a path");
    let folders = own.ancestors().skip(1).take(2);
    let mut candidates = folders.map(|folder| folder.join("upstart"));
    candidates
        .find(|path| path.is_file())
        .expect("build the program first: cargo build --workspace")
}

/// The binary under test, without what the surroundings say.
pub fn upstart() -> Command {
    upstart_at(&program())
}

/// A copy of the binary under test, in the same way.
pub(crate) fn upstart_at(program: &Path) -> Command {
    let mut command = Command::new(program);
    let ours = std::env::vars_os().map(|(name, _)| name);
    for name in ours.filter(|name| name.to_string_lossy().starts_with("UPSTART_")) {
        command.env_remove(name);
    }
    command
        .env("PATH", PATH)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null());
    command
}

/// A command whose output is appended to a file.
pub(crate) fn logged(mut command: Command, log: &Path) -> Command {
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .expect("a log file");
    command.stdout(file.try_clone().expect("a second handle"));
    command.stderr(file);
    command
}

/// An upgrade server.
#[derive(Debug)]
pub struct Server {
    data: PathBuf,
    log: PathBuf,
    port: u16,
    clock: Clock,
    /// Further arguments.
    options: Vec<OsString>,
    /// Variables of its environment.
    environment: Vec<(String, String)>,
    child: Option<Child>,
}

impl Server {
    /// Starts one with its data below `folder`.
    pub fn start(folder: &Path, port: u16, clock: Clock) -> Self {
        Self::start_as("server", folder, port, clock, Vec::new())
    }

    /// The same with these arguments, too.
    pub fn start_with_options(folder: &Path, port: u16, options: Vec<OsString>) -> Self {
        Self::start_as("server", folder, port, Clock::RIGHT, options)
    }

    /// Starts one of several over one PostgreSQL database, with data of its own under this name.
    pub fn start_over(database: &str, name: &str, folder: &Path, port: u16) -> Self {
        let repository = folder.join("repository");
        let options = ["--database", database, "--repository"].map(OsString::from);
        let options = options.into_iter().chain([repository.into()]).collect();
        Self::start_as(name, folder, port, Clock::RIGHT, options)
    }

    /// The same without a folder that they share: artifacts, and what is signed, lie elsewhere.
    pub fn start_elsewhere(
        (database, artifacts): (&str, &ArtifactsPlace),
        name: &str,
        folder: &Path,
        port: u16,
    ) -> Self {
        let options = ["--database", database, "--artifacts", &artifacts.address].into_iter();
        let mut server = Self::stopped(name, folder, port, Clock::RIGHT);
        server.options = options.map(OsString::from).collect();
        server.environment = artifacts.environment.clone();
        server.resume();
        server
    }

    fn start_as(
        name: &str,
        folder: &Path,
        port: u16,
        clock: Clock,
        options: Vec<OsString>,
    ) -> Self {
        let mut server = Self::stopped(name, folder, port, clock);
        server.options = options;
        server.resume();
        server
    }

    fn stopped(name: &str, folder: &Path, port: u16, clock: Clock) -> Self {
        Self {
            data: folder.join(name),
            log: folder.join(format!("{name}.log")),
            port,
            clock,
            options: Vec::new(),
            environment: Vec::new(),
            child: None,
        }
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the server runs").id()
    }

    /// Kills it.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            kit::kill(i32::try_from(child.id()).expect("a process id"));
            child.wait().expect("the server is reaped");
        }
    }

    /// The same on a host whose clock shows this from now on.
    pub fn resume_at(&mut self, clock: Clock) {
        self.clock = clock;
        self.resume();
    }

    /// The same with these arguments, too, from now on.
    pub fn resume_with(&mut self, options: &[&str]) {
        self.options.extend(options.iter().map(OsString::from));
        self.resume();
    }

    /// Kills it and starts it again.
    pub fn restart(&mut self) {
        self.changed(|_| ());
    }

    /// The same, with something done to its data in between.
    pub fn changed<T>(&mut self, change: impl FnOnce(&Path) -> T) -> T {
        self.kill();
        let made = change(&self.data);
        self.resume();
        made
    }

    /// Its data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Starts it again over the same data, and waits until it listens.
    pub fn resume(&mut self) {
        let listen = format!("127.0.0.1:{}", self.port);
        let mut command = commands::serve(upstart(), &listen, &self.data);
        command
            .args(["--reachable-ms", &REACHABLE_MS.to_string()])
            .args(&self.options)
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        self.clock.applied(&mut command);
        let child = logged(command, &self.log)
            .spawn()
            .expect("the server starts");
        self.child = Some(child);
        until_ok("the server to listen", || {
            std::net::TcpStream::connect(("127.0.0.1", self.port)).map(drop)
        });
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
