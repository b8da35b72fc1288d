//! Who is measured: the server alone, hops of proxies before it, and the server as a node whose callers are of other versions.

use super::forms::{self, SIZES, SOFTWARE};
use super::meter::Meter;
use super::report::{DIRECT, ENVOY, ENVOY_LUA, LENS1, LENS3, NGINX};
use super::{hops, upgrades, workloads};
use crate::bench::Measuring;
use crate::bench::runner::Runner;
use crate::bench::stage::{Stage, words};
use anyhow::{Context, ensure};
use serde_json::Value;
use std::path::PathBuf;

/// Who is measured: where its load is made, where it is reached and at which version, and what is between.
#[derive(Clone, Debug)]
pub(super) struct Contender {
    pub(super) name: &'static str,
    pub(super) runner: Runner,
    pub(super) hop: Meter,
    version: usize,
    port: u16,
    /// Where the load program's scripts lie.
    scripts: PathBuf,
}

/// Starts all that are wanted.
pub(super) fn start(options: &Measuring, stage: &Stage<'_>) -> anyhow::Result<Vec<Contender>> {
    let scripts = stage.place.folder("scripts")?;
    for version in 1..=SOFTWARE {
        for (size, bytes) in SIZES {
            let script = workloads::script(&forms::item(version, bytes));
            std::fs::write(scripts.join(format!("{size}-{version}.lua")), script)?;
        }
    }
    let port = |number: u16| stage.place.base + number;
    stage.nginx("direct-server", hops::server(SOFTWARE, port(0)))?;
    stage.wait(&[port(0)])?;
    let direct = Contender {
        name: DIRECT,
        runner: stage.direct_runner()?,
        hop: Meter::default(),
        version: SOFTWARE,
        port: port(0),
        scripts,
    };
    let mut all = vec![direct.clone()];
    if options.wants("upstart") {
        all.extend(lenses(options, stage, &direct, port(1))?);
    }
    if options.wants(NGINX) {
        stage.nginx("nginx-hop", hops::nginx(port(2), port(0)))?;
        all.push(proxy(stage, NGINX, "nginx-hop", &direct, port(2))?);
    }
    if options.wants(ENVOY) {
        stage.envoy_with("envoy-hop", hops::envoy(port(3), port(0)))?;
        all.push(proxy(stage, ENVOY, "envoy-hop", &direct, port(3))?);
    }
    if options.wants(ENVOY_LUA) {
        stage.envoy_with("envoy-lua-hop", hops::envoy_lua(port(4), port(0)))?;
        let hop = proxy(stage, ENVOY_LUA, "envoy-lua-hop", &direct, port(4))?;
        all.push(Contender {
            version: SOFTWARE - 1,
            ..hop
        });
    }
    Ok(all)
}

fn proxy(
    stage: &Stage<'_>,
    name: &'static str,
    process: &str,
    direct: &Contender,
    port: u16,
) -> anyhow::Result<Contender> {
    stage.wait(&[port])?;
    let pid = stage.processes.pid(process).context("it has ended")?;
    Ok(Contender {
        name,
        hop: Meter::with_children(pid)?,
        port,
        ..direct.clone()
    })
}

/// The server as a node, called by nodes of the version before and of three before. The hop is the node's agent.
fn lenses(
    options: &Measuring,
    stage: &Stage<'_>,
    direct: &Contender,
    port: u16,
) -> anyhow::Result<Vec<Contender>> {
    let binary = stage.upstart(options)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(upgrades::start(stage, binary, port))?;
    let agent = stage
        .processes
        .pid(upgrades::SERVER)
        .context("it has ended")?;
    let contender = |(class, version)| Contender {
        name: if version == 1 { LENS3 } else { LENS1 },
        runner: Runner {
            socket: upgrades::socket(stage, class),
        },
        hop: Meter::of(agent),
        version,
        port,
        ..direct.clone()
    };
    Ok(upgrades::CALLERS.into_iter().map(contender).collect())
}

impl Contender {
    /// Where it is called.
    pub(super) fn url(&self, size: &str) -> String {
        let (port, version) = (self.port, self.version);
        format!("http://127.0.0.1:{port}/v{version}/items/{size}")
    }

    /// What the load program runs.
    pub(super) fn script(&self, size: &str) -> String {
        let file = format!("{size}-{}.lua", self.version);
        self.scripts.join(file).display().to_string()
    }

    /// Makes one call and looks whether both messages arrive in the form that they should have: the server shows in a
    /// header what it received.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let (_, bytes) = SIZES[0];
        let (sent, url) = (forms::item(self.version, bytes), self.url("echo"));
        let json = "Content-Type: application/json";
        let command = ["curl", "-sS", "--fail", "-i", "-H", json, "-d", &sent, &url];
        let printed = self.runner.run(&words(&command))?;
        // The runner gives lines as Python reads them, without carriage returns.
        let (head, body) = printed
            .split_once("\n\n")
            .with_context(|| format!("no answer: {printed}"))?;
        let received = head
            .lines()
            .find_map(|line| {
                line.split_once(": ")
                    .filter(|(name, _)| name.eq_ignore_ascii_case("x-received"))
            })
            .with_context(|| format!("the server does not show what it received: {head}"))?
            .1;
        let same = |text: &str, version| -> anyhow::Result<bool> {
            let wanted: Value = serde_json::from_str(&forms::item(version, bytes))?;
            Ok(serde_json::from_str::<Value>(text)? == wanted)
        };
        ensure!(same(received, SOFTWARE)?, "the server received {received}");
        ensure!(same(body, self.version)?, "the caller received {body}");
        Ok(())
    }
}
