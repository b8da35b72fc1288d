//! The store's first version alone, without Upstart: what the machine and the checker say when nothing is upgraded.

use super::judge;
use super::outside::ClientProgram;
use super::place::Place;
use super::processes::Processes;
use super::summary::{Demands, Summary};
use super::tail::Tail;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

const CLIENTS: usize = 5;
const WORKERS: usize = 4;

/// What a bare run must reach.
pub const DEMANDS: Demands = Demands {
    calls: 5_000,
    writes: 1_000,
    cross_version: 0,
    two_steps: 0,
    resets_max: 0,
    live: 1,
    refusals: super::summary::Refusals::Never,
};

/// Starts everything, lets it work for some seconds, ends it, judges it.
pub fn run(place: &Place, processes: &Processes, example: &Path) -> anyhow::Result<Summary> {
    let began = Instant::now();
    let gateways = start_store(place, processes, example)?;
    let program = ClientProgram {
        programs: vec![example.join("v1/software/client.py")],
        modules: None,
        flag: "--gateways",
        history: place.folder("history")?,
        addresses: gateways.clone(),
        hosts: Arc::clone(&place.hosts),
        clients: CLIENTS,
        workers: WORKERS,
        pause_ms: 0,
        logs: place.folder("logs")?,
    };
    for number in 0..CLIENTS {
        program.start(processes, number, 1)?;
    }
    let mut tail = Tail::new(&program.history);
    let last = Instant::now() + Duration::from_secs(60);
    while Instant::now() < last && tail.look().writes < DEMANDS.writes * 2 {
        std::thread::sleep(Duration::from_millis(200));
        eprint!("\r{} calls", tail.look().calls);
    }
    eprintln!();
    for number in 0..CLIENTS {
        program.finish(processes, number)?;
    }
    let judged = judge::judge(&program.history, |key| {
        judge::final_read(1, key, &gateways[0])
    })?;
    judged
        .verdict
        .remarks
        .iter()
        .for_each(|remark| eprintln!("{remark}"));
    let mut summary = judged.summary("store", 5, vec![1]);
    summary.seconds = began.elapsed().as_secs();
    Ok(summary)
}

/// Three storage nodes and two gateways of version 1; the gateways' addresses.
fn start_store(
    place: &Place,
    processes: &Processes,
    example: &Path,
) -> anyhow::Result<Vec<String>> {
    let logs = place.folder("logs")?;
    let software = example.join("v1/software");
    let address = |port: u16| format!("127.0.0.1:{port}");
    let start = |name: String, program: &str, arguments: &[(&str, String)]| {
        let mut command = Command::new("python3");
        command
            .arg(software.join(program))
            .env("PYTHONDONTWRITEBYTECODE", "1");
        command.args(
            arguments
                .iter()
                .flat_map(|(flag, value)| [*flag, value.as_str()]),
        );
        processes.start(&name, &mut command, &logs.join(format!("{name}.log")))
    };
    let base = place.base;
    for number in 0..3 {
        let peers: Vec<String> = (0..3)
            .filter(|peer| *peer != number)
            .map(|peer| address(base + 10 + peer))
            .collect();
        let state = place.folder(&format!("state-{number}"))?;
        start(
            format!("storage-{number}"),
            "storage.py",
            &[
                ("--port", (base + number).to_string()),
                ("--repair-port", (base + 10 + number).to_string()),
                ("--peers", peers.join(",")),
                ("--state", state.display().to_string()),
            ],
        )?;
    }
    let storage: Vec<String> = (0..3).map(|number| address(base + number)).collect();
    let gateways = vec![base + 20, base + 21];
    for port in &gateways {
        let arguments = [
            ("--port", port.to_string()),
            ("--storage", storage.join(",")),
        ];
        start(format!("gateway-{port}"), "gateway.py", &arguments)?;
    }
    Ok(gateways.into_iter().map(address).collect())
}
