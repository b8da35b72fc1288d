//! Worse revisions: of a version at which nodes have settled, and in the middle of an upgrade.

use super::scene::{Scene, waiting};
use super::{Ended, Fault, Recovery};
use harness::Boxes;
use model::api::Phase;

/// Each time another part is worse.
pub(super) fn faults() -> Vec<Fault> {
    vec![
        Fault::new(
            "a revision that never starts reaches settled nodes, then a power cut",
            settled,
        )
        .quick(),
        Fault::new(
            "a revision that never starts while the state is transformed",
            transforming,
        ),
        Fault::new(
            "a revision that is never healthy while it is probed",
            probing,
        ),
    ]
}

/// Version 2, whose software ends at once.
fn broken() -> Boxes {
    waiting(2).arguments(&["--no-such-argument"])
}

fn settled() -> Ended {
    let mut scene = Scene::staged();
    scene.approve();
    scene.until_settled(2);
    scene.system.revise(&broken().bundle());
    scene.until_heard();
    scene.until_heard();
    scene.power_cut();
    scene.node.start_agent();
    scene.goes_on();
    scene.system.revise(&waiting(2).bundle());
    (Recovery::ByItself, scene.end_at(2))
}

fn transforming() -> Ended {
    let scene = Scene::serving();
    let slow = Boxes::version(2).transform_argument("sleep_ms=3000");
    scene.system.publish(&slow.bundle());
    scene.system.until_phase(&scene.node, Phase::Transforming);
    scene.system.revise(&broken().bundle());
    scene.until_heard();
    scene.goes_on();
    scene.system.revise(&Boxes::version(2).bundle());
    (Recovery::ByItself, scene.end_at(2))
}

fn probing() -> Ended {
    let scene = Scene::serving();
    let slow = Boxes::version(2).arguments(&["--start-delay-ms", "3000"]);
    scene.system.publish(&slow.bundle());
    scene.system.until_phase(&scene.node, Phase::Probing);
    let sick = Boxes::version(2).arguments(&["--unhealthy"]);
    scene.system.revise(&sick.bundle());
    scene.until_heard();
    scene.goes_on();
    scene.system.revise(&Boxes::version(2).bundle());
    (Recovery::ByItself, scene.end_at(2))
}
