//! How long a node is unavailable while it upgrades with a large state: on file systems that share blocks between copies
//! (reflink), and on one that does not.
//!
//! Each file system lies in a file and is mounted in a mount namespace of this program, so that nothing of it is left
//! when the program ends, however.

use super::Snapshot;
use super::figures::machine;
use super::stage::{end_on_signals, place};
use crate::demo::place::{Place, repository};
use crate::demo::processes::Processes;
use crate::demo::system::{DemoSystem, all_at};
use anyhow::{Context, bail};
use harness::NodeOptions;
use serde::Serialize;
use std::fs::File;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;
use xtask::install;
use xtask::workspace::{Profile, Workspace, run};

/// Set for the program that runs with mounts of its own.
const OWN_MOUNTS: &str = "UPSTART_BENCH_OWN_MOUNTS";

/// The room on a file system beside two copies of the state.
const ROOM_BYTES: u64 = 1 << 30;

/// How long one upgrade may take: a full copy of a large state on a slow disk.
const UPGRADE_LIMIT: Duration = Duration::from_secs(900);

/// How much is written at once.
const BLOCK_BYTES: usize = 1 << 20;

/// The report.
#[derive(Debug, Serialize)]
struct Report {
    machine: String,
    rows: Vec<Row>,
}

/// One file system.
#[derive(Debug, Serialize)]
struct Row {
    file_system: &'static str,
    /// How much state was written before, for good.
    state_bytes: u64,
    /// How long calls were held.
    node_unavailable_ms: u64,
    /// How much more of the disk is used with both versions' states.
    disk_used_bytes: u64,
}

pub(super) fn run_all(options: &Snapshot) -> anyhow::Result<ExitCode> {
    if std::env::var_os(OWN_MOUNTS).is_none() {
        let mut again = Command::new("unshare");
        again
            .args(["--mount", "--propagation", "private"])
            .arg(std::env::current_exe()?)
            .args(std::env::args_os().skip(1))
            .env(OWN_MOUNTS, "1");
        return Err(again.exec())
            .context("cannot get mounts of its own; this benchmark needs root and `unshare`");
    }
    let workspace = Workspace::find()?;
    install::programs(&workspace)?;
    let binary = if options.dev {
        workspace.build(Profile::Dev)?
    } else {
        workspace.build(Profile::Release)?
    };
    let place = place("bench")?;
    let processes = Arc::new(Processes::default());
    end_on_signals(&processes, &place);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let gibibytes = |count: u64| count << 30;
    let cases = [
        ("xfs", gibibytes(options.gibibytes)),
        ("btrfs", gibibytes(options.gibibytes)),
        ("ext4", gibibytes(options.copied_gibibytes)),
    ];
    let mut rows = Vec::new();
    for (number, (kind, bytes)) in cases.into_iter().enumerate() {
        eprintln!("{kind}: {} GiB of state", bytes >> 30);
        let measured = runtime.block_on(measure(&place, &processes, &binary, kind, bytes, number));
        processes.end_below(&place.root);
        let unmounted = unmount(&run_folder(kind, &place).join("nodes").join(kind));
        rows.push(
            measured
                .with_context(|| format!("{kind}; see the logs in {}", place.root.display()))?,
        );
        unmounted?;
    }
    std::fs::remove_dir_all(&place.root)?;
    let report = Report {
        machine: machine(),
        rows,
    };
    eprint!("{}", table(&report));
    if options.json {
        println!("{}", serde_json::to_string(&report)?);
    }
    Ok(ExitCode::SUCCESS)
}

fn table(report: &Report) -> String {
    let mut text = format!(
        "{}\n{:<12}{:>10}{:>18}{:>14}\n",
        report.machine, "file system", "state", "unavailable", "disk used"
    );
    for row in &report.rows {
        text.push_str(&format!(
            "{:<12}{:>6} GiB{:>15} ms{:>10} MiB\n",
            row.file_system,
            row.state_bytes >> 30,
            row.node_unavailable_ms,
            row.disk_used_bytes >> 20,
        ));
    }
    text
}

