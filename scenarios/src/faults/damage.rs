//! Files that are damaged: a byte is flipped, the end is cut off, the file is gone; while the software runs, and while nothing of
//! the node does.

use super::scene::{Scene, waiting};
use super::{Ended, Fault, Recovery};
use harness::until;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// What happens to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damage {
    /// A bit in the middle is another one.
    Flipped,
    /// The second half is gone.
    Cut,
    /// All of it is gone.
    Gone,
}

/// What is damaged.
#[derive(Clone, Copy, Debug)]
struct Thing {
    name: &'static str,
    /// Where it lies in the data directory: a file, or a folder whose files are all damaged.
    place: &'static str,
    /// Only files of this name, where there is one.
    file: Option<&'static str>,
    /// Nothing else can tell what it said: the agent refuses to go on, and says so.
    irreplaceable: bool,
}

const fn thing(name: &'static str, place: &'static str) -> Thing {
    Thing {
        name,
        place,
        file: None,
        irreplaceable: false,
    }
}

/// Everything that a node keeps, but the software's own state and what it prints.
const THINGS: [Thing; 12] = [
    Thing {
        irreplaceable: true,
        ..thing("the journal", "journal")
    },
    thing("the journal's witness", "journal.witness"),
    thing("the note of the last start", "start.json"),
    thing("what was heard from the server", "from-server"),
    thing("the note of the shared memory", "shared"),
    thing("the note of where the software is", "holder.child"),
    thing("the agent's key", "agent.key"),
    thing("the library", "lib"),
    thing("the artifacts", "artifacts"),
    Thing {
        file: Some("box.py"),
        ..thing("the software's program", "versions")
    },
    Thing {
        file: Some("lens.toml"),
        ..thing("the lens", "versions")
    },
    Thing {
        file: Some("transform.py"),
        ..thing("the transform", "versions")
    },
];

/// Each thing, damaged in each way, with and without software that runs.
pub(super) fn faults() -> Vec<Fault> {
    let mut faults = Vec::new();
    for (number, thing) in THINGS.into_iter().enumerate() {
        for damage in [Damage::Flipped, Damage::Cut, Damage::Gone] {
            for runs in [true, false] {
                let how = match damage {
                    Damage::Flipped => "has a flipped bit",
                    Damage::Cut => "is cut",
                    Damage::Gone => "is gone",
                };
                let when = if runs {
                    "while the software runs"
                } else {
                    "after a power cut"
                };
                let fault = Fault::new(format!("{} {how} {when}", thing.name), move || {
                    damaged(thing, damage, runs)
                });
                // Each thing once, in turn in another way.
                let is_quick = (damage as usize) == number % 3 && runs == (number % 2 == 0);
                faults.push(if is_quick { fault.quick() } else { fault });
            }
        }
    }
    faults.push(
        Fault::new(
            "the link to the state is gone while the software runs",
            || link(true),
        )
        .quick(),
    );
    faults.push(Fault::new(
        "the link to the state is gone after a power cut",
        || link(false),
    ));
    faults
}

impl Thing {
    fn files(self, data: &Path) -> Vec<PathBuf> {
        let mut found = Vec::new();
        walk(&data.join(self.place), &mut found);
        if let Some(name) = self.file {
            found.retain(|path| path.file_name().is_some_and(|found| found == name));
        }
        assert!(
            !found.is_empty(),
            "there is nothing of {} to damage",
            self.name
        );
        found
    }
}

/// The files below a path, but for links, states and what is only there while somebody runs.
fn walk(path: &Path, found: &mut Vec<PathBuf>) {
    let Ok(kind) = fs::symlink_metadata(path) else {
        return;
    };
    if kind.is_file() {
        found.push(path.to_owned());
    } else if kind.is_dir() && path.file_name().is_none_or(|name| name != "state") {
        for entry in fs::read_dir(path).expect("a folder") {
            walk(&entry.expect("an entry").path(), found);
        }
    }
}

