//! On file systems that can, a snapshot shares its blocks with the original: judged by what the disk says, not by time.
//! (`cargo xtask bench snapshot` measures the time, with ten times as much.)

use crate::harness::{Boxes, Caller, Disk, System};
use std::path::Path;
use std::process::Command;

const MIB: u64 = 1 << 20;

/// How much an upgrade may use beside the state: the bundle, the journal, what the file system notes for itself.
const BESIDE_BYTES: u64 = 48 * MIB;

/// Whether every block of a file belongs to another file too (FIEMAP's flag, as `filefrag` prints it).
fn is_shared(file: &Path) -> bool {
    let output = Command::new("/usr/sbin/filefrag")
        .arg("-v")
        .arg(file)
        .output();
    let output = output.expect("filefrag runs (Debian: e2fsprogs)");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let is_extent = |line: &&str| {
        let number = line.trim_start().split(':').next().unwrap_or_default();
        line.contains("..") && number.parse::<u32>().is_ok()
    };
    let extents: Vec<&str> = text.lines().filter(is_extent).collect();
    assert!(!extents.is_empty(), "{text}");
    extents.iter().all(|line| line.contains("shared"))
}

fn a_state_is_shared(kind: &str, mebibytes: u64) {
    let system = System::with(&Boxes::version(1).bundle());
    let place = system.folder().join("a");
    let Some(disk) = Disk::mount(&format!("reflink::{kind}"), kind, mebibytes + 512, &place) else {
        return;
    };
    let node = system.settled_box("a", 1, 1);
    let port = system.port(1);
    let mut caller = Caller::unlabelled(port, 1).expect("connected");
    caller.put("apples", 7).expect("answered");
    disk.write("current/large", mebibytes * MIB);
    let old = node.data.join("versions/1.1/state/large");
    assert!(
        !is_shared(&old),
        "shared before there is anything to share it with"
    );
    let before = disk.free();
    assert!(before < mebibytes * MIB, "a copy would fit: {before}");
    system.publish(&Boxes::version(2).bundle());
    system.until_settled(&node, 2);
    let used = before.saturating_sub(disk.free());
    assert!(used < BESIDE_BYTES, "{used} bytes more are used");
    let new = node.data.join("versions/2.1/state/large");
    assert!(is_shared(&old) && is_shared(&new));
    let mut caller = system.member(port, 2).expect("connected");
    assert_eq!(caller.get("apples").expect("answered"), Some(7));
    println!(
        "{kind}: unavailable for {} ms",
        system.counter("a", "unavailable_ms.2")
    );
    // What changes in one does not change in the other.
    std::fs::write(&new, "new").expect("written");
    assert_eq!(
        std::fs::metadata(&old).expect("there").len(),
        mebibytes * MIB
    );
}

#[test]
fn a_gibibyte_on_xfs_is_shared_and_not_copied() {
    a_state_is_shared("xfs", 1024);
}

#[test]
fn a_state_on_btrfs_is_shared_and_not_copied() {
    a_state_is_shared("btrfs", 600);
}
