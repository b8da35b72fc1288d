//! Real json-servers of both versions, on data that can be put back.

use super::requests::Request;
use super::wire;
use anyhow::{Context, bail};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What is needed to start them.
pub(super) struct Versions {
    example: PathBuf,
    modules: PathBuf,
    folder: PathBuf,
}

/// A running server; ended when it goes out of scope.
pub(super) struct Server {
    child: Child,
    pub port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; either way nothing of it is left.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Versions {
    /// Lays out the first data of both versions, the second's by the example's own transform.
    pub(super) fn prepare(example: &Path, modules: &Path, folder: &Path) -> anyhow::Result<Self> {
        let states = ["v1", "v2"].map(|version| folder.join(version));
        for state in &states {
            // In production the software wants its folder of static files to be there.
            fs::create_dir_all(state.join("public"))?;
        }
        fs::copy(example.join("tests/db.json"), states[0].join("db.json"))?;
        let transform = Command::new("python3")
            .arg(example.join("v2/transform.py"))
            .env("UPSTART_OLD_STATE", &states[0])
            .env("UPSTART_NEW_STATE", &states[1])
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .status();
        if !transform.context("cannot run python3")?.success() {
            bail!("the transform failed");
        }
        Ok(Self {
            example: example.to_owned(),
            modules: modules.to_owned(),
            folder: folder.to_owned(),
        })
    }

    /// Starts a server of a version.
    pub(super) fn start(&self, version: u32, name: &str) -> anyhow::Result<Server> {
        let program = if version == 1 { "old.cjs" } else { "new.mjs" };
        let state = self.folder.join(format!("v{version}"));
        let log = fs::File::create(self.folder.join(format!("v{version}-{name}.log")))?;
        let mut child = Command::new("node")
            .arg(self.example.join("tests").join(program))
            .arg(self.modules.join(format!("v{version}/node_modules")))
            .arg(state.join("db.json"))
            .current_dir(&state)
            .env("NODE_ENV", "production")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .context("cannot run node")?;
        let output = child.stdout.take().context("no output")?;
        let mut server = Server { child, port: 0 };
        for line in BufReader::new(output).lines() {
            if let Some(port) = line?.strip_prefix("port ") {
                server.port = port.parse()?;
                return Ok(server);
            }
        }
        let folder = self.folder.display();
        bail!("json-server of version {version} does not start; see {folder}")
    }
}

impl Server {
    /// Puts the first data back.
    pub(super) fn reset(&self) -> anyhow::Result<()> {
        wire::ask(self.port, &Request::get("/__reset")).map(|_| ())
    }
}
