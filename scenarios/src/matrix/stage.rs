//! Where one row happens: a folder and ports of its own, what its scripts see, and processes that end with it.

use super::install;
use super::programs::{Probe, Program};
use crate::demo::place::copy_tree;
use crate::demo::processes::{Processes, of_run, send};
use anyhow::{Context, bail};
use rustix::process::Signal;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};
use xtask::workspace::Workspace;

/// How many ports a row has.
const PORTS: u16 = 20;

/// Below what demos and tests use, and below the range from which the kernel gives out ports for outgoing connections.
const BASES: std::ops::Range<u16> = 10_000..19_980;

/// Where the program listens when it runs bare, and as a node: ports that were just used bare are not free at once.
pub(super) const BARE: u16 = 0;
pub(super) const NODE: u16 = 10;
/// The origins, beside each of them.
const OUTSIDE: u16 = 6;
pub(super) const MEMBER: u16 = 7;
/// The upgrade server.
const SERVER: u16 = 19;

/// What scripts may say for short.
const WORDS: &str = r#"
talk() { $CLIENT talk "$HOST" "$PORT" "$@"; }
http() { $CLIENT http "$HOST" "$PORT" "$@"; }
"#;

/// One row's stage.
pub(super) struct Stage<'a> {
    pub(super) workspace: &'a Workspace,
    pub(super) program: &'a Program,
    pub(super) processes: &'a Arc<Processes>,
    /// The row's folder; its path occurs in the environment of every process of the row.
    pub(super) root: PathBuf,
    base: u16,
}

