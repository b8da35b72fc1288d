//! Who is measured: the server alone, hops of proxies before it, and the server as a node whose callers are of other versions.

use super::forms::{self, SIZES, SOFTWARE};
use super::meter::Meter;
use super::report::{DIRECT, ENVOY, ENVOY_LUA, LENS1, LENS3, NGINX};
use super::upgrades::{Adapters, Callers};
use super::{hops, upgrades, workloads};
use crate::bench::Measuring;
use crate::bench::runner::Runner;
use crate::bench::stage::{Stage, words};
use anyhow::{Context, ensure};
use serde_json::Value;
use std::path::PathBuf;

/// Who is measured: where its load is made, where it is reached and at which version, and what is between.
#[derive(Clone, Debug)]
pub(in crate::bench) struct Contender {
    pub(in crate::bench) name: &'static str,
    pub(in crate::bench) runner: Runner,
    pub(in crate::bench) hop: Meter,
    version: usize,
    port: u16,
    /// Where the load program's scripts lie.
    scripts: PathBuf,
}

/// The load makers that are nodes: one adapter from the server, and three.
const CALLERS: [(&str, usize); 2] = [("far", 3), ("near", 1)];

/// Starts all that are wanted.
pub(super) fn start(options: &Measuring, stage: &Stage<'_>) -> anyhow::Result<Vec<Contender>> {
    let direct = direct(stage)?;
    let port = |number: u16| stage.place.base + number;
    let mut all = vec![direct.clone()];
    if options.wants("upstart") {
        let binary = stage.upstart(options)?;
        let hops = nodes(stage, binary, &direct, port(1), &Adapters::Lens, &CALLERS)?;
        let named = hops.into_iter().map(|(chain, hop)| Contender {
            name: if chain == 1 { LENS1 } else { LENS3 },
            ..hop
        });
        all.extend(named);
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
        all.push(envoy_lua(stage, &direct, port(4))?);
    }
    Ok(all)
}

/// Starts the server alone, and writes what load is made of.
pub(in crate::bench) fn direct(stage: &Stage<'_>) -> anyhow::Result<Contender> {
    let scripts = stage.place.folder("scripts")?;
    for version in 1..=SOFTWARE {
        for (size, bytes) in SIZES {
            let script = workloads::script(&forms::item(version, bytes));
            std::fs::write(scripts.join(format!("{size}-{version}.lua")), script)?;
        }
    }
    let port = stage.place.base;
    stage.nginx("direct-server", hops::server(SOFTWARE, port))?;
    stage.wait(&[port])?;
    Ok(Contender {
        name: DIRECT,
        runner: stage.direct_runner()?,
        hop: Meter::default(),
        version: SOFTWARE,
        port,
        scripts,
    })
}

/// Starts the Envoy that translates by script.
pub(in crate::bench) fn envoy_lua(
    stage: &Stage<'_>,
    direct: &Contender,
    port: u16,
) -> anyhow::Result<Contender> {
    stage.envoy_with("envoy-lua-hop", hops::envoy_lua(port, direct.port))?;
    let hop = proxy(stage, ENVOY_LUA, "envoy-lua-hop", direct, port)?;
    Ok(Contender {
        version: SOFTWARE - 1,
        ..hop
    })
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

/// The server as a node, called by nodes of older versions: for each length of a chain what is called through it. The hop is the
/// node's agent.
pub(in crate::bench) fn nodes(
    stage: &Stage<'_>,
    binary: PathBuf,
    direct: &Contender,
    port: u16,
    adapters: &Adapters,
    callers: &Callers,
) -> anyhow::Result<Vec<(usize, Contender)>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(upgrades::start(stage, binary, port, adapters, callers))?;
    let agent = stage
        .processes
        .pid(upgrades::SERVER)
        .context("it has ended")?;
    let contender = |(class, chain): &(&'static str, usize)| {
        let contender = Contender {
            runner: Runner {
                socket: upgrades::socket(stage, class),
            },
            hop: Meter::of(agent),
            version: SOFTWARE - chain,
            port,
            ..direct.clone()
        };
        (*chain, contender)
    };
    Ok(callers.iter().map(contender).collect())
}

impl Contender {
    /// Where it is called.
    pub(in crate::bench) fn url(&self, size: &str) -> String {
        let (port, prefix) = (self.port, forms::prefix(self.version));
        format!("http://127.0.0.1:{port}{prefix}items/{size}")
    }

    /// What the load program runs.
    pub(in crate::bench) fn script(&self, size: &str) -> String {
        let file = format!("{size}-{}.lua", self.version);
        self.scripts.join(file).display().to_string()
    }

    /// Makes one call and looks whether both messages arrive in the form that they should have: the server shows in a
    /// header what it received.
    pub(in crate::bench) fn check(&self) -> anyhow::Result<()> {
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
