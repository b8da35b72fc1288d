//! Trees in which somebody else may change things while they are walked: the software's state, what a transform leaves.
//!
//! An agent that runs as root must not be led elsewhere by a name that is swapped under its eyes. So nothing here is found by a path:
//! each step opens one name below a folder that is open already, follows no link, and stays within the mount where it began
//! (`openat2` with RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS and RESOLVE_NO_XDEV). What was opened is asked what it is, and nothing else is.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Uid};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

/// How deep a tree may be that is copied: each level takes two descriptors, of which an agent may have a thousand.
pub(crate) const DEPTH_MAX: usize = 128;

/// How deep a deletion goes before it moves what is deeper up. Anybody can make a tree of any depth, and it must not stay for that.
const REMOVE_DEPTH_MAX: usize = 64;

/// How often a look at where a link leads is repeated while the tree is renamed meanwhile (openat2(2), EAGAIN).
const LOOKS_MAX: usize = 100;

/// An open folder.
#[derive(Debug)]
pub(crate) struct OpenFolder(OwnedFd);

impl AsFd for OpenFolder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl OpenFolder {
    /// Opens where a walk begins, by its path: one of the agent's own, or one that an operator has given.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::open(path, flags, Mode::empty())?))
    }

    /// The names in it, in order.
    pub(crate) fn names(&self) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(self)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(OsString::from_vec(name.to_vec()));
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// What a name is; a link is not followed.
    pub(crate) fn look_at(&self, name: &OsStr) -> io::Result<Stat> {
        Ok(rustix::fs::statat(self, name, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// A folder in it. Fails with EXDEV where another file system is mounted.
    pub(crate) fn folder(&self, name: &OsStr) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        self.beneath(name, flags, Mode::empty()).map(OpenFolder)
    }

    /// A regular file in it, and what it is. Nothing else is opened for longer than it takes to see that it is none.
    pub(crate) fn file(&self, name: &OsStr) -> io::Result<(File, Stat)> {
        // Opening a pipe would wait for its other end.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = self.beneath(name, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&file)?;
        match kind(&stat) {
            FileType::RegularFile => Ok((File::from(file), stat)),
            _ => Err(io::Error::other("it is no regular file any more")),
        }
    }

    /// What a link says.
    pub(crate) fn link(&self, name: &OsStr) -> io::Result<PathBuf> {
        let target = rustix::fs::readlinkat(self, name, Vec::new())?;
        Ok(PathBuf::from(OsString::from_vec(target.into_bytes())))
    }

    /// Makes a folder in it that only this user enters.
    pub(crate) fn make_folder(&self, name: &OsStr) -> io::Result<Self> {
        rustix::fs::mkdirat(self, name, Mode::RWXU)?;
        self.folder(name)
    }

    /// Makes a file in it that only this user reads.
    pub(crate) fn make_file(&self, name: &OsStr) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let mode = Mode::RUSR | Mode::WUSR;
        self.beneath(name, flags, mode).map(File::from)
    }

    /// Whether this path, seen from here, leads out of this folder now, or would if something were there.
    pub(crate) fn leads_out(&self, path: &Path) -> io::Result<bool> {
        if depth(path).is_none() {
            return Ok(true);
        }
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        for _ in 0..LOOKS_MAX {
            match rustix::fs::openat2(self, path, flags, Mode::empty(), ResolveFlags::BENEATH) {
                Ok(_) => return Ok(false),
                Err(Errno::XDEV) => return Ok(true),
                Err(Errno::AGAIN) => {}
                // It leads nowhere, or in a circle.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS) => {
                    return Ok(false);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(Errno::AGAIN.into())
    }

    fn beneath(&self, name: &OsStr, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let stay = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        Ok(rustix::fs::openat2(self, name, flags, mode, stay)?)
    }
}

/// What something is.
pub(crate) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// The error that a mounted file system is to a walk.
pub(crate) fn is_mount(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::XDEV.raw_os_error())
}

/// How deep below its beginning a relative path ends; `None` if it leaves it on its way.
fn depth(path: &Path) -> Option<usize> {
    path.components()
        .try_fold(0_usize, |depth, part| match part {
            Component::Normal(_) => Some(depth + 1),
            Component::CurDir => Some(depth),
            Component::ParentDir => depth.checked_sub(1),
            Component::RootDir | Component::Prefix(_) => None,
        })
}

/// Gives a folder that is this user's, and what lies directly in it, to another user.
pub(crate) fn give_away(path: &Path, (uid, gid): (u32, u32)) -> io::Result<()> {
    let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    let folder = OpenFolder::open(path)?;
    for name in folder.names()? {
        rustix::fs::chownat(&folder, &name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    // Last: until now nobody else could change what lies in it.
    Ok(rustix::fs::fchown(&folder, uid, gid)?)
}

/// Deletes a tree, a file, a link or nothing. Another file system that is mounted in it is left alone, and is an error.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::other(format!(
            "{} cannot be deleted",
            path.display()
        )));
    };
    let parent = if parent.as_os_str().is_empty() {
        Path::new(".")
    } else {
        parent
    };
    let parent = match OpenFolder::open(parent) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    if unlinked(&parent, name, path)? {
        return Ok(());
    }
    let top = match parent.folder(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened.map_err(|error| in_the_way(path, error))?,
    };
    let mut removal = Removal {
        top: &top,
        moved: 0,
    };
    loop {
        let names = top.names()?;
        if names.is_empty() {
            break;
        }
        for name in names {
            removal.entry(&top, &name, &path.join(&name), 1)?;
        }
    }
    folder_unlinked(&parent, name, path)
}

