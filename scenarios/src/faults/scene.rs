//! What a fault meets: a server, two nodes with software whose versions do not understand each other, and callers at both.

use super::load::{Load, Role, Verdict};
use harness::{Boxes, Node, NodeOptions, System, alive, pids_naming, until_ok, upstart};
use model::api::{ApproveRequest, ChildState, NodeFact, Phase};
use model::ids::Version;
use std::path::{Path, PathBuf};

/// The node that is broken, and the one beside it, which must not notice.
pub(super) const BROKEN: &str = "a";
const BESIDE: &str = "b";

/// A running system.
pub(super) struct Scene {
    // The callers end before what they call.
    loads: Vec<Load>,
    /// The node that is broken.
    pub(super) node: Node,
    /// The node beside it.
    pub(super) beside: Node,
    /// The server, and what asks it.
    pub(super) system: System,
}

impl Scene {
    /// Both nodes serve version 1 and are called.
    pub(super) fn serving() -> Self {
        Self::serving_as(|options| options)
    }

    /// The same with something changed at the node that is broken.
    pub(super) fn serving_as(change: impl FnOnce(NodeOptions) -> NodeOptions) -> Self {
        Self::on(System::start(), change)
    }

    /// The same in a system that has nothing yet.
    pub(super) fn on(system: System, change: impl FnOnce(NodeOptions) -> NodeOptions) -> Self {
        system.publish(&Boxes::version(1).bundle());
        let node = system.node(change(NodeOptions::new(BROKEN, system.port(1))));
        let beside = system.node(NodeOptions::new(BESIDE, system.port(2)));
        system.until_settled(&node, 1);
        system.until_settled(&beside, 1);
        let mut scene = Self {
            loads: Vec::new(),
            node,
            beside,
            system,
        };
        for number in [1, 2] {
            scene.call_as(number, None);
        }
        scene
    }

    /// The same, with version 2 staged and waiting for leave: members call at both versions.
    pub(super) fn staged() -> Self {
        let mut scene = Self::serving();
        scene.stage(&waiting(2));
        scene
    }

    /// Publishes version 2 and waits until both nodes have staged it; members of it begin to call.
    pub(super) fn stage(&mut self, second: &Boxes) {
        self.system.publish(&second.bundle());
        self.system.until_staged(&self.node, 2);
        self.system.until_staged(&self.beside, 2);
        self.call_at_two();
    }

    /// Members at version 2 begin to call.
    pub(super) fn call_at_two(&mut self) {
        let system = self.system.view().system_id;
        for number in [1, 2] {
            self.call_as(number, Some((system, 2)));
        }
    }

    fn call_as(&mut self, number: u16, member: Option<(u64, u32)>) {
        let port = self.system.port(number);
        let load = Load::begin(Role { port, member });
        load.goes_on();
        self.loads.push(load);
    }

    /// Gives leave for version 2.
    pub(super) fn approve(&self) {
        self.system.ask(self.system.client.approve(&leave()));
    }

    /// Says that the node's directory is to go on as the node's own.
    pub(super) fn claim(&self) {
        let mut command = upstart();
        let claimed = command
            .args(["claim", "--data"])
            .arg(&self.node.data)
            .output();
        let claimed = claimed.expect("runs");
        assert!(claimed.status.success(), "{claimed:?}");
    }

    /// Every caller is answered again.
    pub(super) fn goes_on(&self) {
        self.loads.iter().for_each(Load::goes_on);
    }

    /// Waits until both nodes have settled at a version and their software runs.
    pub(super) fn until_settled(&self, version: u32) {
        for node in [&self.node, &self.beside] {
            self.system.until_fact(node, "settled and running", |fact| {
                is_settled(fact, version)
            });
        }
    }

    /// Waits until the node's agent has been heard anew.
    pub(super) fn until_heard(&self) -> NodeFact {
        let before = self.system.fact(BROKEN).seen_at_ms;
        self.system
            .until_fact(&self.node, "heard again", |fact| fact.seen_at_ms > before)
    }

    /// Starts the node's agent anew; it kills itself at this point of its journal (`RECORD:before`, `RECORD:after`).
    pub(super) fn arm(&mut self, point: &str) {
        self.node.end_agent();
        self.node.options.kill_at = Some(point.to_owned());
        self.node.start_agent();
        self.until_heard();
    }

    /// Waits until the node is back at its version.
    pub(super) fn until_blocked(&self) {
        self.system
            .until_fact(&self.node, "blocked and running", |fact| {
                let status = &fact.report.status;
                status.phase == Phase::Blocked && status.child == ChildState::Running
            });
    }

    /// Waits until somebody who looks at the node is told this.
    pub(super) fn until_told(&self, part: &str) {
        self.system
            .until_fact(&self.node, &format!("told `{part}`"), |fact| {
                let reason = fact.report.status.reason.as_deref();
                reason.is_some_and(|reason| reason.contains(part))
            });
    }

    /// The power fails at the node: everything of it ends at once.
    pub(super) fn power_cut(&mut self) {
        self.node.kill_agent();
        self.node.end_below();
    }

    /// The node's data directory, as its processes name it.
    pub(super) fn data(&self) -> PathBuf {
        std::fs::canonicalize(&self.node.data).expect("the node has a directory")
    }

    /// Waits until all is well at this version, and ends the callers: what they have seen, and whether the software runs once.
    pub(super) fn end_at(mut self, version: u32) -> Verdict {
        self.until_settled(version);
        self.goes_on();
        let mut verdict = Verdict::default();
        for load in std::mem::take(&mut self.loads) {
            load.end(&mut verdict);
        }
        let state = self.data().join("current");
        let running = || workers(&state);
        until_ok("one software to work on the state", || match running() {
            1 => Ok(()),
            other => Err(format!("{other} processes work on it")),
        });
        verdict
    }
}

/// How many processes of the software work on a state.
fn workers(state: &Path) -> usize {
    pids_naming(state)
        .into_iter()
        .filter(|pid| alive(*pid))
        .count()
}

/// Leave for version 2, everywhere.
pub(super) fn leave() -> ApproveRequest {
    ApproveRequest {
        version: Version(2),
        class: None,
        node: None,
    }
}

/// The upgrade to a version that waits for leave.
pub(super) fn waiting(version: u32) -> Boxes {
    Boxes::version(version).schedule("approval = true")
}

fn is_settled(fact: &NodeFact, version: u32) -> bool {
    let status = &fact.report.status;
    status.version == Version(version)
        && status.phase == Phase::Settled
        && status.child == ChildState::Running
}
