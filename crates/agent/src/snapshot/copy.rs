//! Copying the entries of a tree, one after the other, from open folder to open folder.

use super::declared::{DeclaredState, WalkPlace};
use super::{Copied, SnapshotError, SnapshotProgress, allocated, attributes, full_or};
use crate::tree::{OpenFolder, is_mount, kind};
use rustix::fs::SeekFrom as Seek;
use rustix::fs::{AtFlags, FileType, Mode, Stat};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// How much is copied between two reports of progress.
const CHUNK_BYTES: u64 = 8 * 1024 * 1024;

/// What is copied, and where to.
pub(super) struct Trees<'a> {
    /// Where the original is, for messages.
    pub(super) root: &'a Path,
    /// The folder in which the copy is made, for messages.
    pub(super) room: &'a Path,
    pub(super) from: &'a OpenFolder,
    /// An empty folder that only this user enters.
    pub(super) to: &'a OpenFolder,
    pub(super) declared: &'a DeclaredState,
    pub(super) bytes_total: u64,
}

/// Copies the entries of a tree; the copy's attributes come last, so that nobody else enters it before it is whole.
pub(super) fn copy_tree(
    trees: &Trees<'_>,
    progress: &mut dyn FnMut(SnapshotProgress),
) -> Result<Copied, SnapshotError> {
    let mut copying = Copying {
        trees,
        copied: Copied::default(),
        clones: true,
        links: BTreeMap::new(),
        progress,
    };
    copying.folder(trees.from, trees.to, Path::new(""), 0)?;
    Ok(copying.copied)
}

/// Whether files in `directory` can share the blocks of this one.
pub(super) fn can_clone(sample: &File, directory: &Path) -> bool {
    let probe = directory.join(".reflink-probe");
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let cloned = options
        .open(&probe)
        .and_then(|to| Ok(rustix::fs::ioctl_ficlone(&to, sample)?));
    // Not made, or removed now.
    let _ = fs::remove_file(&probe);
    cloned.is_ok()
}

struct Copying<'a> {
    trees: &'a Trees<'a>,
    copied: Copied,
    /// The file system has not refused a reflink yet.
    clones: bool,
    /// The first copy of each file that has several names, from the copy's beginning.
    links: BTreeMap<(u64, u64), PathBuf>,
    progress: &'a mut dyn FnMut(SnapshotProgress),
}

