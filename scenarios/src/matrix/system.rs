//! The program as a node of a system: an upgrade server, its agent, a member that calls, and the versions that are published.

use super::programs::Probe;
use super::stage::{MEMBER, NODE, Stage};
use crate::demo::place::copy_tree;
use anyhow::{Context, bail};
use harness::{Commands, ERRAND_RUNNER, Errand, NodeOptions, done, is_settled};
use model::api::{ChildState, NodeStatus, Phase, SystemView};
use model::ids::Version;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The class and node of the program, the one that calls, and the one that is called.
const PROGRAM: &str = "program";
const CALLER: &str = "caller";
const ORIGIN: &str = "origin";

/// How long a member's conversation may take.
const CONVERSATION_LIMIT: Duration = Duration::from_secs(120);

/// How often the server is asked how the node is: a process each time, beside callers and the program.
const ASKED_EVERY: Duration = Duration::from_millis(150);

/// What becomes of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It serves.
    Serves,
    /// It listens, but its health is never seen.
    NeverHealthy,
    /// It ends at once.
    Ends,
}

/// The system; the stage ends its processes.
pub(super) struct MatrixSystem<'a> {
    pub(super) stage: &'a Stage<'a>,
    upstart: PathBuf,
    commands: Commands,
    /// The newest version that was published.
    version: u32,
    /// The version at which the program's node is, and from which the next one starts.
    settled: u32,
}

impl<'a> MatrixSystem<'a> {
    /// Nothing runs yet.
    pub(super) fn new(stage: &'a Stage<'a>, upstart: &Path) -> Self {
        Self {
            stage,
            upstart: upstart.to_owned(),
            commands: Commands {
                server: format!("https://127.0.0.1:{}", stage.server_port()),
                token_file: None,
                keys: stage.root.join("keys"),
            },
            version: 0,
            settled: 0,
        }
    }

    /// Starts the server, publishes version 1, starts the nodes and waits until they serve.
    pub(super) fn start(&mut self) -> anyhow::Result<()> {
        let stage = self.stage;
        let at = format!("127.0.0.1:{}", stage.server_port());
        let data = stage.root.join("server");
        let mut server = self.commands.serve(self.upstart(), &at, &data);
        stage.start("server", &mut server)?;
        stage.until("the upgrade server", Duration::from_secs(30), || {
            self.view().is_ok()
        })?;
        stage.outside_origin()?;
        self.publish(Fate::Serves)?;
        self.agent(NodeOptions::of(CALLER, CALLER))?;
        if stage.program.origin {
            self.agent(NodeOptions::of(ORIGIN, ORIGIN))?;
        }
        self.agent(self.with_ports(NodeOptions::of(PROGRAM, PROGRAM)))?;
        let patience = Duration::from_secs(stage.program.patience_s + 10);
        self.wait("version 1 to serve", patience, |status| {
            is_settled(status) || status.phase == Phase::Blocked
        })?;
        let status = self.status()?;
        if status.phase == Phase::Blocked {
            bail!("the node is {}", told(&status));
        }
        self.settled = 1;
        stage.until("the members", patience, || {
            self.view().is_ok_and(|view| {
                view.nodes
                    .iter()
                    .all(|node| is_settled(&node.report.status))
            })
        })?;
        Ok(())
    }

    /// The program's node, told where its services are.
    fn with_ports(&self, node: NodeOptions) -> NodeOptions {
        let node = node.variable("port", self.stage.port(NODE));
        let services = (1..).zip(&self.stage.program.services);
        services.fold(node, |node, (number, service)| {
            node.variable(service, self.stage.port(NODE) + number)
        })
    }

    fn agent(&self, node: NodeOptions) -> anyhow::Result<()> {
        let data = self.data(&node.name);
        let node = node.poll_ms(100).passed("ROW");
        let mut command = self.commands.agent(self.upstart(), &node, &data);
        self.stage.start(&node.name, &mut command)
    }

    /// A node's data directory.
    fn data(&self, node: &str) -> PathBuf {
        self.stage.root.join(node)
    }

    /// The program's state.
    pub(super) fn state(&self) -> PathBuf {
        self.data(PROGRAM).join("current")
    }

    fn upstart(&self) -> Command {
        let mut upstart = Command::new(&self.upstart);
        upstart
            .env("ROW", &self.stage.root)
            .env_remove("UPSTART_TOKEN")
            .env_remove("UPSTART_TOKEN_FILE")
            .stdin(Stdio::null());
        upstart
    }

