//! A system of two nodes under real agents: one runs the server program, the other whatever a test calls it with.

use harness::{Commands, ERRAND_RUNNER, Errand, NodeOptions, done, is_settled, write_token};
use intercept::stats::{Counter, StatsSnapshot};
use kit::programs::{Running, printed, run};
use kit::{until, until_ok, wait_for};
use network::Pair;
use std::ffi::OsStr;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A node's place.
#[derive(Clone, Copy)]
enum Side {
    Servers,
    Callers,
}

/// The system; everything of it ends with the test.
pub(crate) struct InterceptedSystem<'a> {
    folder: PathBuf,
    pair: Option<&'a Pair>,
    host: IpAddr,
    commands: Commands,
    processes: Vec<Running>,
}

impl<'a> InterceptedSystem<'a> {
    /// Publishes a system whose server runs this command at this port, and starts both nodes.
    pub(crate) fn start(
        folder: &Path,
        pair: Option<&'a Pair>,
        at: SocketAddr,
        api_port: u16,
        server: (&Command, Option<&str>),
    ) -> Self {
        let api = SocketAddr::new(at.ip(), api_port);
        let token_file = folder.join("token");
        let server_data = folder.join("api");
        write_token(&server_data, &token_file).expect("a token");
        let mut system = Self {
            folder: folder.to_owned(),
            pair,
            host: at.ip(),
            commands: Commands {
                server: format!("https://{api}"),
                token_file: Some(token_file),
                keys: folder.join("keys"),
            },
            processes: Vec::new(),
        };
        let upstart = system.upstart(Side::Servers);
        system.spawn(
            system
                .commands
                .serve(upstart, &api.to_string(), &server_data),
        );
        std::fs::create_dir(folder.join("bundle")).expect("a bundle");
        std::fs::write(folder.join("bundle/upgrade.toml"), upgrade_file(server))
            .expect("an upgrade file");
        let bundle = folder.join("bundle");
        until_ok("the upgrade server", || {
            let upstart = system.upstart(Side::Servers);
            done(&mut system.commands.publish(upstart, &bundle, false))
        });
        let server = NodeOptions::of("server", "server").variable("port", at.port());
        system.node(Side::Servers, server);
        system.node(Side::Callers, NodeOptions::of("caller", "caller"));
        system
    }

    fn upstart(&self, side: Side) -> Command {
        let binary = env!("CARGO_BIN_EXE_upstart");
        match (self.pair, side) {
            (Some(pair), Side::Servers) => pair.servers.command(binary),
            (Some(pair), Side::Callers) => pair.callers.command(binary),
            (None, _) => Command::new(binary),
        }
    }

    fn spawn(&mut self, mut command: Command) {
        self.processes.push(Running::start(&mut command));
    }

    fn node(&mut self, side: Side, mut options: NodeOptions) {
        let address = match (self.pair, side) {
            (Some(pair), Side::Callers) => {
                let [v4, v6] = pair.callers_at;
                if self.host.is_ipv4() { v4 } else { v6 }
            }
            _ => self.host,
        };
        options.addresses.push(address.to_string());
        let options = options.poll_ms(100);
        let data = self.folder.join(&options.name);
        let upstart = self.upstart(side);
        self.spawn(self.commands.agent(upstart, &options, &data));
        wait_for(&format!("the node `{}` to settle", options.name), || {
            let view = self.commands.view(self.upstart(Side::Servers));
            view.is_ok_and(|view| {
                let mut own = view.nodes.iter().filter(|node| node.name == options.name);
                own.any(|node| is_settled(&node.report.status))
            })
        });
    }

    /// Runs a command at the caller's node and returns whether it ended well, and what it printed.
    pub(crate) fn run(&self, job: &Command) -> (bool, String) {
        let state = self.folder.join("caller/current");
        let errand = Errand::begin(&state, &format!("exec {}\n", shell(job))).expect("a job");
        let what = format!("{:?}", job.get_program());
        let end = until(&what, || errand.end());
        if !end.is_good {
            println!("{}", end.errors);
        }
        (end.is_good, end.output)
    }

    /// The counters of the hooks in the server's and in the caller's node.
    pub(crate) fn counters(&self) -> [StatsSnapshot; 2] {
        ["server", "caller"]
            .map(|node| agent::shared::counted(&self.folder.join(node)).expect("counters"))
    }
}

impl Drop for InterceptedSystem<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for node in ["server", "caller"] {
                let log = self.folder.join(node).join("output.log");
                println!("--- {node}\n{}", kit::last_lines(&log, 20));
            }
            let upstart = self.upstart(Side::Servers);
            println!("{}", printed(&mut self.commands.ask(upstart, &["status"])));
        }
        // Agents first, then the software that outlives them.
        while let Some(process) = self.processes.pop() {
            drop(process);
        }
        for node in ["server", "caller"] {
            let data = self.folder.join(node);
            if data.join("journal").exists() {
                let _ = run(&mut harness::stop(self.upstart(Side::Servers), &data));
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
command = ["sh", "-c", {ERRAND_RUNNER:?}]
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
