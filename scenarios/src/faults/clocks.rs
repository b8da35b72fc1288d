//! Clocks that jump, a day ahead or back, while an upgrade waits.

use super::scene::Scene;
use super::{Ended, Fault, Recovery};
use harness::Clock;

/// How far.
const DAY_MINUTES: i64 = 24 * 60;

/// Of each process, in each direction.
pub(super) fn faults() -> Vec<Fault> {
    let mut faults = Vec::new();
    for (minutes, direction) in [(DAY_MINUTES, "ahead"), (-DAY_MINUTES, "back")] {
        faults.push(
            Fault::new(
                format!("the node's clock jumps a day {direction}"),
                move || node(minutes),
            )
            .quick(),
        );
        faults.push(Fault::new(
            format!("the server's clock jumps a day {direction}"),
            move || server(minutes),
        ));
    }
    faults
}

fn clock(minutes: i64) -> Clock {
    assert!(
        Clock::can_be_wrong("faults"),
        "install Debian's package faketime"
    );
    Clock::minutes_ahead(minutes)
}

fn node(minutes: i64) -> Ended {
    let mut scene = Scene::staged();
    scene.node.kill_agent();
    scene.node.options.clock = clock(minutes);
    scene.node.start_agent();
    scene.approve();
    (Recovery::ByItself, scene.end_at(2))
}

fn server(minutes: i64) -> Ended {
    let mut scene = Scene::staged();
    scene.system.server.kill();
    scene.system.server.resume_at(clock(minutes));
    scene.approve();
    (Recovery::ByItself, scene.end_at(2))
}
