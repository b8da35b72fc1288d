//! How long `upstart plan` takes for large fleets, and how near its prediction of a real upgrade is to what then happens.

use super::figures::{machine, rounded};
use super::stage::{end_on_signals, place};
use crate::demo::place::{Place, repository};
use crate::demo::processes::Processes;
use crate::demo::system::{DemoSystem, all_at};
use anyhow::{Context, bail};
use clap::Args;
use harness::NodeOptions;
use model::api::Event;
use serde::Serialize;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::{Duration, Instant};
use xtask::workspace::{Profile, Workspace};

/// How many nodes upgrade in earnest.
const REAL_NODES: u16 = 6;

/// How long one upgrade of them may take.
const UPGRADE_LIMIT: Duration = Duration::from_secs(240);

/// A transform that costs what the example's costs, and leaves the state as it is.
const SAME: &str = "import json\nimport os\n";

/// Groups of so many replicas.
const REPLICAS: u32 = 5;

/// Arguments of `cargo xtask bench plan`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Print the result as one line of JSON for each fleet on stdout
    #[arg(long)]
    json: bool,
    /// How many nodes, one plan after the other
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 100_000, 1_000_000])]
    nodes: Vec<u32>,
    /// Measure what `cargo xtask demo` runs, not a release build
    #[arg(long)]
    dev: bool,
    /// Measure this program, with its library beside it, and build nothing
    #[arg(long, value_name = "FILE", conflicts_with = "dev")]
    program: Option<PathBuf>,
}

/// One fleet.
#[derive(Debug, Serialize)]
struct Row {
    nodes: u32,
    /// How long the command took, from reading the fleet to its last word.
    seconds: f64,
    p50_s: f64,
    p90_s: f64,
    /// What was predicted of a real upgrade of a few nodes, as a share of what it took: the same for all rows.
    predicted_over_actual: f64,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let workspace = Workspace::find()?;
    let program = match (&options.program, options.dev) {
        (Some(program), _) => std::path::absolute(program)?,
        (None, true) => workspace.build(Profile::Dev)?,
        (None, false) => workspace.build(Profile::Release)?,
    };
    let place = place("bench")?;
    let processes = Arc::new(Processes::default());
    end_on_signals(&processes, &place);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let near = runtime.block_on(predicted_over_actual(&place, &processes, &program));
    processes.end_below(&place.root);
    let near = near.with_context(|| format!("see the logs in {}", place.root.display()))?;
    eprintln!("{}", machine());
    for nodes in &options.nodes {
        let row = large(&place, &program, *nodes, near)?;
        eprintln!(
            "{nodes} nodes: planned in {} s; the upgrade takes {} s (p50), {} s (p90); a real one was predicted at {} of what it took",
            row.seconds, row.p50_s, row.p90_s, row.predicted_over_actual
        );
        if options.json {
            println!("{}", serde_json::to_string(&row)?);
        }
    }
    std::fs::remove_dir_all(&place.root)?;
    Ok(ExitCode::SUCCESS)
}

/// Plans for a fleet that somebody has saved: replicas in groups, with a wave that goes first, and gateways after them.
fn large(place: &Place, program: &Path, nodes: u32, near: f64) -> anyhow::Result<Row> {
    let folder = place.folder("large")?;
    let mut texts = [
        "system = \"large\"\nversion = 1\n".to_owned(),
        "system = \"large\"\nversion = 2\nfrom = 1\n".to_owned(),
    ];
    for (class, schedule) in [
        (
            "replica",
            "{ max_unavailable = 1, group_by = \"group\", waves = [{ share = \"1%\", soak_ms = 600000 }] }",
        ),
        (
            "gateway",
            "{ max_unavailable = \"5%\", after = [\"replica\"] }",
        ),
    ] {
        let software = format!("[class.{class}.software]\ncommand = [\"true\"]\n");
        write!(texts[0], "{software}")?;
        write!(
            texts[1],
            "[class.{class}]\nschedule = {schedule}\n{software}"
        )?;
    }
    for (number, text) in texts.iter().enumerate() {
        let folder = folder.join(format!("v{}", number + 1));
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("upgrade.toml"), text)?;
    }
    let fleet = folder.join("fleet.json");
    std::fs::write(&fleet, saved_fleet(nodes)?)?;
    let mut command = Command::new(program);
    command.current_dir(&folder);
    command.args(["plan", "v2", "--after", "v1", "--json", "--fleet"]);
    command
        .arg(&fleet)
        .args(["--unavailable", "p50=20s,p90=60s"]);
    let begun = Instant::now();
    let plan = planned(&mut command)?;
    let seconds = begun.elapsed().as_secs_f64();
    Ok(Row {
        nodes,
        seconds: rounded(seconds),
        p50_s: rounded(plan.0),
        p90_s: rounded(plan.1),
        predicted_over_actual: rounded(near),
    })
}

