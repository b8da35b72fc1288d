//! What thousands of open foreign connections cost that are mostly idle, in the agent that serves them: each has carried a call both
//! ways, and then waits. What the kernel keeps for a socket is not in it; that is the same for any program.

use crate::harness::{Boxes, NodeOptions, System};
use crate::peers::{PeerCaller, peers};

/// As many as an agent must be able to hold.
const CONNECTIONS: usize = 8_000;

/// In the agent, where each has two sockets, and some.
const DESCRIPTORS: u64 = 2 * CONNECTIONS as u64 + 400;

/// Memory of each in the agent: the promise is 40 for a release build, whose tasks are smaller than those of the build that is tested.
const KIB_MAX: f64 = 44.0;

/// All of them come from one address.
const FROM_ONE_ADDRESS: &str = "[settings.calls]\nconnections_per_address_max = 8192\n";

/// Why the test cannot run here, if it cannot.
fn too_few_descriptors() -> Option<String> {
    let limits = std::fs::read_to_string("/proc/self/limits").expect("proc");
    let mut lines = limits.lines();
    let line = lines.find(|line| line.starts_with("Max open files"))?;
    let soft: u64 = line.split_whitespace().nth(3)?.parse().ok()?;
    (soft < DESCRIPTORS).then(|| format!("needs {DESCRIPTORS} descriptors (ulimit -n)"))
}

/// A process's memory that is in use, in KiB (`VmRSS`, proc(5)).
fn resident_kib(process: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    let number = number.and_then(|number| number.parse().ok());
    number.expect("a number")
}

/// Opens connections to a node's port through its agent and leaves them open; says what each takes there.
fn measure<C>(test: &str, agent: u32, mut open: impl FnMut() -> C) {
    // What is needed once is needed before it is looked.
    drop(open());
    let before = resident_kib(agent);
    let held: Vec<C> = (0..CONNECTIONS).map(|_| open()).collect();
    let kib = (resident_kib(agent) - before) / CONNECTIONS as f64;
    drop(held);
    println!("{test}: {CONNECTIONS} connections, {kib:.1} KiB each");
    assert!(kib < KIB_MAX, "{kib:.1} KiB for each connection");
}

#[test]
fn eight_thousand_open_sessions_take_little_each_in_the_agent() {
    let test = "eight_thousand_open_sessions_take_little_each_in_the_agent";
    if let Some(why) = too_few_descriptors() {
        println!("SKIPPED: {test}: {why}");
        return;
    }
    let system = System::with(&peers(1, ""));
    let node = system.node(NodeOptions::new("a", system.port(1)));
    system.until_settled(&node, 1);
    let class = "\n[class.box]\n";
    let from_one_address = format!("\n{FROM_ONE_ADDRESS}{class}");
    system.publish(&peers(2, "").replaced(class, &from_one_address));
    system.until_settled(&node, 2);
    let (port, id) = (system.port(1), system.view().system_id);
    measure(test, node.agent(), || {
        let mut caller = PeerCaller::labelled(port, id, 1).expect("connected");
        assert_eq!(caller.get("nothing").expect("answered"), "");
        caller
    });
}

#[test]
fn eight_thousand_open_connections_through_a_lens_take_little_each_in_the_agent() {
    let test = "eight_thousand_open_connections_through_a_lens_take_little_each_in_the_agent";
    if let Some(why) = too_few_descriptors() {
        println!("SKIPPED: {test}: {why}");
        return;
    }
    let system = System::with(&Boxes::version(1).bundle());
    let node = system.settled_box("a", 1, 1);
    let second = Boxes::version(2).and(FROM_ONE_ADDRESS);
    system.publish(&second.bundle());
    system.until_settled(&node, 2);
    let port = system.port(1);
    measure(test, node.agent(), || {
        let mut caller = system.member(port, 1).expect("connected");
        assert_eq!(caller.get("nothing").expect("answered"), None);
        caller
    });
}
