//! A node without an agent: a member table, counters, and a holder of a few lines, in the test's own process.

pub(crate) mod dial;
pub(crate) mod holder;
pub(crate) mod namespace;

use holder::Holder;
use intercept::environment;
use intercept::stats::{Counter, StatsFile, StatsSnapshot};
use intercept::table::{Table, TableFile, TableService};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// The system of every test.
pub(crate) const SYSTEM: u64 = 7;
/// The agent's key of every test.
pub(crate) const AGENT_KEY: [u8; 16] = *b"the agent's key.";
/// How long anything may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// One node's files and its holder.
pub(crate) struct Node {
    /// Its own folder.
    pub(crate) folder: tempfile::TempDir,
    /// Its holder.
    pub(crate) holder: Holder,
    table: TableFile,
    stats: StatsFile,
}

impl Node {
    /// A node that goes by this table.
    pub(crate) fn new(table: &Table) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut file = TableFile::open(&folder.path().join("table")).expect("a table file");
        file.publish(table).expect("published");
        let stats = StatsFile::open(&folder.path().join("stats")).expect("a stats file");
        open_to_all(folder.path());
        Self {
            holder: Holder::start(),
            folder,
            table: file,
            stats,
        }
    }

    /// Puts another table in force.
    pub(crate) fn publish(&mut self, table: &Table) {
        self.table.publish(table).expect("published");
    }

    /// The environment that puts a program under the library.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        vec![
            (environment::PRELOAD, library().display().to_string()),
            (environment::TABLE, path("table")),
            (environment::STATS, path("stats")),
            (environment::HOLDER, self.holder.name().to_owned()),
        ]
    }

    /// Puts this command under the library.
    pub(crate) fn preload<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.envs(self.environment())
    }

    /// The counters now.
    pub(crate) fn stats(&self) -> StatsSnapshot {
        self.stats.read().expect("the counters")
    }

    /// One counter now.
    pub(crate) fn count(&self, counter: Counter) -> u64 {
        self.stats().get(counter)
    }

    /// All counters that are not zero, for messages.
    pub(crate) fn counters(&self) -> String {
        let named: Vec<_> = self
            .stats()
            .named()
            .map(|(name, count)| format!("{name}={count}"))
            .collect();
        named.join(" ")
    }
}

/// A table of version 2 for services at these ports of this host, all of one interface with versions 1 and 2, with the
/// host's own addresses as members.
pub(crate) fn table(ports: &[u16]) -> Table {
    let hosts: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let services = ports.iter().map(|port| TableService {
        port: *port,
        kept: false,
        unsure: false,
        public_direct: true,
        callers_begin: false,
        versions: vec![1, 2],
    });
    let endpoints = ports
        .iter()
        .flat_map(|port| hosts.map(|ip| SocketAddr::new(ip, *port)));
    Table {
        system: SYSTEM,
        node: 1,
        version: 2,
        agent_lock: intercept::agent_key::lock_of(&AGENT_KEY),
        local_labels_prompt: true,
        services: services.collect(),
        endpoints: endpoints.collect(),
        sources: hosts.into(),
        ..Table::default()
    }
}

/// The library, which Cargo has built beside this test: an integration test's own library is built first.
pub(crate) fn library() -> PathBuf {
    let test = std::env::current_exe().expect("this program");
    let folder = test.parent().expect("its folder");
    let built = [
        folder.join("libupstart_preload.so"),
        folder.join("../libupstart_preload.so"),
    ];
    built
        .into_iter()
        .find(|path| path.is_file())
        .expect("libupstart_preload.so beside the test")
}

/// A port of this program's own range.
pub(crate) fn free_port() -> u16 {
    kit::free_port(20_000..25_000)
}

/// What the kernel of the thread's namespace has counted under this name.
pub(crate) fn kernel_count(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/net/netstat").expect("the counters");
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let mut words = || lines.next().expect("a line").split_whitespace();
    let (names, counts) = (words(), words());
    let mut found = names.zip(counts).filter(|(each, _)| *each == name);
    found.next().expect(name).1.parse().expect("a number")
}

/// Software that runs as another user must reach the files.
fn open_to_all(folder: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    for (path, mode) in [
        (folder.to_owned(), 0o755),
        (folder.join("table"), 0o644),
        (folder.join("stats"), 0o666),
    ] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("permissions");
    }
}
