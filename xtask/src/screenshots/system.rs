//! A small system that is upgraded: nodes of one class go one after the other, and the other class's new version fails.

use anyhow::{Context, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(120);

/// How often it is asked whether something is so.
const ASKED: Duration = Duration::from_millis(200);

/// Version 1.
const FIRST: &str = r#"
system = "store"
version = 1
description = "The first version"
[class.storage]
software = { command = ["sleep", "10000"] }
lifecycle.probe = { alive_ms = 200 }
[class.gateway]
software = { command = ["sleep", "10000"] }
lifecycle.probe = { alive_ms = 200 }
"#;

/// Version 2, whose gateways do not run.
const SECOND: &str = r#"
system = "store"
version = 2
from = 1
description = "Keys are strings now, and gateways speak TLS"
[class.storage]
software = { command = ["sleep", "10001"] }
lifecycle.probe = { alive_ms = 3000 }
schedule = { approval = true, max_unavailable = 1 }
[class.gateway]
software = { command = ["sh", "-c", "echo 'certificate: no such file'; exit 3"] }
lifecycle.probe = { alive_ms = 200 }
schedule = { approval = true, max_unavailable = 1 }
"#;

/// The nodes: the last one is away.
const NODES: [(&str, &str); 7] = [
    ("storage-1", "storage"),
    ("storage-2", "storage"),
    ("storage-3", "storage"),
    ("storage-4", "storage"),
    ("gateway-1", "gateway"),
    ("gateway-2", "gateway"),
    ("gateway-3", "gateway"),
];

/// A system with its server; it ends with this value.
pub(super) struct PicturedSystem {
    program: PathBuf,
    folder: tempfile::TempDir,
    /// Where the server listens.
    pub(super) address: String,
    running: Vec<Child>,
}

impl PicturedSystem {
    /// Starts the server and the nodes, at version 1.
    pub(super) fn start(program: &Path) -> anyhow::Result<Self> {
        let free = std::net::TcpListener::bind("127.0.0.1:0")?;
        let address = free.local_addr()?.to_string();
        drop(free);
        let mut system = Self {
            program: program.to_owned(),
            folder: tempfile::tempdir()?,
            address,
            running: Vec::new(),
        };
        let (data, listen) = (system.place("server"), system.address.clone());
        system.spawn(&["server", "--data", &data, "--listen", &listen])?;
        system.until("the server", |system| Ok(system.status().is_ok()))?;
        for (version, text) in [("v1", FIRST), ("v2", SECOND)] {
            std::fs::create_dir(system.folder.path().join(version))?;
            let file = system.folder.path().join(version).join("upgrade.toml");
            std::fs::write(file, text)?;
        }
        let first = system.place("v1");
        system.command(&["publish", &first])?;
        for (name, class) in NODES {
            let data = system.place(name);
            let wanted = ["agent", "--data", &data, "--name", name, "--class", class];
            system.spawn(&wanted)?;
        }
        system.until("the nodes", |system| {
            Ok(system.nodes(|node| node["report"]["status"]["phase"] == "settled")? == NODES.len())
        })?;
        Ok(system)
    }

    /// Publishes version 2, for which every node waits.
    pub(super) fn wait_for_approval(&mut self) -> anyhow::Result<()> {
        let second = self.place("v2");
        self.command(&["publish", &second])?;
        self.until("nodes that wait for approval", |system| {
            let waits = |node: &Value| {
                let reason = node["report"]["status"]["reason"].as_str();
                reason.is_some_and(|reason| reason.contains("waits for approval"))
            };
            Ok(system.nodes(waits)? == NODES.len())
        })
    }

    /// Approves it: pictures are taken while nodes are on the way.
    pub(super) fn approve(&mut self) -> anyhow::Result<()> {
        self.command(&["approve", "2"])?;
        self.until("a node at version 2", |system| {
            Ok(system.nodes(|node| node["report"]["status"]["version"] == 2)? > 0)
        })
    }

    /// Waits until the nodes of one class are there, and the other class's first one is back.
    pub(super) fn wait_for_the_end(&mut self) -> anyhow::Result<()> {
        self.until("all storage nodes at version 2", |system| {
            let there = |node: &Value| node["report"]["status"]["version"] == 2;
            let blocked = |node: &Value| node["report"]["status"]["phase"] == "blocked";
            Ok(system.nodes(there)? == 4 && system.nodes(blocked)? > 0)
        })
    }

    /// How many nodes are so.
    fn nodes(&self, is_so: impl Fn(&Value) -> bool) -> anyhow::Result<usize> {
        let status = self.status()?;
        let nodes = status["nodes"].as_array();
        Ok(nodes.map_or(0, |nodes| nodes.iter().filter(|node| is_so(node)).count()))
    }

    fn status(&self) -> anyhow::Result<Value> {
        let text = self.command(&["status", "--json"])?;
        serde_json::from_str(&text).context("the status is no JSON")
    }

    /// Runs a command to its end: what it prints.
    pub(super) fn command(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.prepared(arguments).output();
        let output = output.with_context(|| format!("cannot run upstart {arguments:?}"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("upstart {arguments:?} ended with {}: {said}", output.status);
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn spawn(&mut self, arguments: &[&str]) -> anyhow::Result<()> {
        let log = self
            .folder
            .path()
            .join(format!("{}.log", self.running.len()));
        let mut command = self.prepared(arguments);
        let command = command
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(log)?);
        let child = command.spawn();
        let child = child.with_context(|| format!("cannot run upstart {arguments:?}"))?;
        self.running.push(child);
        Ok(())
    }

    fn prepared(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env("UPSTART_SERVER", format!("https://{}", self.address))
            .env("HOME", self.folder.path())
            .env_remove("XDG_CONFIG_HOME")
            .current_dir(self.folder.path());
        command
    }

    fn place(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn until(
        &self,
        what: &str,
        is_so: impl Fn(&Self) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let end = Instant::now() + LIMIT;
        while !is_so(self)? {
            if Instant::now() > end {
                bail!("waited in vain for {what}");
            }
            std::thread::sleep(ASKED);
        }
        Ok(())
    }
}

impl Drop for PicturedSystem {
    fn drop(&mut self) {
        // The agents first: what they run would be started anew.
        for child in self.running.iter_mut().skip(1) {
            let _ = child.kill();
            let _ = child.wait();
        }
        for (name, _) in NODES {
            let data = self.place(name);
            let _ = self.command(&["stop", "--data", &data]);
        }
        if let Some(server) = self.running.first_mut() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}
