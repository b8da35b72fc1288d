//! The power fails at a node, just before or just after each record of its journal has been acted on: agent, holder and software
//! end together.

use super::scene::{Scene, waiting};
use super::{Ended, Fault, Recovery};
use harness::{Boxes, NodeOptions, System};
use model::ids::Version;

/// Records on the way to a version that serves. The last of them is followed by nothing that is acted on.
const FORWARD: [&str; 6] = [
    "staged",
    "stopping",
    "transforming",
    "committed",
    "probing",
    "settled",
];
const LAST: &str = "released";

/// Records on the way back from a version that is never healthy.
const BACK: [&str; 2] = ["flipping_back", "blocked"];

/// At each record, and while nothing is under way.
pub(super) fn faults() -> Vec<Fault> {
    let mut faults = Vec::new();
    for when in ["before", "after"] {
        let mut add = |record: &'static str, run: fn(&str) -> Ended| {
            let point = format!("{record}:{when}");
            let told = match when {
                "before" => format!("power cut as `{record}` is written"),
                _ => format!("power cut when `{record}` is acted on"),
            };
            let fault = Fault::new(told, move || run(&point));
            // One of each pair.
            let is_quick = (when == "before") == (record.len().is_multiple_of(2));
            faults.push(if is_quick { fault.quick() } else { fault });
        };
        add("joining", joining);
        FORWARD.into_iter().for_each(|record| add(record, forward));
        BACK.into_iter().for_each(|record| add(record, back));
        add("unstaged", withdrawn);
    }
    faults.push(Fault::new("power cut as `released` is written", || {
        forward(&format!("{LAST}:before"))
    }));
    faults.push(Fault::new("power cut while nothing is under way", at_rest).quick());
    faults
}

fn joining(point: &str) -> Ended {
    let system = System::start();
    system.publish(&Boxes::version(1).bundle());
    let mut node = system.node(NodeOptions::new("c", system.port(3)).kill_at(point));
    node.until_agent_dies();
    node.end_below();
    node.options.kill_at = None;
    node.start_agent();
    system.until_settled(&node, 1);
    node.kill_agent();
    node.end_below();
    drop(node);
    // What joined after a power cut upgrades like any other.
    let mut scene = Scene::on(System::start(), |options| options);
    scene.stage(&Boxes::version(2));
    (Recovery::ByItself, scene.end_at(2))
}

/// Waits until the agent has killed itself at its point; the rest of the node ends with it, and the power comes back.
fn strike(scene: &mut Scene) {
    scene.node.until_agent_dies();
    scene.node.end_below();
    scene.node.options.kill_at = None;
    scene.node.start_agent();
}

fn forward(point: &str) -> Ended {
    let mut scene = Scene::serving();
    scene.arm(point);
    scene.system.publish(&Boxes::version(2).bundle());
    strike(&mut scene);
    scene.call_at_two();
    (Recovery::ByItself, scene.end_at(2))
}

fn back(point: &str) -> Ended {
    let mut scene = Scene::serving();
    scene.arm(point);
    let sick = Boxes::version(2)
        .setting("require_staged = false")
        .arguments(&["--unhealthy"])
        .probe("http = '/health', service = 'data', interval_ms = 50, timeout_ms = 1000")
        .schedule("max_unavailable = 1");
    // It goes first: a node that is blocked holds the others of its class.
    let waits = scene.beside.freeze_agent();
    scene.system.publish(&sick.bundle());
    strike(&mut scene);
    scene.until_blocked();
    drop(waits);
    scene.goes_on();
    scene.system.revise(&Boxes::version(2).bundle());
    (Recovery::ByItself, scene.end_at(2))
}

fn withdrawn(point: &str) -> Ended {
    let mut scene = Scene::serving();
    scene.arm(point);
    scene.system.publish(&waiting(2).bundle());
    scene.system.until_staged(&scene.node, 2);
    scene.system.withdraw(Version(2));
    strike(&mut scene);
    scene
        .system
        .until_fact(&scene.node, "without version 2", |fact| {
            fact.report.status.staged == Version(1)
        });
    (Recovery::ByItself, scene.end_at(1))
}

fn at_rest() -> Ended {
    let mut scene = Scene::staged();
    scene.power_cut();
    scene.node.start_agent();
    scene.goes_on();
    scene.approve();
    (Recovery::ByItself, scene.end_at(2))
}
