//! The data directory is made ready for an agent.

use super::agent_error::{AgentError, at};
use crate::layout::Layout;
use crate::trust;
use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Makes the data directory and says its absolute path: the software is told paths in it. The software's user passes through it, and
/// nobody else sees what is the agent's alone.
pub(super) fn prepare(data: &Path) -> Result<PathBuf, AgentError> {
    if let Some(parent) = data.parent() {
        std::fs::create_dir_all(parent).map_err(at(parent))?;
    }
    make_folder(data, 0o711).map_err(at(data))?;
    trust::check_way(data)?;
    let data = std::fs::canonicalize(data).map_err(at(data))?;
    check(&data)?;
    for (name, mode) in [
        ("versions", 0o711),
        ("lib", 0o711),
        ("from-server", 0o700),
        ("artifacts", 0o700),
        ("adapters", 0o700),
    ] {
        let folder = data.join(name);
        make_folder(&folder, mode)
            .and_then(|()| narrow(&folder, mode))
            .map_err(at(&folder))?;
    }
    Ok(data)
}

/// Looks at one that is there, by its real path.
fn check(data: &Path) -> Result<(), AgentError> {
    if let Some(name) = somebody_elses(data).map_err(at(data))? {
        return Err(AgentError::NotANodes(data.to_owned(), name));
    }
    if let Some(why) = unfit(data) {
        return Err(AgentError::Unfit(data.to_owned(), why));
    }
    Ok(trust::check(data)?)
}

/// Whether [`prepare`] would make it ready; nothing is made or changed.
pub(crate) fn look(data: &Path) -> Result<(), AgentError> {
    let data = std::path::absolute(data).map_err(at(data))?;
    match std::fs::symlink_metadata(&data) {
        Ok(_) if data.is_dir() => {
            trust::check_way(&data)?;
            check(&std::fs::canonicalize(&data).map_err(at(&data))?)
        }
        Ok(_) => Err(at(&data)(io::ErrorKind::NotADirectory.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => would_be(&data),
        Err(error) => Err(at(&data)(error)),
    }
}

/// Looks at one that is not there: it is made in the nearest folder above.
fn would_be(data: &Path) -> Result<(), AgentError> {
    let mut above = data.ancestors().skip(1);
    let above = above.find(|above| std::fs::symlink_metadata(above).is_ok());
    let above = above.unwrap_or(Path::new("/"));
    if !above.is_dir() {
        return Err(at(above)(io::ErrorKind::NotADirectory.into()));
    }
    if let Some(why) = unfit(data) {
        return Err(AgentError::Unfit(data.to_owned(), why));
    }
    Ok(trust::check_way(above)?)
}

/// Takes over what an agent of an earlier build has kept of its server in a folder that looked as if nobody would miss it. Only the
/// agent that has locked the journal does this.
pub(super) fn take_over(layout: &Layout) -> Result<(), AgentError> {
    let (before, now) = (layout.heard_by_earlier_builds(), layout.heard());
    match std::fs::rename(&before, &now) {
        Ok(()) => {
            let root = layout.root();
            let synced = File::open(root).and_then(|folder| folder.sync_all());
            synced.map_err(at(root))?;
            tracing::info!(from = %before.display(), to = %now.display(), "what was heard from the server is kept here now");
            Ok(())
        }
        // There is none, or this agent has heard from its server since: that is newer.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound
                    | io::ErrorKind::DirectoryNotEmpty
                    | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(())
        }
        Err(error) => Err(at(&before)(error)),
    }
}

/// Why a path cannot be a data directory's. The dynamic linker cuts `LD_PRELOAD` at blanks and colons (ld.so(8)): it would load what
/// lies at the first part, whoever has put it there.
fn unfit(data: &Path) -> Option<&'static str> {
    match data.to_str() {
        None => Some("its path is no UTF-8"),
        Some(path) if path.contains(|at: char| at == ':' || at.is_whitespace()) => Some(
            "its path has a blank or a colon, at which the library that it holds could not be preloaded",
        ),
        Some(_) => None,
    }
}

