//! A system of two nodes under real agents: one runs the server program, the other whatever a test calls it with.

use intercept::stats::{Counter, StatsSnapshot};
use kit::programs::{Running, printed, run};
use kit::wait_for;
use model::api::{ChildState, Phase, SystemView};
use network::Pair;
use std::ffi::OsStr;
use std::fmt::Write;
use std::fs::Permissions;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the caller's node runs: a command line at a time, from a file in its state.
const RUNNER: &str = "while :; do if [ -f job ]; then sh job > out 2> err; echo $? > code.new; rm job; \
                      mv code.new code; fi; sleep 0.02; done";

/// A node's place.
#[derive(Clone, Copy)]
enum Side {
    Servers,
    Callers,
}

/// The system; everything of it ends with the test.
pub(crate) struct System<'a> {
    folder: PathBuf,
    pair: Option<&'a Pair>,
    host: IpAddr,
    api: SocketAddr,
    processes: Vec<Running>,
}

impl<'a> System<'a> {
    /// Publishes a system whose server runs this command at this port, and starts both nodes.
    pub(crate) fn start(
        folder: &Path,
        pair: Option<&'a Pair>,
        at: SocketAddr,
        api_port: u16,
        server: (&Command, Option<&str>),
    ) -> Self {
        let api = SocketAddr::new(at.ip(), api_port);
        let mut system = Self {
            folder: folder.to_owned(),
            pair,
            host: at.ip(),
            api,
            processes: Vec::new(),
        };
        let token = folder.join("token");
        std::fs::write(&token, "a-token-of-this-test-only").expect("a token");
        std::fs::set_permissions(token, Permissions::from_mode(0o600)).expect("its mode");
        system.spawn(
            Side::Servers,
            &[
                "server",
                "--listen",
                &api.to_string(),
                "--data",
                &system.path("api"),
            ],
        );
        std::fs::create_dir(folder.join("bundle")).expect("a bundle");
        std::fs::write(folder.join("bundle/upgrade.toml"), upgrade_file(server))
            .expect("an upgrade file");
        let publish = ["publish", &system.path("bundle")];
        wait_for("the upgrade server", || {
            run(&mut system.upstart(Side::Servers, &publish))
                .status
                .success()
        });
        let port = format!("port={}", at.port());
        system.node(Side::Servers, "server", &["--var", &port]);
        system.node(Side::Callers, "caller", &[]);
        system
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn upstart(&self, side: Side, arguments: &[&str]) -> Command {
        let binary = env!("CARGO_BIN_EXE_upstart");
        let mut command = match (self.pair, side) {
            (Some(pair), Side::Servers) => pair.servers.command(binary),
            (Some(pair), Side::Callers) => pair.callers.command(binary),
            (None, _) => Command::new(binary),
        };
        command
            .env("UPSTART_KEYS", self.path("keys"))
            .args([
                "--server",
                &format!("http://{}", self.api),
                "--token-file",
                &self.path("token"),
            ])
            .args(arguments);
        command
    }

    fn spawn(&mut self, side: Side, arguments: &[&str]) {
        let process = Running::start(&mut self.upstart(side, arguments));
        self.processes.push(process);
    }

    fn node(&mut self, side: Side, class: &str, more: &[&str]) {
        let address = match (self.pair, side) {
            (Some(pair), Side::Callers) => {
                let [v4, v6] = pair.callers_at;
                if self.host.is_ipv4() { v4 } else { v6 }.to_string()
            }
            _ => self.host.to_string(),
        };
        let data = self.path(class);
        let node = [
            "agent",
            "--data",
            &data,
            "--name",
            class,
            "--class",
            class,
            "--address",
            &address,
            "--poll-ms",
            "100",
        ];
        self.spawn(side, &[&node[..], more].concat());
        wait_for(&format!("the node `{class}` to settle"), || {
            self.is_settled(class)
        });
    }

    fn is_settled(&self, name: &str) -> bool {
        let output = run(&mut self.upstart(Side::Servers, &["--json", "status"]));
        let Ok(view) = serde_json::from_slice::<SystemView>(&output.stdout) else {
            return false;
        };
        view.nodes
            .iter()
            .filter(|node| node.name == name)
            .any(|node| {
                let status = &node.report.status;
                status.phase == Phase::Settled && status.child == ChildState::Running
            })
    }

    /// Runs a command at the caller's node and returns whether it ended well, and what it printed.
    pub(crate) fn run(&self, job: &Command) -> (bool, String) {
        let state = self.folder.join("caller/current");
        let file = |name: &str| state.join(name);
        let _ = std::fs::remove_file(file("code"));
        std::fs::write(file("job.new"), format!("exec {}\n", shell(job))).expect("a job");
        std::fs::rename(file("job.new"), file("job")).expect("a job");
        wait_for(&format!("{:?}", job.get_program()), || {
            file("code").exists()
        });
        let read = |name: &str| std::fs::read_to_string(file(name)).unwrap_or_default();
        let good = read("code").trim() == "0";
        if !good {
            println!("{}", read("err"));
        }
        (good, read("out"))
    }

    /// The counters of the hooks in the server's and in the caller's node.
    pub(crate) fn counters(&self) -> [StatsSnapshot; 2] {
        ["server", "caller"]
            .map(|node| agent::shared::counted(&self.folder.join(node)).expect("counters"))
    }
}

impl Drop for System<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for node in ["server", "caller"] {
                let log = std::fs::read_to_string(self.folder.join(node).join("output.log"))
                    .unwrap_or_default();
                println!(
                    "--- {node}\n{}",
                    log.lines().rev().take(20).collect::<Vec<_>>().join("\n")
                );
            }
            println!("{}", printed(&mut self.upstart(Side::Servers, &["status"])));
        }
        // Agents first, then the software that outlives them.
        while let Some(process) = self.processes.pop() {
            drop(process);
        }
        for node in ["server", "caller"] {
            if self.folder.join(node).join("journal").exists() {
                let _ =
                    run(&mut self.upstart(Side::Servers, &["stop", "--data", &self.path(node)]));
            }
        }
    }
}