fn saved_fleet(nodes: u32) -> anyhow::Result<String> {
    let mut text = String::from("{\"taken_at_ms\":1800000000000,\"nodes\":[");
    for number in 0..nodes {
        let class = if number % 10 == 0 {
            "gateway"
        } else {
            "replica"
        };
        let comma = if number == 0 { "" } else { "," };
        let group = number / REPLICAS;
        write!(
            text,
            "{comma}{{\"name\":\"{class}-{number}\",\"class\":\"{class}\",\"version\":1,\"attributes\":{{\"group\":\"{group}\"}}}}"
        )?;
    }
    text.push_str("]}\n");
    Ok(text)
}

/// Runs a plan; its p50 and p90 in seconds.
fn planned(command: &mut Command) -> anyhow::Result<(f64, f64)> {
    let output = harness::done(command).map_err(anyhow::Error::msg)?;
    let plan: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let seconds = |name: &str| {
        let ms = plan["end_ms"][name].as_f64();
        ms.map(|ms| ms / 1_000.0).context("the plan has no end")
    };
    Ok((seconds("p50_ms")?, seconds("p90_ms")?))
}

/// Upgrades a few nodes, so that their times are known; plans the next upgrade from the live fleet; and does it.
async fn predicted_over_actual(
    place: &Place,
    processes: &Arc<Processes>,
    program: &Path,
) -> anyhow::Result<f64> {
    let system = DemoSystem::start(place, Arc::clone(processes), program.to_owned()).await?;
    let example = repository().join("examples/0-greeting");
    system.publish(&place.bundle(&example, "v1")?, false)?;
    for number in 0..REAL_NODES {
        let node = NodeOptions::of(&format!("greeter-{number}"), "greeter")
            .variable("port", place.base + 100 + number);
        system.start_agent(&node, None)?;
    }
    let at = |version| {
        move |view: &model::api::SystemView| {
            view.nodes.len() == usize::from(REAL_NODES) && all_at(view, &[], version)
        }
    };
    system.wait("the nodes serve", UPGRADE_LIMIT, at(1)).await?;
    let second = place.bundle(&example, "v2")?;
    system.publish(&second, false)?;
    system
        .wait("the nodes are at version 2", UPGRADE_LIMIT, at(2))
        .await?;
    let third = third(place, &example)?;
    let third_shown = third.display().to_string();
    let mut command = system.asks(&["plan", "--json", &third_shown]);
    let (predicted_s, _) = planned(&mut command)?;
    system.publish(&third, false)?;
    system
        .wait("the nodes are at version 3", UPGRADE_LIMIT, at(3))
        .await?;
    let actual_s = actual_s(&system.events().await?)?;
    for number in 0..REAL_NODES {
        system.finish_software(&format!("greeter-{number}"))?;
    }
    eprintln!(
        "a real upgrade of {REAL_NODES} nodes: predicted {predicted_s:.1} s, took {actual_s:.1} s"
    );
    Ok(predicted_s / actual_s)
}

/// Another upgrade like the second: the same software, started anew over a copy of its state.
fn third(place: &Place, example: &Path) -> anyhow::Result<PathBuf> {
    let beside = Place {
        root: place.folder("third")?,
        ..place.clone()
    };
    let folder = beside.bundle(example, "v2")?;
    let file = folder.join("upgrade.toml");
    let text = std::fs::read_to_string(&file)?;
    let changed = text
        .replace("version = 2\nfrom = 1", "version = 3\nfrom = 2")
        .replace(
            "interface = \"changed\"\nadapter = \"lens.toml\"",
            "interface = \"same\"",
        )
        .replace("${bundle}/transform.py", "${bundle}/same.py");
    if changed.contains("lens.toml") || changed.contains("version = 2") {
        bail!("{} is not as this benchmark knows it", file.display());
    }
    std::fs::write(&file, changed)?;
    std::fs::write(folder.join("same.py"), SAME)?;
    std::fs::remove_file(folder.join("transform.py"))?;
    std::fs::remove_file(folder.join("lens.toml"))?;
    std::fs::remove_dir_all(folder.join("lens.conversations"))?;
    Ok(folder)
}

/// From the publication of version 3 to the last node that has settled there, by the server's clock.
fn actual_s(events: &[Event]) -> anyhow::Result<f64> {
    let of_third = |event: &&Event| event.version.is_some_and(|version| version.0 == 3);
    let of_third = events.iter().filter(of_third);
    let mut published = of_third
        .clone()
        .filter(|event| event.kind == "upgrade.published");
    let published = published.next().map(|event| event.at_ms);
    let settled = of_third.filter(|event| event.kind == "node.settled");
    let settled = settled.map(|event| event.at_ms).max();
    let (published, settled) = published
        .zip(settled)
        .context("the history does not tell")?;
    Ok(settled.saturating_sub(published) as f64 / 1_000.0)
}