struct Removal<'a> {
    /// What is deleted: what lies too deep is moved here.
    top: &'a OpenFolder,
    moved: u64,
}

impl Removal<'_> {
    fn entry(
        &mut self,
        folder: &OpenFolder,
        name: &OsStr,
        shown: &Path,
        depth: usize,
    ) -> io::Result<()> {
        if unlinked(folder, name, shown)? {
            return Ok(());
        }
        if depth >= REMOVE_DEPTH_MAX {
            return self.move_up(folder, name, shown);
        }
        let inner = match folder.folder(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            opened => opened.map_err(|error| in_the_way(shown, error))?,
        };
        for name in inner.names()? {
            self.entry(&inner, &name, &shown.join(&name), depth + 1)?;
        }
        folder_unlinked(folder, name, shown)
    }

    fn move_up(&mut self, folder: &OpenFolder, name: &OsStr, shown: &Path) -> io::Result<()> {
        loop {
            self.moved += 1;
            let fresh = format!("deeper-{}", self.moved);
            let flags = rustix::fs::RenameFlags::NOREPLACE;
            match rustix::fs::renameat_with(folder, name, self.top, &fresh, flags) {
                Ok(()) | Err(Errno::NOENT) => return Ok(()),
                Err(Errno::EXIST) => {}
                Err(error) => return Err(in_the_way(shown, error.into())),
            }
        }
    }
}

/// Deletes what is no folder; says whether it was none.
fn unlinked(folder: &OpenFolder, name: &OsStr, shown: &Path) -> io::Result<bool> {
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::ISDIR) => Ok(false),
        Err(error) => Err(in_the_way(shown, error.into())),
    }
}

/// Deletes an empty folder. One that is filled meanwhile by somebody else is found again by whoever asks for its deletion next.
fn folder_unlinked(folder: &OpenFolder, name: &OsStr, shown: &Path) -> io::Result<()> {
    match rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(in_the_way(shown, error.into())),
    }
}

fn in_the_way(path: &Path, error: io::Error) -> io::Error {
    let mounted = is_mount(&error) || error.kind() == io::ErrorKind::ResourceBusy;
    let text = if mounted {
        format!(
            "{} is another file system, mounted there: it was left alone; unmount it, and the rest goes too",
            path.display()
        )
    } else {
        format!("{}: {error}", path.display())
    };
    io::Error::new(error.kind(), text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_tree_of_any_depth_is_deleted_and_what_its_links_name_is_not() {
        let place = tempfile::tempdir().expect("a folder");
        let outside = place.path().join("outside");
        std::fs::create_dir(&outside).expect("made");
        std::fs::write(outside.join("precious"), "").expect("written");
        let tree = place.path().join("tree");
        std::fs::create_dir(&tree).expect("made");
        symlink(&outside, tree.join("link")).expect("made");
        // Deeper than paths are long, and than descriptors are many.
        let mut at = OpenFolder::open(&tree).expect("opens");
        for _ in 0..3_000 {
            at = at.make_folder(OsStr::new("a")).expect("made");
        }
        at.make_file(OsStr::new("deeper-1")).expect("made");
        remove(&tree).expect("deleted");
        assert!(!tree.exists() && outside.join("precious").exists());
        remove(&tree).expect("nothing is deleted as well");
        symlink(&outside, &tree).expect("made");
        remove(&tree).expect("the link is deleted");
        assert!(outside.join("precious").exists());
    }

    #[test]
    fn where_a_path_leads_is_seen() {
        let place = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(place.path().join("in")).expect("made");
        symlink(".", place.path().join("in/here")).expect("made");
        symlink("..", place.path().join("in/up")).expect("made");
        let folder = OpenFolder::open(&place.path().join("in")).expect("opens");
        for (path, out) in [
            ("", false),
            ("missing", false),
            ("here/here", false),
            ("here/../x", true),
            ("missing/../../x", true),
            ("up", true),
            ("up/in", true),
            ("/etc", true),
        ] {
            assert_eq!(
                folder.leads_out(Path::new(path)).expect(path),
                out,
                "{path}"
            );
        }
    }

    #[test]
    fn nothing_but_a_regular_file_is_opened_as_one() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = OpenFolder::open(place.path()).expect("opens");
        rustix::fs::mkfifoat(&folder, "pipe", Mode::RWXU).expect("made");
        std::fs::write(place.path().join("file"), "").expect("written");
        symlink("file", place.path().join("link")).expect("made");
        assert!(folder.file(OsStr::new("file")).is_ok());
        assert!(folder.file(OsStr::new("pipe")).is_err());
        assert!(folder.file(OsStr::new("link")).is_err());
        assert!(folder.folder(OsStr::new("..")).is_err());
        assert!(folder.folder(OsStr::from_bytes(b"link/x")).is_err());
    }
}
