//! What is done once for the whole system when every node has settled.

use crate::harness::{Boxes, Bundle, NodeOptions, System, until};
use model::api::OnceState;
use std::fs;

/// Notes who does it; fails as long as there is a reason.
const FINISH: &str = r#"
import os, sys
folder, name = sys.argv[1:]
open(os.path.join(folder, "tried"), "a").write(name + "\n")
if os.path.exists(os.path.join(folder, "broken")):
    print("the cluster has no quorum")
    sys.exit(3)
open(os.path.join(folder, "done"), "a").write(name + "\n")
"#;

fn finishing(system: &System, version: u32) -> Bundle {
    let folder = system.folder().display();
    let once = format!(
        "[once.finish]\nclass = \"box\"\ncommand = [\"python3\", \"${{bundle}}/finish.py\", \"{folder}\", \"${{node.name}}\"]\n"
    );
    let bundle = Boxes::version(version).and(&once).bundle();
    bundle.file("finish.py", FINISH)
}

#[test]
fn it_is_done_at_one_node_when_all_have_settled_and_again_until_it_is_done() {
    let system = System::with(&Boxes::version(1).bundle());
    let nodes = [("a", 1), ("b", 2)].map(|(name, port)| system.settled_box(name, port, 1));
    let broken = system.folder().join("broken");
    fs::write(&broken, "").expect("written");
    system.publish(&finishing(&system, 2));
    for node in &nodes {
        system.until_settled(node, 2);
    }
    let fact = until("the first failure", || {
        let facts = system.view().once;
        facts
            .into_iter()
            .find(|fact| fact.state == OnceState::Failed)
    });
    assert!(
        fact.why.contains("the cluster has no quorum"),
        "{}",
        fact.why
    );
    // Meanwhile nobody goes on to the next version.
    system.publish(&Boxes::version(3).bundle());
    for node in &nodes {
        system.until_fact(node, "waiting for it", |fact| {
            let reason = fact.report.status.reason.as_deref();
            reason.is_some_and(|reason| reason.contains("`once.finish` of version 2"))
        });
    }
    fs::remove_file(&broken).expect("removed");
    for node in &nodes {
        system.until_settled(node, 3);
    }
    let read = |name: &str| fs::read_to_string(system.folder().join(name)).expect("read");
    assert_eq!(read("done").lines().count(), 1, "once");
    // They take turns.
    let tried = read("tried");
    assert!(tried.starts_with("a\nb\n"), "{tried}");
    let done = system.view().once;
    assert_eq!(done[0].state, OnceState::Done);
    // Whoever joins later does it no more.
    let late = system.node(NodeOptions::new("c", system.port(3)));
    system.until_settled(&late, 3);
    assert_eq!(system.view().once, done);
}
