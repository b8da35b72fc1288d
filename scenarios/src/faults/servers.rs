//! The server is killed, away, rewound or another one, in the middle of what nodes do.

use super::scene::{Scene, waiting};
use super::{Ended, Fault, Recovery};
use harness::Boxes;
use model::api::Phase;
use std::time::Duration;

/// How long the server is away.
const AWAY: Duration = Duration::from_secs(4);

/// At rest and within an upgrade.
pub(super) fn faults() -> Vec<Fault> {
    vec![
        Fault::new(
            "the server is killed while the state is transformed",
            killed,
        )
        .quick(),
        Fault::new("the server is away from the stop to the release", away),
        Fault::new("the server is away while a node reboots", reboot).quick(),
        Fault::new("the server is killed as leave is given", leave),
    ]
}

fn slow() -> Boxes {
    Boxes::version(2).transform_argument("sleep_ms=1500")
}

fn killed() -> Ended {
    let mut scene = Scene::serving();
    scene.system.publish(&slow().bundle());
    scene.system.until_phase(&scene.node, Phase::Transforming);
    scene.system.server.restart();
    (Recovery::ByItself, scene.end_at(2))
}

fn away() -> Ended {
    let mut scene = Scene::serving();
    scene.system.publish(&slow().bundle());
    scene.system.until_phase(&scene.node, Phase::Transforming);
    scene.system.server.kill();
    std::thread::sleep(AWAY);
    scene.goes_on();
    scene.system.server.resume();
    (Recovery::ByItself, scene.end_at(2))
}

fn reboot() -> Ended {
    let mut scene = Scene::staged();
    scene.system.server.kill();
    scene.power_cut();
    scene.node.start_agent();
    scene.goes_on();
    scene.system.server.resume();
    scene.approve();
    (Recovery::ByItself, scene.end_at(2))
}

fn leave() -> Ended {
    let mut scene = Scene::serving();
    scene.stage(&waiting(2));
    scene.approve();
    scene.system.server.kill();
    std::thread::sleep(AWAY);
    scene.goes_on();
    scene.system.server.resume();
    (Recovery::ByItself, scene.end_at(2))
}