/// A counter that both nodes may have, for messages.
pub(crate) fn named(stats: &StatsSnapshot) -> String {
    stats
        .named()
        .fold(String::new(), |mut text, (name, count)| {
            let _ = write!(text, " {name}={count}");
            text
        })
}

/// What must not have happened to a member's connections at a member's service.
pub(crate) const NEVER: [Counter; 6] = [
    Counter::ConnectSlowPath,
    Counter::AcceptUnlabelled,
    Counter::HandOverFailed,
    Counter::HandOverForeign,
    Counter::HandOverPublic,
    Counter::LoadedWithoutTable,
];

fn upgrade_file((server, user): (&Command, Option<&str>)) -> String {
    let user = user.map_or_else(String::new, |user| format!("user = {user:?}"));
    let command: Vec<_> = words(server)
        .map(|word| format!("{:?}", word.to_string_lossy()))
        .collect();
    format!(
        r#"system = "matrix"
version = 1

[class.server.software]
command = [{}]
{user}

[class.server.service.data]
port = "vars.port"
protocol = "raw"

[class.server.lifecycle]
probe = {{ tcp = "data", timeout_ms = 60000 }}

[class.caller.software]
command = ["sh", "-c", {RUNNER:?}]
directory = "${{state}}"
"#,
        command.join(", ")
    )
}

fn words(command: &Command) -> impl Iterator<Item = &OsStr> {
    std::iter::once(command.get_program()).chain(command.get_args())
}

fn shell(command: &Command) -> String {
    words(command).fold(String::new(), |mut line, word| {
        let _ = write!(line, " '{}'", word.to_string_lossy().replace('\'', "'\\''"));
        line
    })
}
