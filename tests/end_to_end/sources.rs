//! Large bundles at many nodes: a few fetch from the server, and serve the others of their site.

use crate::chunks::{first, noise, publish, relay_to, second};
use crate::harness::{Boxes, Bundle, Node, NodeOptions, System};
use kit::Relay;
use std::path::PathBuf;

/// How large what they fetch is.
const BYTES: u64 = 3 << 20;

/// How many nodes fetch from the server at once.
const FIRST: usize = 4;

/// A system whose nodes' way to the server is counted.
struct Scene {
    system: System,
    relay: Relay,
    token: PathBuf,
}

impl Scene {
    fn start() -> Self {
        let system = System::start();
        let (relay, token) = relay_to(&system);
        Self {
            system,
            relay,
            token,
        }
    }

    /// A node that serves others.
    fn node(&self, number: u16) -> Node {
        let options = self.options(number);
        self.system
            .node(options.artifact_port(self.system.port(20 + number)))
    }

    fn options(&self, number: u16) -> NodeOptions {
        NodeOptions::new(&format!("n{number}"), self.system.port(number))
            .server(&self.relay.url(), &self.token)
    }
}

fn large(version: u32) -> Bundle {
    let boxes = match version {
        1 => Boxes::version(1),
        _ => Boxes::version(version).same(1),
    };
    boxes
        .bundle()
        .file("data", noise(u64::from(version), BYTES))
}

/// Many at once: those that are first get it from the server, and the others from these.
#[test]
fn few_nodes_fetch_from_the_server_and_the_others_from_them() {
    let scene = Scene::start();
    scene.system.publish(&Boxes::version(1).bundle());
    let nodes: Vec<Node> = (1..=8).map(|number| scene.node(number)).collect();
    for node in &nodes {
        scene.system.until_settled(node, 1);
        node.until_said("artifacts are served to other nodes");
        (scene.system).until_fact(node, "serving", |fact| fact.report.artifacts_at.is_some());
    }
    let before = scene.relay.came();
    scene.system.publish(&large(2));
    for node in &nodes {
        scene.system.until_settled(node, 2);
    }
    let copies = (scene.relay.came() - before) as f64 / BYTES as f64;
    assert!(copies < FIRST as f64 + 0.5, "{copies} copies");
    let from_nodes = nodes
        .iter()
        .filter(|node| node.log().contains("came from another node"));
    assert!(from_nodes.count() >= nodes.len() - FIRST);
}

/// A node that joins gets everything from another one; what that one gives is checked, and the server has it, too.
#[test]
fn a_node_that_gives_something_else_is_left_and_the_server_asked() {
    let scene = Scene::start();
    scene.system.publish(&large(1));
    let giving = scene.node(1);
    scene.system.until_settled(&giving, 1);
    (scene.system).until_fact(&giving, "serving", |fact| {
        fact.report.artifacts_at.is_some()
    });
    let before = scene.relay.came();
    let other = scene.system.node(scene.options(2));
    scene.system.until_settled(&other, 1);
    let moved = scene.relay.came() - before;
    assert!(moved < BYTES / 2, "{moved} bytes came from the server");
    assert!(other.log().contains("came from another node"));

    damage(&giving);
    let third = scene.system.node(scene.options(3));
    scene.system.until_settled(&third, 1);
    assert!(third.log().contains("is another file with what it gave"));
    assert!(third.log().contains("node n1 at"));
    assert!(scene.relay.came() - before > BYTES);
    // A node that is gone keeps nobody waiting, either.
    drop(giving);
    let fourth = scene.system.node(scene.options(4));
    scene.system.until_settled(&fourth, 1);
}

/// Changes a byte in the middle of the largest artifact that lies at a node.
fn damage(node: &Node) {
    let artifacts = std::fs::read_dir(node.data.join("artifacts")).expect("artifacts");
    let artifacts = artifacts.map(|entry| entry.expect("read").path());
    let size = |path: &PathBuf| std::fs::metadata(path).expect("there").len();
    let largest = artifacts.max_by_key(size).expect("one");
    let mut content = std::fs::read(&largest).expect("read");
    let middle = content.len() / 2;
    content[middle] ^= 1;
    std::fs::write(&largest, content).expect("written");
}

/// Of what has changed only the changes come, from where the other node has them in its files.
#[test]
fn what_has_changed_comes_from_another_node() {
    let scene = Scene::start();
    let folder = |name: &str| scene.system.folder().join(name);
    publish(&scene.system, &first(), &folder("first"), &[]);
    let giving = scene.node(1);
    let mut late = scene.system.node(scene.options(2));
    scene.system.until_settled(&giving, 1);
    scene.system.until_settled(&late, 1);
    late.kill_agent();
    publish(&scene.system, &second(), &folder("second"), &[]);
    scene.system.until_settled(&giving, 2);
    let before = scene.relay.came();
    late.start_agent();
    scene.system.until_settled(&late, 2);
    let moved = scene.relay.came() - before;
    assert!(moved < 200_000, "{moved} bytes came from the server");
    assert!(late.log().contains("a file was made from chunks"));
}