impl<'a> Stage<'a> {
    /// Makes the folder, finds the ports, builds what the program needs.
    pub(super) fn set(
        workspace: &'a Workspace,
        program: &'a Program,
        processes: &'a Arc<Processes>,
        root: &Path,
    ) -> anyhow::Result<Self> {
        // No row's path is the beginning of another's.
        let root = root.join(format!("{}.row", program.name));
        fs::create_dir_all(&root)?;
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755))?;
        let stage = Self {
            workspace,
            program,
            processes,
            root,
            base: free_block()?,
        };
        stage.software()?;
        Ok(stage)
    }

    /// The software's folder: the program's files, the kit, and what is built.
    fn software(&self) -> anyhow::Result<()> {
        let software = self.root.join("software");
        copy_tree(&self.workspace.root().join("matrix/kit"), &software)?;
        copy_tree(&self.program.folder, &software)?;
        let Some(script) = &self.program.build else {
            return Ok(());
        };
        let built = self
            .workspace
            .target("matrix/built")
            .join(&self.program.name);
        let stamp = built.with_extension("stamp");
        let wanted = sources(&software)?;
        if fs::read_to_string(&stamp).is_ok_and(|text| text == wanted) {
            return copy_tree(&built, &software.join("built"));
        }
        let _ = fs::remove_dir_all(&built);
        fs::create_dir_all(&built)?;
        let mut shell = Command::new("sh");
        shell
            .args(["-ec", script])
            .current_dir(&built)
            .env("SOFTWARE", &software)
            .env("BUILT", &built)
            .env("CACHE", self.workspace.target("matrix/cache"))
            .env("PATH", path());
        let output = shell.stdin(Stdio::null()).output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("it cannot be built: {}", said.trim());
        }
        fs::write(stamp, wanted)?;
        copy_tree(&built, &software.join("built"))
    }

    /// A port: of the program when it runs so, and those that follow for its other services.
    pub(super) fn port(&self, how: u16) -> u16 {
        self.base + how
    }

    /// The upgrade server's port.
    pub(super) fn server_port(&self) -> u16 {
        self.base + SERVER
    }

    /// What scripts see. The folder of the software and the state are known by those who start them.
    pub(super) fn environment(&self, how: u16) -> Vec<(String, String)> {
        let text = |path: PathBuf| path.display().to_string();
        let client = self.workspace.root().join("matrix/client.py");
        let mut all = vec![
            ("HOST", "127.0.0.1".to_owned()),
            ("PORT", self.port(how).to_string()),
            ("ORIGIN_OUTSIDE", self.port(how + OUTSIDE).to_string()),
            ("ORIGIN_MEMBER", self.port(how + MEMBER).to_string()),
            (
                "CLIENT",
                format!("{} {}", install::interpreter(), client.display()),
            ),
            ("PY", text(install::python(self.workspace).join("bin"))),
            (
                "GRPC_PYTHON",
                text(xtask::install::python_environment(self.workspace).join("bin/python")),
            ),
            (
                "NPM",
                text(install::npm(self.workspace).join("node_modules/.bin")),
            ),
            ("ROW", text(self.root.clone())),
            ("PATH", path()),
            ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect::<Vec<_>>();
        for (number, service) in (1..).zip(&self.program.services) {
            let port = self.port(how) + number;
            all.push((format!("PORT_{}", service.to_uppercase()), port.to_string()));
        }
        all
    }

    /// A script as a file says it, with what it sees before it.
    pub(super) fn script(&self, how: u16, body: &str) -> String {
        let exports: String = self
            .environment(how)
            .iter()
            .map(|(name, value)| format!("export {name}='{value}'\n"))
            .collect();
        format!("{exports}{WORDS}{body}\n")
    }

    /// Runs a script from outside, to its end or to the end of patience; everything that it printed.
    pub(super) fn run(&self, how: u16, state: &Path, body: &str) -> anyhow::Result<String> {
        let mut shell = Command::new("timeout");
        let output = shell
            .args(["--kill-after=5", "120", "sh", "-c"])
            .arg(format!("exec 2>&1\n{}", self.script(how, body)))
            .env("STATE", state)
            .current_dir(&self.root)
            .stdin(Stdio::null())
            .output()?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// What was said, without what differs between two runs of the same.
    pub(super) fn plain(&self, how: u16, state: &Path, text: &str) -> String {
        let mut text = text.replace(&state.display().to_string(), "<state>");
        text = text.replace(&self.root.display().to_string(), "<row>");
        for number in 0..10 {
            let port = (self.port(how) + number).to_string();
            text = text.replace(&port, &format!("<port {number}>"));
        }
        self.program.masked(&text)
    }

    /// Starts a program of the row's; its output goes to a file of that name.
    pub(super) fn start(&self, name: &str, command: &mut Command) -> anyhow::Result<()> {
        let log = self.root.join(format!("{name}.log"));
        command.env("ROW", &self.root).process_group(0);
        self.processes.start(&self.named(name), command, &log)
    }

    /// The row's process of that name, as all rows' processes are listed.
    pub(super) fn named(&self, name: &str) -> String {
        format!("{}/{name}", self.program.name)
    }

    /// Whether a process of the row runs.
    pub(super) fn runs(&self, name: &str) -> bool {
        self.processes.runs(&self.named(name))
    }

    /// Ends a process of the row.
    pub(super) fn stop(&self, name: &str, limit: Duration) {
        self.processes.stop(&self.named(name), limit);
    }

    /// Starts an origin.
    pub(super) fn origin(&self, how: u16, name: &str) -> anyhow::Result<()> {
        let mut command = Command::new(install::interpreter());
        command
            .arg(self.workspace.root().join("matrix/client.py"))
            .args(["origin", "127.0.0.1", &self.port(how).to_string()]);
        self.start(name, &mut command)?;
        self.until("the origin", Duration::from_secs(20), || {
            listens(self.port(how))
        })
    }

    /// The origins of a bare program.
    pub(super) fn bare_origins(&self) -> anyhow::Result<()> {
        for how in [BARE, NODE] {
            if self.program.origin && !listens(self.port(how + OUTSIDE)) {
                self.origin(how + OUTSIDE, &format!("origin-{how}"))?;
                self.origin(how + MEMBER, &format!("origin-{how}-member"))?;
            }
        }
        Ok(())
    }

    /// The origin outside the system.
    pub(super) fn outside_origin(&self) -> anyhow::Result<()> {
        if self.program.origin {
            self.origin(NODE + OUTSIDE, "origin-3")?;
        }
        Ok(())
    }

    /// Whether the program is well, asked from outside.
    pub(super) fn is_well(&self, how: u16, state: &Path) -> bool {
        let shell = match &self.program.probe {
            Probe::Tcp => return listens(self.port(how)),
            Probe::Page { http } => {
                format!("curl -fsS -m 5 -o /dev/null http://$HOST:$PORT{http} && echo well")
            }
            Probe::Shell(shell) => format!("if {shell}\nthen echo well; fi"),
        };
        self.run(how, state, &shell)
            .is_ok_and(|said| said.ends_with("well\n"))
    }

    /// Waits for a condition.
    pub(super) fn until(
        &self,
        what: &str,
        limit: Duration,
        mut condition: impl FnMut() -> bool,
    ) -> anyhow::Result<()> {
        let last = Instant::now() + limit;
        while !condition() {
            if Instant::now() > last {
                bail!("waited {} s for {what}", limit.as_secs());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// The user that the software runs as.
    pub(super) fn user(&self) -> Option<&str> {
        let user = self.program.user.as_deref()?;
        rustix::process::geteuid().is_root().then_some(user)
    }

    /// The last lines of a log.
    pub(super) fn tail(&self, path: impl AsRef<Path>) -> String {
        kit::last_lines(&self.root.join(path), 15)
    }

    /// Kills whatever is left of the row, and tells what that was.
    pub(super) fn clear(&self) -> Vec<String> {
        let mut left = Vec::new();
        let last = Instant::now() + Duration::from_secs(10);
        loop {
            let found = of_run(&self.root);
            if found.is_empty() || Instant::now() > last {
                return left;
            }
            for process in found {
                send(process.pid, Signal::KILL);
                left.push(process.arguments.join(" "));
            }
            std::thread::sleep(Duration::from_millis(30));
        }
    }
}

/// Where scripts find programs.
fn path() -> String {
    let own = std::env::var("PATH").unwrap_or_default();
    format!("/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin:{own}")
}

/// Everything that what is built depends on.
fn sources(software: &Path) -> anyhow::Result<String> {
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(software)? {
        files.push(entry?.path());
    }
    files.sort();
    let mut all = String::new();
    for file in files.iter().filter(|file| file.is_file()) {
        let text = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        all += &format!(
            "{}\n{}\n",
            file.file_name().unwrap_or_default().display(),
            { String::from_utf8_lossy(&text) }
        );
    }
    Ok(all)
}

/// Whether somebody accepts connections there.
pub(super) fn listens(port: u16) -> bool {
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpStream::connect_timeout(&at, Duration::from_secs(1)).is_ok()
}

/// A block of ports that nobody uses and no other row of this run has.
fn free_block() -> anyhow::Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let blocks = (BASES.end - BASES.start) / PORTS;
    let first = u16::try_from(std::process::id() % u32::from(blocks))?;
    for _ in 0..blocks {
        let turn = NEXT.fetch_add(1, Ordering::Relaxed);
        let base = BASES.start + ((first + turn) % blocks) * PORTS;
        let is_free = |port: u16| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok();
        if (base..base + PORTS).all(is_free) {
            return Ok(base);
        }
    }
    bail!(
        "no {PORTS} free ports between {} and {}",
        BASES.start,
        BASES.end
    )
}
