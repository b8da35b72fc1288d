//! Starts what is compared: the bare servers, the sidecars before them, and the same servers as nodes under Upstart.

use super::nginx;
use super::report::DIRECT;
use super::runner::{self, Runner};
use super::sidecars::{self, Hop, hops};
use super::workloads::{Ports, program};
use crate::demo::place::Place;
use crate::demo::processes::Processes;
use crate::demo::system::{Node, System, all_at};
use anyhow::{Context, bail};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Who is measured: where its load is made, and where it is reached.
#[derive(Clone, Debug)]
pub(super) struct Contender {
    pub(super) name: String,
    pub(super) runner: Runner,
    pub(super) ports: Ports,
}

/// How long a program may take to listen.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Everything that is started lies in one place and ends with one list.
pub(super) struct Stage<'a> {
    pub(super) place: &'a Place,
    pub(super) processes: &'a Arc<Processes>,
}

impl Stage<'_> {
    /// The bare servers and a bare runner.
    pub(super) fn direct(&self) -> anyhow::Result<Contender> {
        let ports = self.ports(0);
        let redis = program("redis-server")?;
        let mut command = Command::new(redis);
        command.args(["--port", &ports.redis.to_string(), "--bind", "127.0.0.1"]);
        command
            .args(["--save", "", "--appendonly", "no"])
            .current_dir(self.place.folder("redis")?);
        self.start("direct-redis", &command)?;
        let folder = self.place.folder("nginx")?;
        let file = folder.join("nginx.conf");
        std::fs::write(&file, nginx::configuration(ports.http))?;
        let mut command = Command::new(program("nginx")?);
        command
            .arg("-c")
            .arg(file)
            .arg("-p")
            .arg(&folder)
            .current_dir(folder);
        self.start("direct-nginx", &command)?;
        let socket = self.place.root.join("direct.sock");
        let source = self.place.root.join(runner::FILE);
        std::fs::write(&source, runner::SOURCE)?;
        self.start(
            "direct-runner",
            Command::new("python3").arg(source).arg(&socket),
        )?;
        self.wait(ports)?;
        Ok(Contender {
            name: DIRECT.to_owned(),
            runner: Runner { socket },
            ports,
        })
    }

    /// Two Envoys between the bare runner and the bare servers.
    pub(super) fn envoy(
        &self,
        direct: &Contender,
        environment: &Path,
    ) -> anyhow::Result<Contender> {
        let binary = environment.join("bin/envoy");
        let start = |name: &str, hops: &[Hop]| -> anyhow::Result<()> {
            let file = self.place.root.join(format!("{name}.json"));
            std::fs::write(&file, sidecars::envoy(hops))?;
            let mut command = Command::new(&binary);
            command.args([
                "--concurrency",
                "1",
                "--log-level",
                "error",
                "--disable-hot-restart",
            ]);
            self.start(name, command.arg("--config-path").arg(file))
        };
        self.sidecars("envoy", direct, [1, 2], start)
    }

    /// Two HAProxies between the bare runner and the bare servers.
    pub(super) fn haproxy(&self, direct: &Contender) -> anyhow::Result<Contender> {
        let binary = program("haproxy")?;
        let start = |name: &str, hops: &[Hop]| -> anyhow::Result<()> {
            let file = self.place.root.join(format!("{name}.cfg"));
            std::fs::write(&file, sidecars::haproxy(hops))?;
            self.start(name, Command::new(&binary).arg("-db").arg("-f").arg(file))
        };
        self.sidecars("haproxy", direct, [3, 4], start)
    }

    fn sidecars(
        &self,
        name: &str,
        direct: &Contender,
        blocks: [u16; 2],
        start: impl Fn(&str, &[Hop]) -> anyhow::Result<()>,
    ) -> anyhow::Result<Contender> {
        let [client_side, server_side] = blocks.map(|block| self.ports(block));
        start(
            &format!("{name}-server-side"),
            &hops(server_side, direct.ports),
        )?;
        start(
            &format!("{name}-client-side"),
            &hops(client_side, server_side),
        )?;
        self.wait(server_side)?;
        self.wait(client_side)?;
        Ok(Contender {
            name: name.to_owned(),
            ports: client_side,
            ..direct.clone()
        })
    }

    /// The same servers and a runner, each a node under its agent, all at one version.
    pub(super) async fn upstart(&self, binary: PathBuf) -> anyhow::Result<Contender> {
        let ports = self.ports(5);
        let socket = self.place.root.join("upstart.sock");
        let bundle = self.bundle(ports)?;
        let system = System::start(self.place, Arc::clone(self.processes), binary).await?;
        system.publish(&bundle, false)?;
        for class in ["redis", "web", "load"] {
            let variables = vec![("socket", socket.display().to_string())];
            let node = Node {
                name: class.to_owned(),
                class,
                variables,
                poll_ms: 2_000,
            };
            system.start_agent(&node, None)?;
        }
        let is_ready =
            |view: &model::api::SystemView| view.nodes.len() == 3 && all_at(view, &[], 1);
        system
            .wait("every node serves", START_LIMIT, is_ready)
            .await?;
        Ok(Contender {
            name: "upstart".to_owned(),
            runner: Runner { socket },
            ports,
        })
    }

    /// The upgrade that defines the benchmark's system.
    fn bundle(&self, ports: Ports) -> anyhow::Result<PathBuf> {
        let folder = self.place.folder("bundle")?;
        let software = folder.join("software");
        std::fs::create_dir_all(&software)?;
        std::fs::write(software.join(runner::FILE), runner::SOURCE)?;
        std::fs::write(
            software.join("nginx.conf"),
            nginx::configuration(ports.http),
        )?;
        let text = include_str!("upgrade.toml")
            .replace("REDIS_PORT", &ports.redis.to_string())
            .replace("HTTP_PORT", &ports.http.to_string())
            .replace("REDIS_SERVER", &program("redis-server")?)
            .replace("NGINX", &program("nginx")?);
        std::fs::write(folder.join("upgrade.toml"), text)?;
        Ok(folder)
    }

    fn ports(&self, block: u16) -> Ports {
        let first = self.place.base + 2 * block;
        Ports {
            redis: first,
            http: first + 1,
        }
    }

    /// Starts a program in a session of its own, as supervisors do and as holders start theirs: the kernel shares time
    /// out between sessions first.
    fn start(&self, name: &str, command: &Command) -> anyhow::Result<()> {
        let log = self.place.folder("logs")?.join(format!("{name}.log"));
        let mut own = Command::new("setsid");
        own.arg(command.get_program()).args(command.get_args());
        own.current_dir(command.get_current_dir().unwrap_or(&self.place.root));
        self.processes.start(name, &mut own, &log)
    }

    /// Waits until both ports answer.
    fn wait(&self, ports: Ports) -> anyhow::Result<()> {
        let end = Instant::now() + START_LIMIT;
        for port in [ports.redis, ports.http] {
            while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
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

/// Where the Python environment with Envoy lies, if it is there.
pub(super) fn envoy_environment(environment: PathBuf) -> anyhow::Result<PathBuf> {
    let is_there = environment.join("bin/envoy").exists();
    is_there
        .then_some(environment)
        .context("Envoy is not installed: run `cargo xtask test --install-only`")
}
