//! The data directory, its disk, and the library that agents preload.

use super::Finding;
use crate::commands::agent::explain;
use crate::failure::CommandFailure;
use agent::AgentError;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// With less room than this, or with less than this part of the disk, an upgrade soon waits for room.
const ROOM_MIN_BYTES: u64 = 1 << 30;
const ROOM_MIN_PART: u64 = 20;

/// What shows that a folder is a server's.
const SERVERS: &str = "udb.sqlite";

/// Whether an agent finds its library.
pub(super) fn library() -> Finding {
    let about = "library";
    match agent::fitness::library() {
        Ok(path) => Finding::good(about, format!("agents preload {}", path.display())),
        Err(error) => refused(about, error),
    }
}

/// What an agent would refuse to start with.
fn refused(about: &str, error: AgentError) -> Finding {
    let error = explain(error);
    let advice = error.downcast_ref::<CommandFailure>();
    let next = advice.map_or_else(String::new, |advice| advice.next.clone());
    Finding::trouble(about, format!("no agent starts: {error:#}"), next)
}

pub(super) fn look(data: &Path) -> Vec<Finding> {
    let is_a_servers = data.join(SERVERS).exists();
    if !is_a_servers && let Err(error) = agent::fitness::data_directory(data) {
        return vec![refused("data", error)];
    }
    let Some(folder) = existing(data) else {
        let found = format!("{} cannot be reached", data.display());
        return vec![Finding::trouble(
            "data",
            found,
            "make the folder, or name another with --data",
        )];
    };
    let mut findings = vec![writable(data, &folder)];
    if findings[0].next.is_empty() && !is_a_servers {
        findings.push(reflinks(&folder));
    }
    findings.push(room(&folder));
    findings
}

/// The folder itself, or the nearest one above it that is there.
fn existing(data: &Path) -> Option<PathBuf> {
    let data = std::path::absolute(data).ok()?;
    let found = data.ancestors().find(|folder| folder.is_dir());
    found.map(Path::to_path_buf)
}

/// Writes a file through to the disk.
fn writable(data: &Path, folder: &Path) -> Finding {
    let about = "data";
    let written = tempfile::Builder::new()
        .prefix(".doctor-")
        .tempfile_in(folder);
    let written = written.and_then(|mut file| {
        file.write_all(b"upstart")?;
        file.as_file().sync_all()
    });
    match written {
        Ok(()) if data.is_dir() => {
            Finding::good(about, format!("{} can be written", data.display()))
        }
        Ok(()) => Finding::good(about, format!("{} can be made", data.display())),
        Err(error) => Finding::trouble(
            about,
            format!("nothing can be written in {}: {error}", folder.display()),
            "run this as the user of the agent or server, and give that user the folder",
        ),
    }
}

/// Whether copies of state share their blocks.
fn reflinks(folder: &Path) -> Finding {
    let about = "reflinks";
    let cloned = || {
        let made = || {
            tempfile::Builder::new()
                .prefix(".doctor-")
                .tempfile_in(folder)
        };
        let (mut from, to) = (made()?, made()?);
        from.write_all(&[1; 4096])?;
        rustix::fs::ioctl_ficlone(to.as_file(), from.as_file())?;
        Ok::<_, std::io::Error>(())
    };
    match cloned() {
        Ok(()) => Finding::good(
            about,
            "copies of a node's state share their blocks until one is changed",
        ),
        Err(_) => Finding::note(
            about,
            "the file system copies a node's state byte by byte before an upgrade",
            "nothing, unless the state is large: xfs (made with reflink=1) and btrfs copy at once, and need no room for it",
        ),
    }
}

fn room(folder: &Path) -> Finding {
    let about = "room";
    let looked = File::open(folder).and_then(|opened| Ok(rustix::fs::fstatvfs(&opened)?));
    let stat = match looked {
        Ok(stat) => stat,
        Err(error) => {
            let found = format!("cannot be looked at: {error}");
            return Finding::note(about, found, "run this as the user of the agent or server");
        }
    };
    let (free, all) = (stat.f_bavail * stat.f_frsize, stat.f_blocks * stat.f_frsize);
    let inodes = stat.f_files > 0 && stat.f_favail < stat.f_files / ROOM_MIN_PART;
    let mount = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_path_buf());
    judged_room(
        &format!("the disk of {}", mount.display()),
        free,
        all,
        inodes,
    )
}

fn judged_room(disk: &str, free: u64, all: u64, lacks_inodes: bool) -> Finding {
    let about = "room";
    let gib = |bytes: u64| format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30));
    let found = format!("{} of {} are free on {disk}", gib(free), gib(all));
    let next = "free some, or use a larger disk: each version's software, and a copy of the state while it is transformed, lie beside what runs";
    if lacks_inodes {
        let found = format!("{disk} has few inodes left, so that few files can be made");
        return Finding::trouble(
            about,
            found,
            "remove files that nobody needs, or make the file system with more inodes",
        );
    }
    if free < ROOM_MIN_BYTES && free < all / ROOM_MIN_PART {
        return Finding::trouble(about, found, next);
    }
    if free < ROOM_MIN_BYTES || free < all / ROOM_MIN_PART {
        return Finding::note(about, found, next);
    }
    Finding::good(about, found)
}

#[cfg(test)]
mod tests {
    use super::super::Health;
    use super::*;

    #[test]
    fn little_room_is_told_before_it_is_none() {
        let health = |free, all, inodes| judged_room("/data", free, all, inodes).health;
        let gib = 1 << 30;
        assert_eq!(health(100 * gib, 200 * gib, false), Health::Good);
        assert_eq!(health(5 * gib, 200 * gib, false), Health::Note);
        assert_eq!(health(gib / 2, gib, false), Health::Note);
        assert_eq!(health(gib / 2, 200 * gib, false), Health::Trouble);
        assert_eq!(health(100 * gib, 200 * gib, true), Health::Trouble);
    }

    #[test]
    fn what_an_agent_would_refuse_is_trouble() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("file");
        fs::write(&file, "").expect("written");
        for bad in [&file, &file.join("x"), &folder.path().join("a b")] {
            let found = look(bad);
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!(found[0].health, Health::Trouble, "{found:?}");
            assert!(!found[0].next.is_empty(), "{found:?}");
        }
        // A server's folder may have any name, and has no state of a node.
        let servers = folder.path().join("the server");
        fs::create_dir(&servers).expect("made");
        fs::write(servers.join(SERVERS), "").expect("written");
        let found = look(&servers);
        assert!(found.iter().all(|one| one.about != "reflinks"), "{found:?}");
        assert_eq!(found[0].health, Health::Good, "{found:?}");
    }

    #[test]
    fn a_folder_is_looked_at_and_left_as_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let found = look(&folder.path().join("not/yet"));
        assert_eq!((found[0].health, found.len()), (Health::Good, 3));
        assert!(found[0].found.contains("can be made"), "{found:?}");
        let left = fs::read_dir(folder.path()).expect("listed").count();
        assert_eq!(left, 0);
    }
}