    /// What a command that asks the server prints.
    fn asked(&self, question: &[&str]) -> anyhow::Result<String> {
        let output = self.commands.ask(self.upstart(), question).output();
        let output = output.context("cannot run upstart")?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn view(&self) -> anyhow::Result<SystemView> {
        self.commands
            .view(self.upstart())
            .map_err(anyhow::Error::msg)
    }

    fn status(&self) -> anyhow::Result<NodeStatus> {
        let view = self.view()?;
        let mut nodes = view.nodes.into_iter();
        let node = nodes.find(|node| node.name == PROGRAM);
        Ok(node.map(|node| node.report.status).unwrap_or_default())
    }

    /// Waits until the program's node is so.
    fn wait(
        &self,
        what: &str,
        limit: Duration,
        condition: impl Fn(&NodeStatus) -> bool,
    ) -> anyhow::Result<()> {
        let last = Instant::now() + limit;
        loop {
            let status = self.status();
            if let Ok(status) = &status
                && condition(status)
            {
                return Ok(());
            }
            if Instant::now() > last {
                let status = status?;
                bail!(
                    "waited {} s for {what}; the node is {}",
                    limit.as_secs(),
                    told(&status)
                );
            }
            std::thread::sleep(ASKED_EVERY);
        }
    }

    /// Publishes the next version; where the node did not arrive at the last one, a revision of that.
    fn publish(&mut self, fate: Fate) -> anyhow::Result<()> {
        let is_revision = self.version > self.settled;
        if !is_revision {
            self.version += 1;
        }
        let bundle = self.stage.root.join(format!("v{}", self.version));
        // Nothing of what it held before.
        let _ = fs::remove_dir_all(&bundle);
        let software = bundle.join("software");
        copy_tree(&self.stage.root.join("software"), &software)?;
        let words = "export SOFTWARE=\"${0%/*}\" STATE=\"$PWD\"\nexport BUILT=\"$SOFTWARE/built\"\nset -e\n";
        let body = match fate {
            Fate::Ends => "echo 'this version ends at once' >&2\nexit 3",
            Fate::Serves | Fate::NeverHealthy => &self.stage.program.start,
        };
        let start = self.stage.script(NODE, &format!("{words}{body}"));
        fs::write(software.join("start.sh"), start)?;
        if let Probe::Shell(shell) = &self.stage.program.probe {
            let probe = format!("export STATE=\"$PWD\"\n{shell}");
            fs::write(software.join("probe.sh"), self.stage.script(NODE, &probe))?;
        }
        fs::write(bundle.join("upgrade.toml"), self.upgrade_file(fate))?;
        let mut publish = self.commands.publish(self.upstart(), &bundle, is_revision);
        done(&mut publish).map(drop).map_err(anyhow::Error::msg)
    }

    /// How often the node has been blocked.
    fn blocked(&self) -> anyhow::Result<usize> {
        let question = ["events", "--node", PROGRAM, "--kind", "node.blocked"];
        Ok(self.asked(&question)?.lines().count())
    }

    /// An upgrade to a version of that fate; the error tells how the node ended up elsewhere.
    pub(super) fn upgrade(&mut self, fate: Fate) -> anyhow::Result<()> {
        let before = self.blocked()?;
        self.publish(fate)?;
        let wanted = Version(self.version);
        let patience = Duration::from_secs(self.stage.program.patience_s + 20);
        self.wait(&format!("version {wanted}"), patience, |status| {
            let is_blocked = status.phase == Phase::Blocked && status.child == ChildState::Running;
            is_settled(status) && status.version == wanted
                || is_blocked && self.blocked().is_ok_and(|times| times > before)
        })?;
        let status = self.status()?;
        let is_there = is_settled(&status);
        if is_there {
            self.settled = self.version;
        }
        if is_there != (fate == Fate::Serves) {
            let wanted = if is_there {
                "should be blocked"
            } else {
                "should have settled"
            };
            bail!("the node {wanted}, it is {}", told(&status));
        }
        Ok(())
    }

    /// The version that serves.
    pub(super) fn serving(&self) -> u32 {
        self.settled
    }

    fn upgrade_file(&self, fate: Fate) -> String {
        let program = self.stage.program;
        let mut text = format!("system = \"matrix\"\nversion = {}\n", self.version);
        if self.version > 1 {
            let _ = writeln!(text, "from = {}", self.settled);
        }
        text += "\n[settings]\nhold_ms = 120000\n\n[class.program.software]\npath = \"software\"\n";
        text += "command = [\"sh\", \"${software}/start.sh\"]\n";
        let _ = writeln!(text, "environment = {{ VERSION = \"{}\" }}", self.version);
        if let Some(user) = self.stage.user() {
            let _ = writeln!(text, "user = {user:?}");
        }
        let same = if self.version > 1 {
            "interface = \"same\"\n"
        } else {
            ""
        };
        let main = ("data".to_owned(), "port".to_owned(), program.protocol());
        let others = program
            .services
            .iter()
            .map(|name| (name.clone(), name.clone(), "raw"));
        for (name, variable, protocol) in std::iter::once(main).chain(others) {
            let _ = write!(
                text,
                "\n[class.program.service.{name}]\nport = \"vars.{variable}\"\nprotocol = \"{protocol}\"\n{same}"
            );
        }
        let _ = write!(
            text,
            "\n[class.program.lifecycle]\nprobe = {}\nstop_signal = \"{}\"\nstop_grace_ms = {}\n",
            self.probe(fate),
            program.stop_signal.as_deref().unwrap_or("TERM"),
            program.stop_grace_s * 1000
        );
        if self.version == 1 {
            text += &self.members();
        }
        text
    }

    fn probe(&self, fate: Fate) -> String {
        let program = self.stage.program;
        let limit = match fate {
            Fate::NeverHealthy => program.failing_s * 1000,
            Fate::Serves | Fate::Ends => program.patience_s * 1000,
        };
        let question = match (&program.probe, fate) {
            (_, Fate::NeverHealthy) => "command = [\"false\"]".to_owned(),
            (Probe::Tcp, _) => "tcp = \"data\"".to_owned(),
            (Probe::Page { http }, _) => format!("http = {http:?}, service = \"data\""),
            (Probe::Shell(_), _) => "command = [\"sh\", \"${software}/probe.sh\"]".to_owned(),
        };
        format!("{{ {question}, timeout_ms = {limit}, attempt_timeout_ms = 10000 }}")
    }

    /// The classes of the other members.
    fn members(&self) -> String {
        let mut text =
            format!("\n[class.caller.software]\ncommand = [\"sh\", \"-c\", {ERRAND_RUNNER:?}]\n");
        if self.stage.program.origin {
            let client = self.stage.workspace.root().join("matrix/client.py");
            let port = self.stage.port(NODE + MEMBER);
            let _ = write!(
                text,
                "\n[class.origin.software]\ncommand = [{:?}, {:?}, \"origin\", \"127.0.0.1\", \"{port}\"]\n\n\
                 [class.origin.service.web]\nport = {port}\nprotocol = \"http\"\n\n\
                 [class.origin.lifecycle]\nprobe = {{ http = \"/\", service = \"web\" }}\n",
                super::install::interpreter(),
                client.display().to_string(),
            );
        }
        text
    }

    /// Runs a script at the member that calls; everything that it printed.
    pub(super) fn run_at_member(&self, body: &str) -> anyhow::Result<String> {
        let state = self.data(CALLER).join("current");
        let job = self.stage.script(
            NODE,
            &format!(
                "exec 2>&1 < /dev/null\nexport STATE='{}'\n{body}",
                self.state().display()
            ),
        );
        let errand = Errand::begin(&state, &job)?;
        let mut end = None;
        self.stage
            .until("the member's conversation", CONVERSATION_LIMIT, || {
                end = errand.end();
                end.is_some()
            })?;
        Ok(end.map(|end| end.output).unwrap_or_default())
    }

    /// Ends everything, and tells what the product left running.
    pub(super) fn stop(&self) -> Vec<String> {
        for node in [PROGRAM, CALLER, ORIGIN] {
            self.stage.stop(node, Duration::from_secs(10));
            if self.data(node).join("journal").exists() {
                // What it could not end is found and named below.
                let _ = harness::stop(self.upstart(), &self.data(node)).output();
            }
        }
        self.stage.stop("server", Duration::from_secs(10));
        self.stage.stop("origin-3", Duration::from_secs(10));
        self.stage.clear()
    }

    /// What there is to see when something went wrong.
    pub(super) fn evidence(&self) -> String {
        let printed = |arguments: &[&str]| self.asked(arguments).unwrap_or_default();
        let own = self.stage.program.log.as_ref();
        let own = own.map(|name| self.stage.tail(format!("program/current/{name}")));
        format!(
            "--- the node\n{}--- events\n{}\n--- the software's log\n{}\n{}\n--- the agent's log\n{}\n",
            printed(&["nodes", PROGRAM]),
            last_lines(&printed(&["events", "--node", PROGRAM]), 12),
            self.stage.tail("program/output.log"),
            own.unwrap_or_default(),
            self.stage.tail("program.log"),
        )
    }
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

fn told(status: &NodeStatus) -> String {
    let target = status
        .target
        .map_or_else(String::new, |target| format!(" on the way to {target}"));
    let reason = status
        .reason
        .as_ref()
        .map_or_else(String::new, |reason| format!(": {reason}"));
    format!(
        "{:?} at version {}{target}, its software {:?}{reason}",
        status.phase, status.version, status.child
    )
}
