//! Where a run lives: a directory of its own, a block of ports, copies of the bundles.

use super::hosts::Hosts;
use anyhow::{Context, bail};
use std::ffi::OsStr;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A run's directory and ports.
#[derive(Clone, Debug)]
pub struct Place {
    /// The run's directory; its path occurs in the command line or the environment of every process of the run.
    pub root: PathBuf,
    /// The first port of the run's block.
    pub base: u16,
    /// The hosts that its programs run on.
    pub hosts: Arc<Hosts>,
    /// How many servers there are.
    pub servers: u16,
    /// Several servers have a folder in common.
    pub has_shared_folder: bool,
    /// What every server is told besides the usual.
    pub server_arguments: Vec<String>,
    /// More variables of every server's environment.
    pub server_environment: Vec<(String, String)>,
    /// How long an order is repeated that no server takes: none is refused where no server is killed.
    pub order_limit: Duration,
    /// What every agent is told besides the usual.
    pub agent_arguments: Vec<String>,
}

/// The ports of a run: as many as an example's upgrade files use, with room.
const PORTS: u16 = 200;

/// Below the range from which the kernel gives out ports for outgoing connections.
const BASES: std::ops::Range<u16> = 20_000..32_000;

/// The port of the first upgrade server within the block; those of the others follow.
const SERVER: u16 = 190;

impl Place {
    /// Makes the directory and finds the ports.
    pub fn new() -> anyhow::Result<Self> {
        let root = std::env::temp_dir().join(format!("upstart-demo-{}", std::process::id()));
        fs::create_dir_all(&root).with_context(|| format!("cannot make {}", root.display()))?;
        Ok(Self {
            root,
            base: free_block()?,
            hosts: Arc::new(Hosts::loopback()),
            servers: 1,
            has_shared_folder: false,
            server_arguments: Vec::new(),
            server_environment: Vec::new(),
            order_limit: Duration::ZERO,
            agent_arguments: Vec::new(),
        })
    }

    /// A place for a second system of the same run, in a folder of the first one's.
    pub fn beside(other: &Self, name: &str) -> anyhow::Result<Self> {
        Ok(Self {
            root: other.folder(name)?,
            base: free_block()?,
            hosts: Arc::clone(&other.hosts),
            servers: other.servers,
            has_shared_folder: other.has_shared_folder,
            server_arguments: other.server_arguments.clone(),
            server_environment: other.server_environment.clone(),
            order_limit: other.order_limit,
            agent_arguments: other.agent_arguments.clone(),
        })
    }

    /// A folder in the run's directory, made if need be.
    pub fn folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.root.join(name);
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    }

    /// The program `upstart`, once it is built.
    pub fn program(&self) -> PathBuf {
        self.root.join("programs/upstart")
    }

    /// Where the upgrade server of that number listens, from 0.
    pub fn server_port(&self, number: u16) -> u16 {
        self.base + SERVER + number
    }

    /// Copies a bundle into the run's directory, without what Python leaves behind, and gives the copy's path.
    pub fn bundle(&self, example: &Path, name: &str) -> anyhow::Result<PathBuf> {
        let copy = self.root.join("bundles").join(name);
        copy_tree(&example.join(name), &copy)?;
        Ok(copy)
    }
}

/// The repository's own folder.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."))
        .to_owned()
}

fn free_block() -> anyhow::Result<u16> {
    let start = u16::try_from(std::process::id() % 50)? * PORTS;
    for turn in 0..50 {
        let base = BASES.start + (start + turn * PORTS) % (BASES.end - BASES.start);
        let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
        if (base..base + PORTS).all(|port| free(&port)) {
            return Ok(base);
        }
    }
    bail!(
        "no block of {PORTS} free ports between {} and {}",
        BASES.start,
        BASES.end
    )
}

/// Copies a folder with everything in it but `__pycache__`.
pub fn copy_tree(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    let entries = fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))?;
    for entry in entries {
        let entry = entry?;
        if entry.file_name() == OsStr::new("__pycache__") {
            continue;
        }
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)
                .with_context(|| format!("cannot write {}", target.display()))?;
        }
    }
    Ok(())
}
