//! What may lie in a node's state: links that lead elsewhere, other file systems. None of it is copied or deleted in silence.

use crate::harness::{Boxes, Caller, Disk, System, until};
use model::api::{Phase, PublicRequest, RetireRequest};
use model::ids::Version;
use std::os::unix::fs::symlink;
use std::process::Command;

/// Version 1 is spoken no more.
fn retire_first(system: &System) {
    let public = PublicRequest {
        service: None,
        version: Version(2),
    };
    system.ask(system.client.set_public(&public));
    until("version 1 to be retired", || {
        let request = RetireRequest {
            version: Version(1),
            close: true,
        };
        let _ = system.try_ask(system.client.retire(&request));
        (system.view().retired_through == Version(1)).then_some(())
    });
}

#[test]
fn what_is_mounted_in_an_old_state_outlives_its_retirement() {
    let system = System::with(&Boxes::version(1).bundle());
    let place = system.folder().join("apart");
    let Some(apart) = Disk::mount("state::mounted", "ext4", 16, &place) else {
        return;
    };
    apart.write("precious", 1);
    let node = system.settled_box("a", 1, 1);
    system.publish(&Boxes::version(2).bundle());
    system.until_settled(&node, 2);
    let state = node.data.join("versions/1.1/state");
    let mounted = state.join("mounted");
    std::fs::create_dir(&mounted).expect("made");
    let mut bind = Command::new("mount");
    let bound = bind.arg("--bind").arg(&place).arg(&mounted).status();
    assert!(bound.expect("runs").success());
    retire_first(&system);
    // It is told, and left alone.
    until("the deletion to be refused", || {
        node.log().contains("is another file system").then_some(())
    });
    assert!(place.join("precious").exists());
    let unmounted = Command::new("umount").arg(&mounted).status();
    assert!(unmounted.expect("runs").success());
    // What is deleted next time is deleted whole.
    system.publish(&Boxes::version(3).bundle());
    system.until_settled(&node, 3);
    until("the old state to be deleted", || {
        (!state.exists()).then_some(())
    });
    assert!(place.join("precious").exists());
}

#[test]
fn a_state_that_leads_out_is_not_copied_before_that_is_mended_or_declared() {
    let system = System::with(&Boxes::version(1).bundle());
    let node = system.settled_box("a", 1, 1);
    let mut caller = Caller::unlabelled(system.port(1), 1).expect("connected");
    caller.put("apples", 7).expect("answered");
    let elsewhere = system.folder().join("elsewhere");
    std::fs::create_dir(&elsewhere).expect("made");
    symlink(&elsewhere, node.data.join("current/logs")).expect("made");
    system.publish(&Boxes::version(2).bundle());
    let waits = system.until_fact(&node, "waiting because of the link", |fact| {
        let status = &fact.report.status;
        let reason = status.reason.clone().unwrap_or_default();
        status.phase == Phase::Staged && reason.contains("state/logs")
    });
    let reason = waits.report.status.reason.unwrap_or_default();
    assert!(reason.contains("shared = [\"logs\"]"), "{reason}");
    // Nothing was stopped for it.
    assert!(system.events_of(&node, "node.stopping").is_empty());
    assert_eq!(caller.get("apples").expect("answered"), Some(7));
    let state = "[class.box.state]\n";
    let declared = format!("{state}shared = [\"logs\"]\n");
    system.revise(&Boxes::version(2).bundle().replaced(state, &declared));
    system.until_settled(&node, 2);
    let link = std::fs::read_link(node.data.join("current/logs")).expect("there");
    assert_eq!(link, elsewhere);
}
