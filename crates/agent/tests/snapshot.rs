//! Snapshots of state trees: what they keep, and how they fail.

#![allow(missing_docs, clippy::unwrap_used)]

use agent::snapshot::{
    Copied, DeclaredState, SnapshotError, check, check_whole, snapshot, sync_tree,
};
use std::fs::{self, File, Permissions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A file system of its own in a directory, unmounted with the test.
struct Mount(PathBuf);

impl Mount {
    fn new(kind: &str, options: &str, device: &Path, at: &Path) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", kind, "-o", options])
            .args([device, at])
            .status()
            .is_ok_and(|status| status.success());
        mounted.then(|| Self(at.to_owned()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        Command::new("umount").arg(&self.0).status().unwrap();
    }
}

fn quietly(from: &Path, to: &Path) -> Result<Copied, SnapshotError> {
    declared(from, to, &DeclaredState::default())
}

fn declared(from: &Path, to: &Path, declared: &DeclaredState) -> Result<Copied, SnapshotError> {
    snapshot(from, to, declared, &mut |_| {})
}

fn sharing(shared: &str) -> DeclaredState {
    DeclaredState {
        shared: vec![PathBuf::from(shared)],
        ..DeclaredState::default()
    }
}

/// What is told of a state that is not copied.
fn unfit(result: Result<Copied, SnapshotError>) -> String {
    match result {
        Err(error @ SnapshotError::Unfit { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn everything_that_matters_is_carried_over() {
    let directory = tempfile::tempdir().unwrap();
    let (old, new) = (directory.path().join("old"), directory.path().join("new"));
    fs::create_dir_all(old.join("folder/empty")).unwrap();
    fs::write(old.join("folder/file"), "contents").unwrap();
    fs::hard_link(old.join("folder/file"), old.join("second name")).unwrap();
    symlink("folder/file", old.join("link")).unwrap();
    symlink("nowhere", old.join("dangling")).unwrap();
    fs::write(old.join("secret"), "s").unwrap();
    fs::set_permissions(old.join("secret"), Permissions::from_mode(0o710)).unwrap();
    fs::set_permissions(old.join("folder/empty"), Permissions::from_mode(0o500)).unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    let attributed = rustix::fs::setxattr(old.join("secret"), "user.mark", b"value", flags).is_ok();
    if is_root() {
        chown(old.join("folder"), Some(1234), Some(5678)).unwrap();
    }
    rustix::fs::mkfifoat(rustix::fs::CWD, old.join("pipe"), 0o640.into()).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(old.join("socket")).unwrap();
    let moment = SystemTime::UNIX_EPOCH + Duration::from_millis(1_234_567_890_123);
    let file = File::open(old.join("folder/file")).unwrap();
    file.set_modified(moment).unwrap();
    let folder_time = fs::metadata(old.join("folder"))
        .unwrap()
        .modified()
        .unwrap();

    let mut reports = Vec::new();
    let copied = snapshot(&old, &new, &DeclaredState::default(), &mut |progress| {
        reports.push(progress);
    })
    .unwrap();
    assert_eq!((copied.files, copied.skipped, copied.bytes), (2, 1, 9));
    assert!(reports.iter().all(|progress| progress.bytes_total == 9));
    assert_eq!(reports.last().unwrap().bytes, 9);

    assert_eq!(fs::read_to_string(new.join("link")).unwrap(), "contents");
    assert_eq!(
        fs::read_link(new.join("dangling")).unwrap(),
        Path::new("nowhere")
    );
    let file = fs::metadata(new.join("folder/file")).unwrap();
    let second = fs::metadata(new.join("second name")).unwrap();
    assert_eq!((file.ino(), file.nlink()), (second.ino(), 2));
    assert_eq!(file.modified().unwrap(), moment);
    assert_ne!(
        file.ino(),
        fs::metadata(old.join("folder/file")).unwrap().ino()
    );
    let mode = |name: &str| fs::metadata(new.join(name)).unwrap().mode() & 0o7777;
    assert_eq!((mode("secret"), mode("folder/empty")), (0o710, 0o500));
    let folder = fs::metadata(new.join("folder")).unwrap();
    assert_eq!(folder.modified().unwrap(), folder_time);
    if is_root() {
        assert_eq!((folder.uid(), folder.gid()), (1234, 5678));
    }
    if attributed {
        let mut value = [0_u8; 8];
        let length = rustix::fs::getxattr(new.join("secret"), "user.mark", &mut value[..]);
        assert_eq!(&value[..length.unwrap()], b"value");
    }
    let pipe = fs::metadata(new.join("pipe")).unwrap();
    assert!(pipe.file_type().is_fifo() && pipe.mode() & 0o7777 == 0o640);
    assert!(!new.join("socket").exists());
}

#[test]
fn rights_of_other_users_are_carried_over_only_where_declared() {
    let directory = tempfile::tempdir().unwrap();
    let (old, new) = (directory.path().join("old"), directory.path().join("new"));
    fs::create_dir_all(old.join("grouped")).unwrap();
    fs::write(old.join("program"), "").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
    fs::set_permissions(old.join("program"), Permissions::from_mode(0o6755)).unwrap();
    fs::set_permissions(old.join("grouped"), Permissions::from_mode(0o2775)).unwrap();
    quietly(&old, &new).unwrap();
    // A folder's bit gives nobody a right: it says whose group is what is made there.
    assert_eq!(mode(&new.join("program")), 0o755);
    assert_eq!(mode(&new.join("grouped")), 0o2775);
    let again = directory.path().join("again");
    let all = DeclaredState {
        set_user_id: true,
        ..DeclaredState::default()
    };
    declared(&old, &again, &all).unwrap();
    assert_eq!(mode(&again.join("program")), 0o6755);
}

#[test]
fn a_link_by_the_states_own_path_leads_into_the_copy() {
    let directory = tempfile::tempdir().unwrap();
    let place = fs::canonicalize(directory.path()).unwrap();
    let (old, new) = (place.join("old"), place.join("new"));
    fs::create_dir_all(old.join("run/deep")).unwrap();
    fs::write(old.join("main.conf"), "as it was").unwrap();
    symlink(old.join("main.conf"), old.join("run/deep/link")).unwrap();
    symlink(&old, old.join("whole")).unwrap();
    quietly(&old, &new).unwrap();
    fs::write(old.join("main.conf"), "changed afterwards").unwrap();
    let read = fs::read_to_string(new.join("run/deep/link")).unwrap();
    assert_eq!(read, "as it was");
    assert_eq!(fs::canonicalize(new.join("whole")).unwrap(), new);
}

#[test]
fn a_link_that_leads_out_is_refused_or_declared() {
    let directory = tempfile::tempdir().unwrap();
    let (old, new) = (directory.path().join("old"), directory.path().join("new"));
    fs::create_dir_all(old.join("a/b")).unwrap();
    fs::create_dir(directory.path().join("logs")).unwrap();
    let link = old.join("a/b/link");
    for (target, leads_out) in [
        ("../../a/b", false),
        ("../..", false),
        ("../../../logs", true),
        ("/var/log", true),
        ("missing/../../../../logs", true),
    ] {
        symlink(target, &link).unwrap();
        let to = Path::new("a/b/link");
        if leads_out {
            for result in [quietly(&old, &new), declared(&old, &new, &sharing("a/c"))] {
                let told = unfit(result);
                assert!(
                    told.contains(target) && told.contains("\"a/b/link\""),
                    "{told}"
                );
                assert!(!new.exists());
            }
            check(&old, directory.path(), &DeclaredState::default()).unwrap_err();
            check_whole(&old, &DeclaredState::default()).unwrap_err();
            declared(&old, &new, &sharing("a/b/link")).unwrap();
        } else {
            quietly(&old, &new).unwrap();
        }
        assert_eq!(fs::read_link(new.join(to)).unwrap(), Path::new(target));
        fs::remove_file(&link).unwrap();
        fs::remove_dir_all(&new).unwrap();
    }
    // What leads to where the software sees its state stays in it, whichever version's it is.
    let seen_at = directory.path().join("current");
    symlink(seen_at.join("a"), &link).unwrap();
    let seen = DeclaredState {
        seen_at: Some(seen_at),
        ..DeclaredState::default()
    };
    declared(&old, &new, &seen).unwrap();
    fs::remove_dir_all(&new).unwrap();
    unfit(quietly(&old, &new));
}

#[test]
fn other_file_systems_and_devices_are_no_part_of_a_state() {
    if !is_root() {
        eprintln!(
            "SKIPPED: other_file_systems_and_devices_are_no_part_of_a_state: only root may mount and make devices"
        );
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (old, new) = (directory.path().join("old"), directory.path().join("new"));
    let mounted = old.join("mounted");
    fs::create_dir_all(&mounted).unwrap();
    match Mount::new("tmpfs", "size=1m", Path::new("none"), &mounted) {
        Some(_mount) => {
            let told = unfit(quietly(&old, &new));
            assert!(told.contains("mounted is another file system"), "{told}");
        }
        None => eprintln!(
            "SKIPPED: other_file_systems_and_devices_are_no_part_of_a_state: no tmpfs can be mounted here"
        ),
    }
    quietly(&old, &new).unwrap();
    let (kind, null) = (
        rustix::fs::FileType::CharacterDevice,
        rustix::fs::makedev(1, 3),
    );
    let device = old.join("null");
    if rustix::fs::mknodat(rustix::fs::CWD, &device, kind, 0o666.into(), null).is_ok() {
        let told = unfit(quietly(&old, &directory.path().join("other")));
        assert!(told.contains("null is a device"), "{told}");
    }
}

/// Whoever owns the state changes it while it is copied: folders become links to what is not his, and back.
#[test]
fn a_folder_that_is_swapped_for_a_link_leads_nowhere_else() {
    // Where syncing costs nothing, so that there are many tries.
    let directory = tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap();
    let (old, outside) = (
        directory.path().join("old"),
        directory.path().join("outside"),
    );
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "").unwrap();
    let pairs: Vec<_> = (0..20)
        .map(|number| {
            (
                old.join(format!("folder-{number}")),
                old.join(format!("link-{number}")),
            )
        })
        .collect();
    for (folder, link) in &pairs {
        fs::create_dir_all(folder).unwrap();
        symlink(&outside, link).unwrap();
    }
    let over = AtomicBool::new(false);
    let swap = || {
        let flags = rustix::fs::RenameFlags::EXCHANGE;
        while !over.load(Ordering::Relaxed) {
            for (folder, link) in &pairs {
                let here = rustix::fs::CWD;
                rustix::fs::renameat_with(here, folder, here, link, flags).unwrap();
            }
        }
    };
    let mut copies = 0;
    std::thread::scope(|scope| {
        scope.spawn(swap);
        let caught = std::panic::catch_unwind(|| {
            let mut copies = 0;
            for number in 0..400 {
                let new = directory.path().join(format!("new-{number}"));
                let copied = declared(&old, &new, &sharing("."));
                copies += i32::from(copied.is_ok());
                for name in fs::read_dir(&new).into_iter().flatten().flatten() {
                    let followed = name.file_type().unwrap().is_dir();
                    assert!(!followed || !name.path().join("secret").exists());
                }
                let _ = fs::remove_dir_all(&new);
            }
            copies
        });
        over.store(true, Ordering::Relaxed);
        copies = caught.unwrap();
    });
    assert!(copies > 0, "the walk never came to its end");
}

/// A copy is nobody else's before it is whole.
#[test]
fn nobody_else_enters_a_copy_before_it_is_whole() {
    let directory = tempfile::tempdir().unwrap();
    let (old, new) = (directory.path().join("old"), directory.path().join("new"));
    fs::create_dir_all(old.join("open")).unwrap();
    fs::write(old.join("open/file"), "secret").unwrap();
    for path in ["", "open", "open/file"] {
        fs::set_permissions(old.join(path), Permissions::from_mode(0o777)).unwrap();
    }
    let mut modes = Vec::new();
    let mode = || fs::metadata(&new).unwrap().mode() & 0o7777;
    snapshot(&old, &new, &DeclaredState::default(), &mut |_| {
        modes.push(mode())
    })
    .unwrap();
    assert!(
        !modes.is_empty() && modes.iter().all(|mode| *mode == 0o700),
        "{modes:?}"
    );
    assert_eq!(mode(), 0o777);
}

#[test]
fn holes_stay_holes() {
    let directory = tempfile::tempdir().unwrap();
    let (old, new) = (directory.path().join("old"), directory.path().join("new"));
    fs::create_dir(&old).unwrap();
    let mut file = File::create(old.join("sparse")).unwrap();
    file.write_all(b"begin").unwrap();
    file.seek(SeekFrom::Start(50 << 20)).unwrap();
    file.write_all(b"middle").unwrap();
    file.set_len(100 << 20).unwrap();
    let copied = quietly(&old, &new).unwrap();
    assert!(copied.bytes < 1 << 20, "{copied:?}");
    let copy = fs::metadata(new.join("sparse")).unwrap();
    assert_eq!(copy.len(), 100 << 20);
    assert!(copy.blocks() * 512 < 1 << 20);
    let same = fs::read(old.join("sparse")).unwrap() == fs::read(new.join("sparse")).unwrap();
    assert!(same);
}

#[test]
fn a_copy_is_made_where_nothing_is_and_from_something() {
    let directory = tempfile::tempdir().unwrap();
    let (old, new) = (directory.path().join("old"), directory.path().join("new"));
    assert!(matches!(quietly(&old, &new), Err(SnapshotError::Io { .. })));
    fs::create_dir(&old).unwrap();
    fs::create_dir(&new).unwrap();
    fs::write(new.join("precious"), "").unwrap();
    assert!(matches!(quietly(&old, &new), Err(SnapshotError::Io { .. })));
    assert!(new.join("precious").exists());
}

#[test]
fn a_tree_that_does_not_fit_is_refused_before_the_first_byte_and_when_space_runs_out() {
    if !is_root() {
        eprintln!("skipped: only root may mount a small file system");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let small = directory.path().join("small");
    let Some(_mount) = Mount::new("tmpfs", "size=1m,nr_inodes=100", Path::new("none"), &small)
    else {
        eprintln!("skipped: no tmpfs can be mounted here");
        return;
    };
    let (big, many) = (directory.path().join("big"), directory.path().join("many"));
    fs::create_dir(&big).unwrap();
    fs::write(big.join("file"), vec![1; 2 << 20]).unwrap();
    let to = small.join("new");
    match quietly(&big, &to) {
        Err(SnapshotError::NoSpace {
            needed, available, ..
        }) => {
            assert!(
                needed > 2 << 20 && available <= 1 << 20,
                "{needed} {available}"
            );
        }
        other => panic!("{other:?}"),
    }
    assert!(!to.exists());
    // Bytes enough, but not files.
    fs::create_dir(&many).unwrap();
    for number in 0..150 {
        fs::write(many.join(number.to_string()), "").unwrap();
    }
    match quietly(&many, &to) {
        Err(SnapshotError::NoFiles {
            needed, available, ..
        }) => assert!(needed > 150 && available < 150, "{needed} {available}"),
        other => panic!("{other:?}"),
    }
    assert!(!to.exists());
}

#[test]
fn files_share_their_blocks_where_the_file_system_can() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    File::create(&image).unwrap().set_len(512 << 20).unwrap();
    let made = ["mkfs.xfs", "mkfs.btrfs"].iter().find(|program| {
        let status = Command::new(program).arg("-q").arg(&image).status();
        status.is_ok_and(|status| status.success())
    });
    let at = directory.path().join("mounted");
    let kind = made.map(|program| program.trim_start_matches("mkfs."));
    let mount = kind.and_then(|kind| Mount::new(kind, "loop", &image, &at));
    if mount.is_none() {
        eprintln!("skipped: neither XFS nor btrfs can be made and mounted here");
        return;
    }
    let (old, new) = (at.join("old"), at.join("new"));
    fs::create_dir(&old).unwrap();
    // More than half of what is free: a full copy would be refused.
    let chunk = vec![7; 1 << 20];
    let mut file = File::create(old.join("file")).unwrap();
    for _ in 0..260 {
        file.write_all(&chunk).unwrap();
    }
    let copied = quietly(&old, &new).unwrap();
    assert_eq!((copied.files, copied.cloned), (1, 1));
    // Writing into the original does not change the copy.
    file.seek(SeekFrom::Start(0)).unwrap();
    file.write_all(b"changed").unwrap();
    let copy = fs::read(new.join("file")).unwrap();
    assert!(copy.len() == 260 << 20 && copy.iter().all(|byte| *byte == 7));
}

#[test]
fn a_tree_of_many_files_is_made_durable_too() {
    let directory = tempfile::tempdir().unwrap();
    for number in 0..300 {
        fs::write(directory.path().join(number.to_string()), "x").unwrap();
    }
    sync_tree(directory.path()).unwrap();
    assert!(sync_tree(&directory.path().join("missing")).is_err());
}
