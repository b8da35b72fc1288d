//! `--network KIND`: the store on hosts of their own, on an impaired network, behind address translation, or cut apart.

mod limits;
mod lossy;
mod nat;
mod partition;

use super::Ending;
use super::hosts::Hosts;
use super::outside::ClientProgram;
use super::place::Place;
use super::processes::Processes;
use super::store::{CLIENTS, DEMANDS, GATEWAYS, OUTSIDE, STORAGE, Setting};
use super::summary::Demands;
use clap::ValueEnum;
use std::path::PathBuf;
use std::sync::Arc;

/// What the network is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Packets are lost, delayed, and overtake each other; to some hosts none may carry data that opens a connection.
    Lossy,
    /// Single storage nodes and the server are cut off for a while, one of them in one direction only.
    Partition,
    /// Callers and callees are behind hops that translate addresses, and a load balancer stands between.
    Nat,
}

/// A short run, for the tests: how many times fewer calls it makes.
const HASTE: u64 = 5;

/// What the server is told besides the usual.
pub fn server_arguments(kind: Kind) -> Vec<String> {
    match kind {
        Kind::Partition => vec![
            "--reachable-ms".to_owned(),
            partition::REACHABLE_MS.to_string(),
        ],
        Kind::Lossy | Kind::Nat => Vec::new(),
    }
}

/// What every agent is told besides the usual.
pub fn agent_arguments(kind: Kind, hosts: &Hosts) -> Vec<String> {
    match kind {
        Kind::Nat => nat::agent_arguments(hosts),
        Kind::Lossy | Kind::Partition => Vec::new(),
    }
}

/// Makes the network for a run whose ports begin at `base`; the calling thread moves into it.
pub fn hosts(kind: Kind, base: u16) -> anyhow::Result<Hosts> {
    let mut hosts = Hosts::network()?;
    match kind {
        Kind::Nat => nat::lay_out(&mut hosts, base)?,
        Kind::Lossy | Kind::Partition => {
            for name in nodes().chain(outside()) {
                hosts.add(&name)?;
            }
        }
    }
    Ok(hosts)
}

/// The names of all nodes.
fn nodes() -> impl Iterator<Item = String> {
    let classes = [
        ("storage", STORAGE),
        ("gateway", GATEWAYS),
        ("client", CLIENTS),
    ];
    let of = |(class, count)| (1..=count).map(move |number| format!("{class}-{number}"));
    classes.into_iter().flat_map(of)
}

/// The names of the clients outside.
fn outside() -> impl Iterator<Item = String> {
    (CLIENTS..CLIENTS + OUTSIDE).map(ClientProgram::name)
}

/// Runs the store in it.
pub async fn run(
    kind: Kind,
    short: bool,
    place: &Place,
    processes: Arc<Processes>,
    program: PathBuf,
) -> anyhow::Result<Ending> {
    let haste = if short { HASTE } else { 1 };
    let setting = Setting {
        haste,
        ..Setting::default()
    };
    let demands = Demands {
        calls: DEMANDS.calls / haste,
        writes: DEMANDS.writes / haste,
        ..DEMANDS
    };
    match kind {
        Kind::Lossy => lossy::run(place, processes, program, setting, demands).await,
        Kind::Nat => nat::run(place, processes, program, setting, demands).await,
        Kind::Partition => {
            let demands = partition::demands(demands);
            partition::run(place, processes, program, setting, demands).await
        }
    }
}
