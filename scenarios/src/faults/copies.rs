//! A node's directory that is moved, copied, put back from a backup, or not there.

use super::scene::{Scene, waiting};
use super::{Ended, Fault, Recovery};
use harness::{kill, pids_naming, upstart};
use kit::copy_all;
use std::path::{Path, PathBuf};

/// Each kind of copy.
pub(super) fn faults() -> Vec<Fault> {
    vec![
        Fault::new(
            "a copy of a directory is started beside the original",
            beside,
        )
        .quick(),
        Fault::new(
            "a copy of a directory is started in place of the original",
            instead,
        ),
        Fault::new("a copy of a directory takes the original's place", claimed).quick(),
        Fault::new("a directory is renamed while nothing runs", renamed),
        Fault::new("a backup from before an upgrade is put back", set_back).quick(),
        Fault::new("an empty directory is in the place of a node's", unmounted),
    ]
}

/// The node with nothing running, a copy of its directory, and where that is.
fn copied() -> (Scene, PathBuf) {
    let mut scene = Scene::staged();
    scene.power_cut();
    let place = scene.system.folder().join("copy");
    copy_all(&scene.node.data, &place);
    (scene, place)
}

/// Starts the agent in this directory: it must refuse with these words. Nothing of it is left afterwards.
fn refuses(scene: &mut Scene, place: &Path, words: &str) {
    let own = std::mem::replace(&mut scene.node.data, place.to_owned());
    scene.node.start_agent();
    let said = scene.node.until_agent_gives_up();
    scene.node.data = own;
    assert!(said.contains(words) && said.contains("next: "), "{said}");
    let left = pids_naming(&place.join("current"));
    assert!(left.is_empty(), "software runs in {}", place.display());
    pids_naming(place).into_iter().for_each(kill);
}

fn beside() -> Ended {
    let (mut scene, place) = copied();
    scene.node.start_agent();
    scene.goes_on();
    let mut second = upstart();
    second.args(["agent", "--name", "a", "--class", "box", "--server"]);
    second
        .arg(scene.system.server.url())
        .arg("--data")
        .arg(&place);
    let output = second.output().expect("runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("copy") && said.contains("next: "), "{said}");
    scene.approve();
    (Recovery::ByItself, scene.end_at(2))
}

fn instead() -> Ended {
    let (mut scene, place) = copied();
    refuses(&mut scene, &place, "copy");
    scene.node.start_agent();
    scene.goes_on();
    scene.approve();
    (
        Recovery::After("the agent started with the original's --data"),
        scene.end_at(2),
    )
}

fn claimed() -> Ended {
    let (mut scene, place) = copied();
    refuses(&mut scene, &place, "upstart claim");
    scene.node.data = place;
    scene.claim();
    scene.node.start_agent();
    scene.goes_on();
    scene.approve();
    (Recovery::After("upstart claim --data DIR"), scene.end_at(2))
}

fn renamed() -> Ended {
    let mut scene = Scene::staged();
    scene.power_cut();
    let place = scene.system.folder().join("renamed");
    std::fs::rename(&scene.node.data, &place).expect("renamed");
    scene.node.data = place;
    scene.node.start_agent();
    scene.goes_on();
    scene.approve();
    (Recovery::ByItself, scene.end_at(2))
}

fn set_back() -> Ended {
    let mut scene = Scene::serving();
    scene.power_cut();
    let backup = scene.system.folder().join("backup");
    copy_all(&scene.node.data, &backup);
    scene.node.start_agent();
    scene.stage(&waiting(2));
    scene.approve();
    scene.until_settled(2);
    scene.goes_on();
    scene.power_cut();
    let place = scene.node.data.clone();
    let newest = scene.system.folder().join("newest");
    std::fs::rename(&place, &newest).expect("moved away");
    copy_all(&backup, &place);
    refuses(&mut scene, &place, "--data");
    std::fs::remove_dir_all(&place).expect("removed");
    std::fs::rename(&newest, &place).expect("moved back");
    scene.node.start_agent();
    (
        Recovery::After("the directory that the node was last in"),
        scene.end_at(2),
    )
}

fn unmounted() -> Ended {
    let mut scene = Scene::staged();
    scene.power_cut();
    let place = scene.node.data.clone();
    let away = scene.system.folder().join("away");
    std::fs::rename(&place, &away).expect("moved away");
    std::fs::create_dir(&place).expect("a folder");
    refuses(&mut scene, &place, "--data");
    std::fs::remove_dir_all(&place).expect("removed");
    std::fs::rename(&away, &place).expect("moved back");
    scene.node.start_agent();
    scene.goes_on();
    scene.approve();
    (
        Recovery::After("the directory that the node was last in"),
        scene.end_at(2),
    )
}
