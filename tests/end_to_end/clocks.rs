//! Hosts whose clocks differ by minutes.

use crate::harness::{Boxes, Bundle, Clock, Node, NodeOptions, System, until};
use model::api::Event;
use std::process::Command;

/// How long the next node waits after one has settled, by the schedule.
const SOAK_MS: u64 = 1_500;

/// Right, ahead, behind: by more than any permit, time-out or soak time is long.
const CLOCKS: [Clock; 3] = [
    Clock::RIGHT,
    Clock::minutes_ahead(5),
    Clock::minutes_ahead(-5),
];

#[test]
fn clocks_that_are_minutes_apart_change_nothing() {
    if !Clock::can_be_wrong("clocks") {
        return;
    }
    clocks_differ();
    for server in [Clock::minutes_ahead(5), Clock::minutes_ahead(-5)] {
        upgrade_one_after_the_other(server);
    }
}

/// The means of this test work: programs really see another time.
fn clocks_differ() {
    let [_, ahead, behind] = CLOCKS.map(|clock| {
        let mut date = Command::new("date");
        clock.applied(date.arg("+%s"));
        let output = date.output().expect("date runs");
        let text = String::from_utf8(output.stdout).expect("digits");
        text.trim().parse::<i64>().expect("seconds")
    });
    assert!((590..=610).contains(&(ahead - behind)), "{ahead} {behind}");
}

fn upgrade_one_after_the_other(clock: Clock) {
    let system = System::start_at(clock);
    system.publish(&with_the_right_time(Boxes::version(1)));
    assert!(clock.rules(system.server.pid()));
    let nodes: Vec<Node> = (1..)
        .zip(CLOCKS)
        .map(|(number, clock)| {
            let name = format!("n{number}");
            system.node(NodeOptions::new(&name, system.port(number)).clock(clock))
        })
        .collect();
    for (node, clock) in nodes.iter().zip(CLOCKS) {
        system.until_settled(node, 1);
        assert!(clock.rules(node.agent()), "{}", node.options.name);
    }
    let schedule = format!("max_unavailable = 1, soak_ms = {SOAK_MS}");
    system.publish(&with_the_right_time(Boxes::version(2).schedule(&schedule)));
    for node in &nodes {
        system.until_settled(node, 2);
    }
    until("every permit to be given back", || {
        system.view().permits.is_empty().then_some(())
    });
    nothing_was_out_of_turn(&system, &nodes);
}

/// The software is not what is tested here, and Python's `time.sleep` fails under libfaketime 0.9.10.
fn with_the_right_time(boxes: Boxes) -> Bundle {
    let head = "[class.box.software]\n";
    let right = format!("{head}environment = {{ FAKETIME = \"+0s\" }}\n");
    boxes.bundle().replaced(head, &right)
}

fn nothing_was_out_of_turn(system: &System, nodes: &[Node]) {
    // Nobody was ever thought to be away, no permit ran out, and no two were held at once.
    let events = system.events();
    for kind in ["node.unreachable", "permit.expired", "permit.broken"] {
        let found: Vec<&Event> = events.iter().filter(|event| event.kind == kind).collect();
        assert!(found.is_empty(), "{found:?}");
    }
    let of_permits = events.iter().filter_map(|event| match event.kind.as_str() {
        "permit.acquired" => Some(1),
        "permit.ended" => Some(-1),
        _ => None,
    });
    let mut held = 0;
    for change in of_permits {
        held += change;
        assert!((0..=1).contains(&held), "{events:?}");
    }
    // The soak time was kept, and no minutes more; all by the server's clock, which never goes back.
    let mut settled: Vec<u64> = nodes
        .iter()
        .map(|node| system.events_of(node, "node.settled")[1].at_ms)
        .collect();
    settled.sort_unstable();
    for pair in settled.windows(2) {
        let apart = pair[1] - pair[0];
        assert!((SOAK_MS..60_000).contains(&apart), "{settled:?}");
    }
    assert!(events.is_sorted_by_key(|event| event.at_ms), "{events:?}");
}
