//! A process stands still (SIGSTOP, a debugger, a machine that is swapping) and goes on later.

use super::scene::{Scene, waiting};
use super::{Ended, Fault, Recovery};
use harness::{Boxes, Frozen, alive, pids_naming, until};
use model::api::Phase;
use std::time::Duration;

/// Longer than a node may be silent before the server counts it as unreachable, and than most calls are patient.
const STANDSTILL: Duration = Duration::from_secs(5);

/// Of each process, in the middle of an upgrade or at rest.
pub(super) fn faults() -> Vec<Fault> {
    vec![
        Fault::new(
            "the agent stands still while the state is transformed",
            agent,
        )
        .quick(),
        Fault::new("the transform stands still", transform),
        Fault::new(
            "the holder stands still when the software is to be stopped",
            holder,
        )
        .quick(),
        Fault::new(
            "the software stands still when it is to be stopped",
            software,
        ),
        Fault::new("the software stands still at rest", software_at_rest),
        Fault::new(
            "the server stands still while the state is transformed",
            server,
        )
        .quick(),
        Fault::new("everything of the node stands still", machine).quick(),
    ]
}

/// An upgrade whose transform takes long enough to be met in the middle.
fn slow() -> Boxes {
    Boxes::version(2).transform_argument("sleep_ms=2000")
}

fn transforming() -> Scene {
    let scene = Scene::serving();
    scene.system.publish(&slow().bundle());
    scene.system.until_phase(&scene.node, Phase::Transforming);
    scene
}

fn agent() -> Ended {
    let mut scene = transforming();
    let frozen = scene.node.freeze_agent();
    std::thread::sleep(STANDSTILL);
    drop(frozen);
    scene.until_settled(2);
    scene.call_at_two();
    (Recovery::ByItself, scene.end_at(2))
}

fn transform() -> Ended {
    let scene = transforming();
    let program = scene.data().join("versions/2.1");
    let pid = until("the transform to run", || {
        let running = pids_naming(&program).into_iter();
        running
            .filter(|pid| alive(*pid))
            .find(|pid| is_transform(*pid))
    });
    let frozen = Frozen::new(pid);
    std::thread::sleep(STANDSTILL);
    drop(frozen);
    (Recovery::ByItself, scene.end_at(2))
}

fn is_transform(pid: i32) -> bool {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).contains("transform.py")
}

fn holder() -> Ended {
    let scene = Scene::staged();
    let frozen = Frozen::new(scene.node.holder().expect("a holder runs"));
    scene.approve();
    // Somebody who looks is told what is waited for.
    scene.until_told("holder");
    drop(frozen);
    (Recovery::ByItself, scene.end_at(2))
}

fn software() -> Ended {
    let scene = Scene::staged();
    let frozen = scene.node.freeze_software();
    scene.approve();
    std::thread::sleep(STANDSTILL);
    drop(frozen);
    (Recovery::ByItself, scene.end_at(2))
}

fn software_at_rest() -> Ended {
    let scene = Scene::serving();
    let frozen = scene.node.freeze_software();
    std::thread::sleep(STANDSTILL);
    drop(frozen);
    (Recovery::ByItself, scene.end_at(1))
}

fn server() -> Ended {
    let scene = transforming();
    let pid = i32::try_from(scene.system.server.pid()).expect("a process id");
    let frozen = Frozen::new(pid);
    std::thread::sleep(STANDSTILL);
    drop(frozen);
    (Recovery::ByItself, scene.end_at(2))
}

fn machine() -> Ended {
    let mut scene = Scene::serving();
    scene.stage(&waiting(2));
    let agent = scene.node.freeze_agent();
    let others: Vec<Frozen> = pids_naming(&scene.data())
        .into_iter()
        .map(Frozen::new)
        .collect();
    std::thread::sleep(STANDSTILL);
    drop((agent, others));
    scene.goes_on();
    scene.approve();
    (Recovery::ByItself, scene.end_at(2))
}