/// What a file held.
struct Saved {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Saved {
    /// In place, as a backup is put back into a file that is still open somewhere.
    fn put_back(&self) {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        let file = options.open(&self.path).expect("it can be written");
        file.write_all_at(&self.bytes, 0).expect("written");
        file.set_len(self.bytes.len() as u64)
            .expect("as long as it was");
    }
}

fn damage(path: &Path, damage: Damage) -> Saved {
    let bytes = fs::read(path).expect("readable");
    let saved = Saved {
        path: path.to_owned(),
        bytes,
    };
    let length = saved.bytes.len();
    match damage {
        Damage::Gone => fs::remove_file(path).expect("removed"),
        Damage::Cut => {
            let file = OpenOptions::new().write(true).open(path).expect("writable");
            file.set_len(length as u64 / 2).expect("cut");
        }
        Damage::Flipped => {
            let file: File = OpenOptions::new().write(true).open(path).expect("writable");
            // Where something is: what was laid out for later is zeros.
            let used = saved.bytes.iter().rposition(|byte| *byte != 0);
            let at = used.map_or(0, |last| last / 2);
            let byte = saved.bytes.get(at).copied().unwrap_or(0) ^ 0x10;
            file.write_all_at(&[byte], at as u64).expect("written");
        }
    }
    saved
}

fn damaged(thing: Thing, how: Damage, runs: bool) -> Ended {
    let mut scene = Scene::staged();
    // A table that hooks have mapped is damaged under them.
    if runs {
        scene.node.end_agent()
    } else {
        scene.power_cut()
    }
    let files = thing.files(&scene.data());
    let saved: Vec<Saved> = files.iter().map(|path| damage(path, how)).collect();
    scene.node.start_agent();
    let recovery = match refusal(&mut scene) {
        None => {
            assert!(
                !thing.irreplaceable,
                "the agent went on without {}",
                thing.name
            );
            Recovery::ByItself
        }
        Some(said) => {
            let name = saved[0].path.file_name().expect("a name").to_string_lossy();
            assert!(
                said.contains(&*name) && said.contains("next: "),
                "the agent names neither {name} nor what to do:\n{said}"
            );
            saved.iter().for_each(Saved::put_back);
            scene.node.start_agent();
            put_back(&mut scene)
        }
    };
    scene.goes_on();
    scene.approve();
    (recovery, scene.end_at(2))
}

/// What follows when a file was put back: a new one in the witness's place makes the directory a copy, which is to be claimed.
fn put_back(scene: &mut Scene) -> Recovery {
    let Some(said) = refusal(scene) else {
        return Recovery::After("the file put back from a copy");
    };
    assert!(said.contains("upstart claim"), "{said}");
    scene.claim();
    scene.node.start_agent();
    scene.until_heard();
    Recovery::After("the file put back from a copy, and upstart claim --data DIR")
}

/// Waits until the agent is heard, or gives up: then what it said.
fn refusal(scene: &mut Scene) -> Option<String> {
    let before = scene.system.fact(super::scene::BROKEN).seen_at_ms;
    let heard = until("the agent to be heard, or to give up", || {
        let fact = scene.system.fact(super::scene::BROKEN);
        if fact.seen_at_ms > before {
            return Some(true);
        }
        scene.node.agent_has_ended().then_some(false)
    });
    (!heard).then(|| scene.node.until_agent_gives_up())
}

fn link(runs: bool) -> Ended {
    let mut scene = Scene::serving();
    scene.stage(&waiting(2));
    if runs {
        scene.node.end_agent()
    } else {
        scene.power_cut()
    }
    let link = scene.node.data.join("current");
    let target = fs::read_link(&link).expect("a link");
    fs::remove_file(&link).expect("removed");
    scene.node.start_agent();
    let recovery = match refusal(&mut scene) {
        None => Recovery::ByItself,
        Some(said) => {
            assert!(
                said.contains("current") && said.contains("next: "),
                "{said}"
            );
            std::os::unix::fs::symlink(target, &link).expect("linked");
            scene.node.start_agent();
            scene.until_heard();
            Recovery::After("the link made again")
        }
    };
    scene.goes_on();
    scene.approve();
    (recovery, scene.end_at(2))
}