impl Copying<'_> {
    fn folder(
        &mut self,
        from: &OpenFolder,
        to: &OpenFolder,
        inner: &Path,
        depth: usize,
    ) -> Result<(), SnapshotError> {
        self.place(inner).judge_depth(depth)?;
        let names = from.names();
        for name in names.map_err(|error| self.failed("list", inner, error))? {
            self.entry((from, to), &name, &inner.join(&name), depth)?;
        }
        // Last, since entries change the folder's times and its mode may forbid them.
        let stat = rustix::fs::fstat(from);
        let stat = stat.map_err(|error| self.failed("look at", inner, error.into()))?;
        self.attributes(from, to, inner, &stat)
    }

    fn entry(
        &mut self,
        (from, to): (&OpenFolder, &OpenFolder),
        name: &OsStr,
        inner: &Path,
        depth: usize,
    ) -> Result<(), SnapshotError> {
        let stat = from.look_at(name);
        let stat = stat.map_err(|error| self.failed("look at", inner, error))?;
        match kind(&stat) {
            FileType::Directory => {
                let opened = from.folder(name);
                let from = opened.map_err(|error| self.failed("open", inner, error))?;
                let made = to.make_folder(name);
                let to = made.map_err(|error| self.failed("make the copy of", inner, error))?;
                self.folder(&from, &to, inner, depth + 1)
            }
            FileType::Symlink => self.link((from, to), name, inner, &stat),
            FileType::RegularFile => self.file((from, to), name, inner),
            FileType::Fifo => {
                // Nothing is in it that could be copied: it is there, or it is not.
                let made = rustix::fs::mkfifoat(to, name, Mode::RUSR | Mode::WUSR);
                made.map_err(io::Error::from)
                    .and_then(|()| attributes::carry_over_at(to, name, &stat))
                    .map_err(|error| self.failed("make the copy of", inner, error))
            }
            FileType::BlockDevice | FileType::CharacterDevice => Err(self.place(inner).is_device()),
            _ => {
                tracing::debug!(path = %inner.display(), "left out of the snapshot");
                self.copied.skipped += 1;
                Ok(())
            }
        }
    }

    fn link(
        &mut self,
        (from, to): (&OpenFolder, &OpenFolder),
        name: &OsStr,
        inner: &Path,
        stat: &Stat,
    ) -> Result<(), SnapshotError> {
        let target = from.link(name);
        let target = target.map_err(|error| self.failed("read", inner, error))?;
        let declared = self.trees.declared;
        declared.judge_link(self.trees.from, &self.place(inner), &target)?;
        let target = DeclaredState::carried(&self.place(inner), target);
        rustix::fs::symlinkat(&target, to, name)
            .map_err(io::Error::from)
            .and_then(|()| attributes::carry_over_at(to, name, stat))
            .map_err(|error| self.failed("make the copy of", inner, error))
    }

    fn file(
        &mut self,
        (from, to): (&OpenFolder, &OpenFolder),
        name: &OsStr,
        inner: &Path,
    ) -> Result<(), SnapshotError> {
        let opened = from.file(name);
        let (source, stat) = opened.map_err(|error| self.failed("open", inner, error))?;
        let identity = (stat.st_dev, stat.st_ino);
        if let Some(first) = self.links.get(&identity) {
            let linked = rustix::fs::linkat(self.trees.to, first, to, name, AtFlags::empty());
            return linked.map_err(|error| self.failed("link the copy of", inner, error.into()));
        }
        if stat.st_nlink > 1 {
            self.links.insert(identity, inner.to_owned());
        }
        let made = to.make_file(name);
        let target = made.map_err(|error| self.failed("make the copy of", inner, error))?;
        self.contents(&source, &target, &stat)
            .map_err(|error| self.failed("copy", inner, error))?;
        self.copied.files += 1;
        self.attributes(&source, &target, inner, &stat)
    }

    fn contents(&mut self, source: &File, target: &File, stat: &Stat) -> io::Result<()> {
        if self.clones {
            match rustix::fs::ioctl_ficlone(target, source) {
                Ok(()) => {
                    self.copied.cloned += 1;
                    self.report(allocated(stat));
                    return Ok(());
                }
                Err(rustix::io::Errno::NOSPC) => return Err(rustix::io::Errno::NOSPC.into()),
                // Not on this file system, or not between these two.
                Err(_) => self.clones = false,
            }
        }
        let length = stat.st_size.cast_unsigned();
        let mut at = 0;
        while let Some((start, end)) = next_data(source, at, length)? {
            self.range(source, target, start, end)?;
            at = end;
        }
        target.set_len(length)
    }

    /// Copies the bytes of one range, which holds no hole.
    fn range(&mut self, source: &File, target: &File, start: u64, end: u64) -> io::Result<()> {
        let (mut from, mut to) = (source, target);
        rustix::fs::seek(source, Seek::Start(start))?;
        rustix::fs::seek(target, Seek::Start(start))?;
        let mut left = end - start;
        while left > 0 {
            let copied = io::copy(&mut Read::take(&mut from, left.min(CHUNK_BYTES)), &mut to)?;
            if copied == 0 {
                // The file was cut under our eyes; its length is set afterwards.
                return Ok(());
            }
            left -= copied;
            self.report(copied);
        }
        Ok(())
    }

    fn report(&mut self, bytes: u64) {
        self.copied.bytes += bytes;
        let bytes_total = self.trees.bytes_total;
        (self.progress)(SnapshotProgress {
            bytes: self.copied.bytes.min(bytes_total),
            bytes_total,
        });
    }

    fn attributes(
        &self,
        from: impl rustix::fd::AsFd,
        to: impl rustix::fd::AsFd,
        inner: &Path,
        stat: &Stat,
    ) -> Result<(), SnapshotError> {
        let set_user_id = self.trees.declared.set_user_id;
        attributes::carry_over(from, to, stat, set_user_id)
            .map_err(|error| self.failed("carry over the attributes of", inner, error))
    }

    fn place<'p>(&'p self, inner: &'p Path) -> WalkPlace<'p> {
        let root = self.trees.root;
        WalkPlace { root, inner }
    }

    fn failed(&self, what: &'static str, inner: &Path, error: io::Error) -> SnapshotError {
        let place = self.place(inner);
        if is_mount(&error) {
            place.failed(what, error)
        } else {
            let Trees {
                room, bytes_total, ..
            } = *self.trees;
            full_or(what, &place.path(), room, error, bytes_total)
        }
    }
}

/// The next range with data in it, from `at` on (lseek(2), SEEK_DATA).
fn next_data(file: &File, at: u64, length: u64) -> io::Result<Option<(u64, u64)>> {
    if at >= length {
        return Ok(None);
    }
    let start = match rustix::fs::seek(file, Seek::Data(at)) {
        Ok(start) => start,
        Err(rustix::io::Errno::NXIO) => return Ok(None),
        // A file system that knows of no holes.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::OPNOTSUPP) => {
            return Ok(Some((at, length)));
        }
        Err(error) => return Err(error.into()),
    };
    let end = rustix::fs::seek(file, Seek::Hole(start))?.min(length);
    Ok((start < end).then_some((start, end)))
}
