//! Address translation: the storage nodes are one site behind a hop that leads chosen ports to them, the clients another
//! whose connections all carry their hop's address; between clients and gateways stands HAProxy, which passes bytes on.
//!
//! So what a gateway sees are the addresses of the balancer and of a hop, which are no members': they are declared as
//! networks whose labels are honoured, the balancer in the upgrade file and the hop to the agents.

use crate::demo::Ending;
use crate::demo::hosts::Hosts;
use crate::demo::place::Place;
use crate::demo::processes::Processes;
use crate::demo::store::{CLIENTS, GATEWAYS, STORAGE, Setting, Store, through_all_versions};
use crate::demo::summary::Demands;
use anyhow::{Context, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The load balancer's host, and its program.
const BALANCER: &str = "balancer";

/// The hop of the clients' site.
const CLIENT_HOP: &str = "client-hop";

/// The port of the balancer within the run's block.
const BALANCER_PORT: u16 = 180;

/// The gateway that callers reach only through the balancer; the other one is called directly too.
const BALANCED_ONLY: &str = "gateway-1";
const CALLED_DIRECTLY: &str = "gateway-2";

/// The two sites, the gateways between them, the balancer, and callers outside.
pub(super) fn lay_out(hosts: &mut Hosts, base: u16) -> anyhow::Result<()> {
    let mut storage = hosts.site("storage-hop")?;
    for number in 0..STORAGE {
        let host = storage.host()?;
        storage.lead(base + u16::try_from(number)?, &host)?;
        let hop = storage.hop.v4.into();
        hosts.insert(&format!("storage-{}", number + 1), host, Some(hop))?;
    }
    let mut clients = hosts.site(CLIENT_HOP)?;
    for number in 0..CLIENTS {
        let host = clients.host()?;
        hosts.insert(&format!("client-{}", number + 1), host, None)?;
    }
    for number in 0..GATEWAYS {
        hosts.add(&format!("gateway-{}", number + 1))?;
    }
    for name in super::outside().chain([BALANCER.to_owned()]) {
        hosts.add(&name)?;
    }
    Ok(())
}

/// What every agent is told: the clients' connections come from their hop.
pub(super) fn agent_arguments(hosts: &Hosts) -> Vec<String> {
    vec![
        "--network".to_owned(),
        hosts.address(CLIENT_HOP).to_string(),
    ]
}

/// Runs the store in it.
pub(super) async fn run(
    place: &Place,
    processes: Arc<Processes>,
    program: PathBuf,
    setting: Setting,
    demands: Demands,
) -> anyhow::Result<Ending> {
    let hosts = &place.hosts;
    let balancer = format!("{}:{}", hosts.address(BALANCER), place.base + BALANCER_PORT);
    start_balancer(place, &processes, &balancer)?;
    let direct = format!("{}:{}", hosts.address(CALLED_DIRECTLY), place.base + 21);
    let setting = Setting {
        callers_use: Some(vec![balancer.clone(), direct]),
        variables: vec![
            ("balancer", balancer),
            ("balancer_host", hosts.address(BALANCER).to_string()),
        ],
        change: Some(declare_balancer),
        ..setting
    };
    let store = Store::prepare_in(place, processes, program, setting).await?;
    store.start(|_| None).await?;
    let mut ending = through_all_versions(&store, demands).await?;
    let dishonoured = store.watcher.count("reset.label_not_honoured");
    if dishonoured > 0 {
        let what = "connections of members were reset because their label was not honoured";
        ending.shortcomings.push(format!("{dishonoured} {what}"));
    }
    let behind_balancer = store.watcher.crossed_at(BALANCED_ONLY);
    store.watcher.say(&format!(
        "{behind_balancer} calls across versions went through the balancer"
    ));
    if behind_balancer == 0 {
        let what = "not one call across versions went through the balancer";
        ending.shortcomings.push(what.to_owned());
    }
    Ok(ending)
}

fn start_balancer(place: &Place, processes: &Processes, at: &str) -> anyhow::Result<()> {
    let folder = place.folder(BALANCER)?;
    let servers: String = (0..GATEWAYS)
        .map(|number| {
            let name = format!("gateway-{}", number + 1);
            let address = place.hosts.address(&name);
            let port = usize::from(place.base) + 20 + number;
            format!("    server {name} {address}:{port} check inter 500ms\n")
        })
        .collect();
    let file = folder.join("haproxy.cfg");
    let text = format!(
        "defaults\n    mode tcp\n    timeout connect 5s\n    timeout client 2m\n    timeout server 2m\n\
         listen front\n    bind {at}\n    balance roundrobin\n{servers}"
    );
    fs::write(&file, text)?;
    let programs = [
        "/usr/sbin/haproxy",
        "/usr/bin/haproxy",
        "/usr/local/sbin/haproxy",
    ];
    let Some(program) = programs.into_iter().find(|path| Path::new(path).is_file()) else {
        bail!("haproxy is not installed; install Debian's package haproxy");
    };
    let mut command = place.hosts.command(BALANCER, program);
    command.arg("-db").arg("-f").arg(&file);
    processes.start(BALANCER, &mut command, &folder.join("haproxy.log"))
}

/// What an operator writes into the upgrade file: callers reach the gateways at the balancer too, and come from it.
fn declare_balancer(bundle: &Path) -> anyhow::Result<()> {
    let file = bundle.join("upgrade.toml");
    let text = fs::read_to_string(&file)?;
    let head = "[class.gateway.service.front]\n";
    let (before, after) = text
        .split_once(head)
        .context("the gateways' service is not where it was")?;
    let lines = "advertise = [\"${vars.balancer}\"]\nnetworks = [\"${vars.balancer_host}\"]\n";
    fs::write(&file, format!("{before}{head}{lines}{after}"))?;
    Ok(())
}
