//! Disks that are full: below the data, the logs, the server. Where the software's own state lies there, it cannot store what it is
//! told either, and says so as it would bare.

use super::scene::{BROKEN, Scene, waiting};
use super::{Ended, Fault, Recovery};
use harness::{Disk, System, until};
use std::cell::RefCell;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

/// The size of a disk.
const MEBIBYTES: u64 = 128;

/// How long a full disk stays full where nothing is said by which to wait.
const FULL_FOR: Duration = Duration::from_secs(4);

/// What lies on a small disk of its own.
#[derive(Clone, Copy)]
enum Small {
    /// The node's data directory.
    Node,
    /// What the agent and the holder print.
    Log,
    /// The server's data directory.
    Server,
    /// What the server prints.
    ServerLog,
}

/// At rest, and before and within an upgrade.
pub(super) fn faults() -> Vec<Fault> {
    vec![
        Fault::new(
            "the node's disk is full when a version is to be fetched",
            fetching,
        )
        .quick(),
        Fault::new(
            "the node's disk is full when the state is to be copied",
            copying,
        ),
        Fault::new("the transform fills the node's disk", transforming),
        Fault::new(
            "the disk below the agent's log is full during an upgrade",
            || log(false),
        )
        .quick(),
        Fault::new(
            "the disk below the agent's log is full when it starts anew",
            || log(true),
        ),
        Fault::new("the server's disk is full during an upgrade", server).quick(),
        Fault::new("the disk below the server's log is full", server_log),
    ]
}

/// A system in which one thing lies on a small disk. The disk ends with it, after it.
fn with(small: Small) -> (Scene, Disk) {
    let disk = RefCell::new(None);
    let system = System::start_after(|folder| {
        let place = folder.join("disk");
        let made = Disk::mount("faults", "ext4", MEBIBYTES, &place);
        disk.replace(Some(made.expect("this machine can mount small disks")));
        let on_disk = |name: &str| {
            let target = place.join(name);
            symlink(&target, folder.join(name)).expect("linked");
            target
        };
        let folder_on_disk = |name: &str| std::fs::create_dir(on_disk(name)).expect("a folder");
        match small {
            Small::Node => folder_on_disk(BROKEN),
            Small::Log => drop(on_disk(&format!("{BROKEN}.log"))),
            Small::Server => folder_on_disk("server"),
            Small::ServerLog => drop(on_disk("server.log")),
        }
    });
    let scene = Scene::on(system, |options| options);
    (scene, disk.into_inner().expect("made"))
}

/// Bytes that a file system does not leave out, in a bundle.
fn ballast(mebibytes: usize) -> Vec<u8> {
    (0..mebibytes << 20)
        .map(|at| ((at * 31) >> 7) as u8 | 1)
        .collect()
}

fn fetching() -> Ended {
    let (mut scene, disk) = with(Small::Node);
    disk.fill("ballast");
    let second = waiting(2).bundle().file("software/large", ballast(2));
    scene.system.publish(&second);
    scene.until_told("no space left");
    disk.remove("ballast");
    scene.system.until_staged(&scene.node, 2);
    scene.call_at_two();
    scene.approve();
    let verdict = scene.end_at(2);
    (Recovery::ByItself, verdict)
}

fn copying() -> Ended {
    let (mut scene, disk) = with(Small::Node);
    // A state that does not fit beside what else there is.
    disk.write(&format!("{BROKEN}/versions/1.1/state/large"), 40 << 20);
    scene.stage(&waiting(2));
    disk.fill("ballast");
    scene.approve();
    scene.until_told("no space left");
    disk.remove("ballast");
    (Recovery::ByItself, scene.end_at(2))
}

fn transforming() -> Ended {
    let (mut scene, disk) = with(Small::Node);
    disk.write("ballast", 60 << 20);
    scene.stage(&waiting(2).transform_argument("fill=80"));
    scene.approve();
    scene.until_told("no space left");
    disk.remove("ballast");
    (Recovery::ByItself, scene.end_at(2))
}

fn log(anew: bool) -> Ended {
    let (mut scene, disk) = with(Small::Log);
    scene.stage(&waiting(2));
    disk.fill("ballast");
    if anew {
        scene.power_cut();
        scene.node.start_agent();
        scene.until_heard();
    }
    scene.approve();
    scene.until_settled(2);
    scene.goes_on();
    disk.remove("ballast");
    // What is to be said finds its way again.
    let log = disk.place.join(format!("{BROKEN}.log"));
    let before = length(&log);
    scene.node.end_agent();
    scene.node.start_agent();
    scene.until_heard();
    until("the agent to write to its log again", || {
        (length(&log) > before).then_some(())
    });
    (Recovery::ByItself, scene.end_at(2))
}

fn server() -> Ended {
    let (mut scene, disk) = with(Small::Server);
    scene.stage(&waiting(2));
    disk.fill("ballast");
    let refused = scene
        .system
        .try_ask(scene.system.client.approve(&super::scene::leave()));
    let error = refused.expect_err("nothing can be written");
    assert!(error.to_string().contains("full"), "{error}");
    scene.goes_on();
    disk.remove("ballast");
    scene.approve();
    (Recovery::ByItself, scene.end_at(2))
}

fn server_log() -> Ended {
    let (mut scene, disk) = with(Small::ServerLog);
    disk.fill("ballast");
    scene.stage(&waiting(2));
    scene.approve();
    std::thread::sleep(FULL_FOR);
    scene.until_settled(2);
    disk.remove("ballast");
    (Recovery::ByItself, scene.end_at(2))
}

fn length(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |found| found.len())
}
