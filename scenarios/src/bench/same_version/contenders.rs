//! Starts what is compared: the bare servers, the sidecars before them, and the same servers as nodes under Upstart.

use super::nginx;
use super::report::DIRECT;
use super::sidecars::{self, Hop, hops};
use super::workloads::Places;
use crate::bench::runner::{self, Runner};
use crate::bench::stage::{START_LIMIT, Stage, program};
use crate::demo::system::{DemoSystem, all_at};
use harness::NodeOptions;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use xtask::workspace::run;

/// Who is measured: where its load is made, and where it is reached.
#[derive(Clone, Debug)]
pub(super) struct Contender {
    pub(super) name: String,
    pub(super) runner: Runner,
    pub(super) at: Places,
}

/// The bare servers and a bare runner.
pub(super) fn direct(stage: &Stage<'_>) -> anyhow::Result<Contender> {
    let at = places(stage, 0);
    let mut command = Command::new(program("redis-server")?);
    command.args(["--port", &at.redis.port().to_string()]);
    command.args(["--bind", &at.redis.ip().to_string()]);
    command
        .args(["--protected-mode", "no", "--save", "", "--appendonly", "no"])
        .current_dir(stage.place.folder("redis")?);
    stage.start("direct-redis", &command)?;
    stage.nginx("direct-nginx", nginx::configuration(at.http))?;
    let mut static_go = Command::new(static_go(stage)?);
    static_go.arg(at.static_go.to_string());
    stage.start("direct-static-go", &static_go)?;
    let runner = stage.direct_runner()?;
    stage.wait(&at.ports())?;
    Ok(Contender {
        name: DIRECT.to_owned(),
        runner,
        at,
    })
}

/// Two Envoys between the bare runner and the bare servers.
pub(super) fn envoy(stage: &Stage<'_>, direct: &Contender) -> anyhow::Result<Contender> {
    let start = |name: &str, hops: &[Hop]| stage.envoy_with(name, sidecars::envoy(hops));
    sidecars(stage, "envoy", direct, [1, 2], start)
}

/// Two HAProxies between the bare runner and the bare servers.
pub(super) fn haproxy(stage: &Stage<'_>, direct: &Contender) -> anyhow::Result<Contender> {
    let binary = program("haproxy")?;
    let start = |name: &str, hops: &[Hop]| -> anyhow::Result<()> {
        let file = stage.place.root.join(format!("{name}.cfg"));
        std::fs::write(&file, sidecars::haproxy(hops))?;
        stage.start(name, Command::new(&binary).arg("-db").arg("-f").arg(file))
    };
    sidecars(stage, "haproxy", direct, [3, 4], start)
}

fn sidecars(
    stage: &Stage<'_>,
    name: &str,
    direct: &Contender,
    blocks: [u16; 2],
    start: impl Fn(&str, &[Hop]) -> anyhow::Result<()>,
) -> anyhow::Result<Contender> {
    let [client_side, server_side] = blocks.map(|block| places(stage, block));
    start(
        &format!("{name}-server-side"),
        &hops(server_side, direct.at),
    )?;
    start(
        &format!("{name}-client-side"),
        &hops(client_side, server_side),
    )?;
    for side in [server_side, client_side] {
        stage.wait(&side.ports())?;
    }
    Ok(Contender {
        name: name.to_owned(),
        at: client_side,
        ..direct.clone()
    })
}

/// The same servers and a runner, each a node under its agent, all at one version.
pub(super) async fn upstart(stage: &Stage<'_>, binary: PathBuf) -> anyhow::Result<Contender> {
    let at = places(stage, 5);
    let socket = stage.place.root.join("upstart.sock");
    let bundle = bundle(stage, at)?;
    let system = DemoSystem::start(stage.place, Arc::clone(stage.processes), binary).await?;
    system.publish(&bundle, false)?;
    for class in ["redis", "web", "go", "load"] {
        let node = NodeOptions::of(class, class)
            .variable("socket", socket.display())
            .poll_ms(2_000);
        system.start_agent(&node, None)?;
    }
    let is_ready = |view: &model::api::SystemView| view.nodes.len() == 4 && all_at(view, &[], 1);
    system
        .wait("every node serves", START_LIMIT, is_ready)
        .await?;
    Ok(Contender {
        name: "upstart".to_owned(),
        runner: Runner { socket },
        at,
    })
}

/// The upgrade that defines the benchmark's system.
fn bundle(stage: &Stage<'_>, at: Places) -> anyhow::Result<PathBuf> {
    let folder = stage.place.folder("bundle")?;
    let software = folder.join("software");
    std::fs::create_dir_all(&software)?;
    std::fs::write(software.join(runner::FILE), runner::SOURCE)?;
    std::fs::write(software.join("nginx.conf"), nginx::configuration(at.http))?;
    std::fs::copy(static_go(stage)?, software.join("web"))?;
    let text = include_str!("upgrade.toml")
        .replace("HOST", &at.redis.ip().to_string())
        .replace("REDIS_PORT", &at.redis.port().to_string())
        .replace("HTTP_PORT", &at.http.port().to_string())
        .replace("GO_PORT", &at.static_go.port().to_string())
        .replace("REDIS_SERVER", &program("redis-server")?)
        .replace("NGINX", &program("nginx")?);
    std::fs::write(folder.join("upgrade.toml"), text)?;
    Ok(folder)
}

/// Builds the server that the library does not reach, once.
fn static_go(stage: &Stage<'_>) -> anyhow::Result<PathBuf> {
    let folder = stage.place.folder("static-go")?;
    let (source, built) = (folder.join("web.go"), folder.join("web"));
    if !built.exists() {
        std::fs::write(&source, include_str!("web.go"))?;
        let mut compiler = Command::new(program("go")?);
        compiler.env("CGO_ENABLED", "0").args(["build", "-o"]);
        run(compiler.arg(&built).arg(&source))?;
    }
    Ok(built)
}

impl Places {
    fn ports(&self) -> [u16; 3] {
        [self.redis, self.http, self.static_go].map(|at| at.port())
    }
}

fn places(stage: &Stage<'_>, block: u16) -> Places {
    let (host, first) = (stage.host(), stage.place.base + 3 * block);
    Places {
        redis: SocketAddr::new(host, first),
        http: SocketAddr::new(host, first + 1),
        static_go: SocketAddr::new(host, first + 2),
    }
}