/// Upgrades one node of the greeting example whose state is large.
async fn measure(
    place: &Place,
    processes: &Arc<Processes>,
    binary: &Path,
    kind: &'static str,
    bytes: u64,
    number: usize,
) -> anyhow::Result<Row> {
    let place = Place {
        root: run_folder(kind, place),
        base: place.base + u16::try_from(number)?,
        ..place.clone()
    };
    std::fs::create_dir_all(&place.root)?;
    let system = DemoSystem::start(&place, Arc::clone(processes), binary.to_owned()).await?;
    let data = system.data(kind);
    mount(kind, bytes, &data)?;
    let example = repository().join("examples/0-greeting");
    system.publish(&place.bundle(&example, "v1")?, false)?;
    let node = NodeOptions::of(kind, "greeter")
        .variable("port", place.base + 100)
        .poll_ms(100);
    system.start_agent(&node, None)?;
    let at = |version| {
        move |view: &model::api::SystemView| !view.nodes.is_empty() && all_at(view, &[], version)
    };
    system
        .wait("the node serves", Duration::from_secs(60), at(1))
        .await?;
    write_state(&data.join("current/large"), bytes)?;
    let before = free(&data)?;
    system.publish(&place.bundle(&example, "v2")?, false)?;
    system
        .wait("the node is upgraded", UPGRADE_LIMIT, at(2))
        .await?;
    let counted = |view: &model::api::SystemView| {
        view.nodes
            .iter()
            .find_map(|fact| fact.report.counters.get("unavailable_ms.2").copied())
    };
    let view = system
        .wait("the node tells how long", Duration::from_secs(60), |view| {
            counted(view).is_some()
        })
        .await?;
    let both = ["versions/1.1/state/large", "versions/2.1/state/large"];
    for copy in both {
        let found = std::fs::metadata(data.join(copy)).with_context(|| copy.to_owned())?;
        if found.len() != bytes {
            bail!("{copy} has {} bytes", found.len());
        }
    }
    let used = before.saturating_sub(free(&data)?);
    system.finish_software(kind)?;
    Ok(Row {
        file_system: kind,
        state_bytes: bytes,
        node_unavailable_ms: counted(&view).unwrap_or_default(),
        disk_used_bytes: used,
    })
}

/// Where the server and the node of one file system live.
fn run_folder(kind: &str, place: &Place) -> PathBuf {
    place.root.join(format!("run-{kind}"))
}

/// Makes a file system with room for two copies of the state, in a file that is gone with it.
fn mount(kind: &str, bytes: u64, at: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(at)?;
    let image = at.with_extension("image");
    File::create(&image)?.set_len(2 * bytes + ROOM_BYTES)?;
    let quiet: &[&str] = match kind {
        "ext4" => &["-q", "-F", "-m", "0"],
        _ => &["-q", "-f"],
    };
    run(Command::new(format!("/usr/sbin/mkfs.{kind}"))
        .args(quiet)
        .arg(&image))?;
    run(Command::new("mount")
        .args(["-t", kind, "-o", "loop"])
        .arg(&image)
        .arg(at))?;
    Ok(std::fs::remove_file(&image)?)
}

fn unmount(at: &Path) -> anyhow::Result<()> {
    if at.exists() {
        run(Command::new("umount").arg("--lazy").arg(at))
    } else {
        Ok(())
    }
}

/// Writes a state that is really there: no holes, nothing that compresses away, all of it on the disk.
fn write_state(path: &Path, bytes: u64) -> anyhow::Result<()> {
    let mut file = File::create(path)?;
    let mut block = vec![0u8; BLOCK_BYTES];
    let mut random: u64 = 0x9E37_79B9_7F4A_7C15;
    for _ in 0..bytes / BLOCK_BYTES as u64 {
        for word in block.chunks_exact_mut(8) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            word.copy_from_slice(&random.to_le_bytes());
        }
        file.write_all(&block)?;
    }
    Ok(file.sync_all()?)
}

fn free(path: &Path) -> anyhow::Result<u64> {
    // What was written or freed a moment ago is counted only when it is on the disk.
    rustix::fs::syncfs(File::open(path)?)?;
    let figures = rustix::fs::statvfs(path)?;
    Ok(figures.f_bavail * figures.f_frsize)
}