/// What shows that a folder is somebody else's: a server's database, or something of a name that the agent would take for its own
/// where no agent has been. What people keep beside a node's files (a log, a state that is adopted) is left alone.
fn somebody_elses(data: &Path) -> io::Result<Option<&'static str>> {
    const SERVERS: &str = "udb.sqlite";
    // The lock is made before anything else; where it and the journal are missing, that is told as what it is.
    const NODES: [&str; 4] = ["journal", "journal.lock", "current", "start.json"];
    let is_there = |name: &str| match std::fs::symlink_metadata(data.join(name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        looked => looked.map(|_| true),
    };
    for name in NODES {
        if is_there(name)? {
            return Ok(None);
        }
    }
    if is_there(SERVERS)? {
        return Ok(Some(SERVERS));
    }
    for name in trust::USED {
        // An agent that was killed while it made them has left them empty.
        let is_empty =
            || std::fs::read_dir(data.join(name)).is_ok_and(|mut them| them.next().is_none());
        if is_there(name)? && !is_empty() {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// Makes a folder with this mode, whatever the umask; one that is there stays as it is.
fn make_folder(folder: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(folder) {
        Ok(()) => std::fs::set_permissions(folder, Permissions::from_mode(mode)),
        Err(_) if folder.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Takes away what a folder's mode has beyond this one.
fn narrow(folder: &Path, mode: u32) -> io::Result<()> {
    let present = std::fs::metadata(folder)?.permissions().mode() & 0o7777;
    match present & !mode {
        0 => Ok(()),
        _ => std::fs::set_permissions(folder, Permissions::from_mode(present & mode)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn a_folder_that_is_a_servers_or_has_something_elses_files_is_refused_and_left_as_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path();
        let refused = |name: &str| {
            let refused = prepare(data);
            let why = refused.expect_err("refused").to_string();
            assert!(why.contains(&format!("contains `{name}`")), "{why}");
            assert_eq!(std::fs::read_dir(data).expect("listed").count(), 1);
        };
        std::fs::write(data.join("udb.sqlite"), "").expect("written");
        refused("udb.sqlite");
        std::fs::remove_file(data.join("udb.sqlite")).expect("removed");
        std::fs::create_dir(data.join("lib")).expect("made");
        std::fs::write(data.join("lib/libc.so"), "").expect("written");
        refused("lib");
        // What a node has left is a node's.
        std::fs::write(data.join("journal.lock"), "").expect("written");
        assert!(prepare(data).is_ok());
    }

    #[test]
    fn a_folder_that_is_half_made_or_has_files_of_people_is_taken() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("lost+found")).expect("made");
        std::fs::create_dir(folder.path().join("versions")).expect("made");
        std::fs::write(folder.path().join("agent.log"), "").expect("written");
        assert!(prepare(folder.path()).is_ok());
    }

    #[test]
    fn what_an_earlier_build_kept_of_its_server_is_taken_over_unless_there_is_newer() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = prepare(folder.path()).expect("prepared");
        let layout = Layout::new(&data);
        let keep = |text: &str| {
            std::fs::create_dir_all(data.join("cache/repository")).expect("made");
            std::fs::write(data.join("cache/view.json"), text).expect("written");
        };
        take_over(&layout).expect("there is none");
        keep("old");
        take_over(&layout).expect("taken over");
        assert!(!data.join("cache").exists());
        let view = data.join("from-server/view.json");
        assert_eq!(std::fs::read_to_string(&view).expect("there"), "old");
        assert!(data.join("from-server/repository").is_dir());
        // An earlier build has run once more.
        keep("older");
        take_over(&layout).expect("left alone");
        assert_eq!(std::fs::read_to_string(&view).expect("there"), "old");
    }

    /// `upstart doctor` asks this: what an agent would refuse is refused, and nothing is made.
    #[test]
    fn to_look_says_what_an_agent_would_say_and_changes_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path();
        std::fs::write(place.join("file"), "").expect("written");
        std::os::unix::fs::symlink("nowhere", place.join("dangling")).expect("linked");
        std::os::unix::fs::symlink("loop", place.join("loop")).expect("linked");
        std::fs::create_dir(place.join("open")).expect("made");
        std::fs::set_permissions(place.join("open"), Permissions::from_mode(0o777)).expect("set");
        for bad in ["file", "file/x", "dangling", "loop", "a b", "a:b", "open"] {
            let data = place.join(bad);
            let before = std::fs::read_dir(place).expect("listed").count();
            assert!(look(&data).is_err(), "{bad}");
            let after = std::fs::read_dir(place).expect("listed").count();
            assert_eq!(before, after, "{bad}");
            assert!(prepare(&data).is_err(), "{bad}");
        }
        look(&place.join("not/yet")).expect("can be made");
        assert!(!place.join("not").exists());
        prepare(&place.join("node")).expect("made");
        look(&place.join("node")).expect("there");
    }

    #[test]
    fn a_path_that_cuts_the_librarys_is_refused() {
        for path in ["/srv/a b", "/srv/a:b", "/srv/a\tb", "/srv/a\n"] {
            assert!(unfit(Path::new(path)).is_some(), "{path:?}");
        }
        assert!(unfit(Path::new(OsStr::from_bytes(b"/srv/\xff"))).is_some());
        for path in ["/srv/node-1", "/srv/k\u{f6}ln", "/srv/$HOME"] {
            assert_eq!(unfit(Path::new(path)), None, "{path:?}");
        }
    }
}
