//! Where a benchmark happens: a directory, ports, and processes that end with it whatever happens.

use super::Measuring;
use super::runner::{self, Runner};
use crate::demo::place::Place;
use crate::demo::processes::Processes;
use anyhow::{Context, bail};
use serde::Serialize;
use std::net::{IpAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use xtask::install;
use xtask::workspace::{Profile, Workspace};

/// How long a program may take to listen.
pub(super) const START_LIMIT: Duration = Duration::from_secs(60);

/// The exit code of a shell's child that SIGINT ended.
const INTERRUPTED: i32 = 130;

/// Everything that is started lies in one place and ends with one list.
pub(super) struct Stage<'a> {
    pub(super) workspace: &'a Workspace,
    pub(super) place: &'a Place,
    pub(super) processes: &'a Arc<Processes>,
}

/// What a benchmark gives.
pub(super) trait Report: Serialize {
    /// As a Markdown table, for people and for the documents.
    fn table(&self) -> String;
}

/// Sets the stage, has the benchmark measured on it, clears it, and says the result.
pub(super) fn perform<R: Report>(
    options: &Measuring,
    measure: impl FnOnce(&Stage<'_>) -> anyhow::Result<R>,
) -> anyhow::Result<ExitCode> {
    let workspace = Workspace::find()?;
    install::programs(&workspace)?;
    let place = place("bench")?;
    let processes = Arc::new(Processes::default());
    end_on_signals(&processes, &place);
    let result = measure(&Stage {
        workspace: &workspace,
        place: &place,
        processes: &processes,
    });
    processes.end_all(&place.root);
    let report = result.with_context(|| format!("see the logs in {}", place.root.display()))?;
    std::fs::remove_dir_all(&place.root)?;
    eprint!("{}", report.table());
    if options.json {
        println!("{}", serde_json::to_string(&report)?);
    }
    Ok(ExitCode::SUCCESS)
}

/// A directory of this name and ports of this run's own.
pub(crate) fn place(name: &str) -> anyhow::Result<Place> {
    let found = Place::new()?;
    let root = std::env::temp_dir().join(format!("upstart-{name}-{}", std::process::id()));
    std::fs::rename(&found.root, &root)?;
    Ok(Place { root, ..found })
}

/// Leaves nothing running behind when it is interrupted.
pub(crate) fn end_on_signals(processes: &Arc<Processes>, place: &Place) {
    let (processes, root) = (Arc::clone(processes), place.root.clone());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async {
            let Ok(mut terminate) = signal(SignalKind::terminate()) else {
                return;
            };
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            processes.end_all(&root);
            eprintln!(
                "interrupted; what was found is lost, the logs are in {}",
                root.display()
            );
            std::process::exit(INTERRUPTED);
        });
    });
}

impl Stage<'_> {
    /// The program that is measured, built if it is to be.
    pub(super) fn upstart(&self, options: &Measuring) -> anyhow::Result<PathBuf> {
        match (&options.program, options.dev) {
            (Some(program), _) => Ok(std::path::absolute(program)?),
            (None, true) => self.workspace.build(Profile::Dev),
            (None, false) => self.workspace.build(Profile::Release),
        }
    }

    /// The `envoy` program.
    pub(super) fn envoy(&self) -> anyhow::Result<PathBuf> {
        let binary = install::python_environment(self.workspace).join("bin/envoy");
        let is_there = binary.exists();
        is_there
            .then_some(binary)
            .context("Envoy is not installed: run `cargo xtask test --install-only`")
    }

    /// The program that starts load programs, bare.
    pub(super) fn direct_runner(&self) -> anyhow::Result<Runner> {
        let socket = self.place.root.join("direct.sock");
        let source = self.place.root.join(runner::FILE);
        std::fs::write(&source, runner::SOURCE)?;
        let mut command = Command::new("python3");
        self.start("direct-runner", command.arg(source).arg(&socket))?;
        Ok(Runner { socket })
    }

    /// A bare nginx with this configuration, in a directory of its own.
    pub(super) fn nginx(&self, name: &str, configuration: String) -> anyhow::Result<()> {
        let folder = self.place.folder(name)?;
        let file = folder.join("nginx.conf");
        std::fs::write(&file, configuration)?;
        let mut command = Command::new(program("nginx")?);
        command.arg("-c").arg(file).arg("-p").arg(&folder);
        self.start(name, command.current_dir(folder))
    }

    /// An Envoy of one thread with this configuration.
    pub(super) fn envoy_with(&self, name: &str, configuration: String) -> anyhow::Result<()> {
        let file = self.place.root.join(format!("{name}.json"));
        std::fs::write(&file, configuration)?;
        let mut command = Command::new(self.envoy()?);
        command.args(["--concurrency", "1", "--log-level", "error"]);
        command.arg("--disable-hot-restart");
        self.start(name, command.arg("--config-path").arg(file))
    }

    /// Starts a program in a session of its own, as supervisors do and as holders start theirs: the kernel shares time
    /// out between sessions first.
    pub(super) fn start(&self, name: &str, command: &Command) -> anyhow::Result<()> {
        let log = self.place.folder("logs")?.join(format!("{name}.log"));
        let mut own = Command::new("setsid");
        own.arg(command.get_program()).args(command.get_args());
        own.current_dir(command.get_current_dir().unwrap_or(&self.place.root));
        self.processes.start(name, &mut own, &log)
    }

    /// The address at which everything listens.
    pub(super) fn host(&self) -> IpAddr {
        self.place.hosts.address("")
    }

    /// Waits until all these ports answer.
    pub(super) fn wait(&self, ports: &[u16]) -> anyhow::Result<()> {
        let end = Instant::now() + START_LIMIT;
        for port in ports {
            while TcpStream::connect((self.host(), *port)).is_err() {
                if Instant::now() > end {
                    bail!(
                        "nothing listens at port {port}; see the logs in {}",
                        self.place.root.display()
                    );
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(())
    }
}

/// The full path of a program; system programs may lie outside an ordinary user's search path.
pub(super) fn program(name: &str) -> anyhow::Result<String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let found = folders
        .map(|folder| folder.join(name))
        .find(|path| Path::is_file(path));
    let found = found.with_context(|| {
        format!("{name} is not installed: run `cargo xtask test --install-only`")
    })?;
    Ok(found.display().to_string())
}

/// The words of a command line.
pub(super) fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
