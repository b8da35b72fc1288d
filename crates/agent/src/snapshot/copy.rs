//! Copying the entries of a tree, one after the other.

use super::{Copied, Progress, SnapshotError, allocated, attributes, full_or};
use rustix::fs::SeekFrom as Seek;
use std::collections::BTreeMap;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

/// How much is copied between two reports of progress.
const CHUNK_BYTES: u64 = 8 * 1024 * 1024;

/// Copies the entries of `from` into the directory `to`.
pub(super) fn copy_tree(
    from: &Path,
    to: &Path,
    bytes_total: u64,
    progress: &mut dyn FnMut(Progress),
) -> Result<Copied, SnapshotError> {
    let mut copying = Copying {
        copied: Copied::default(),
        bytes_total,
        clones: true,
        links: BTreeMap::new(),
        progress,
    };
    copying.directory(from, to)?;
    Ok(copying.copied)
}

/// Whether files in `directory` can share the blocks of this one.
pub(super) fn can_clone(sample: &Path, directory: &Path) -> bool {
    let probe = directory.join(".reflink-probe");
    let cloned = File::open(sample).and_then(|from| {
        let to = create(&probe)?;
        Ok(rustix::fs::ioctl_ficlone(&to, &from)?)
    });
    // Not made, or removed now.
    let _ = fs::remove_file(&probe);
    cloned.is_ok()
}

struct Copying<'a> {
    copied: Copied,
    bytes_total: u64,
    /// The file system has not refused a reflink yet.
    clones: bool,
    /// The first copy of each file that has several names.
    links: BTreeMap<(u64, u64), PathBuf>,
    progress: &'a mut dyn FnMut(Progress),
}

impl Copying<'_> {
    fn directory(&mut self, from: &Path, to: &Path) -> Result<(), SnapshotError> {
        let entries = fs::read_dir(from).map_err(|error| self.failed("list", from, error))?;
        for entry in entries {
            let entry = entry.map_err(|error| self.failed("list", from, error))?;
            self.entry(&entry.path(), &to.join(entry.file_name()))?;
        }
        // Last, since entries change the directory's times and its mode may forbid them.
        let metadata =
            fs::symlink_metadata(from).map_err(|error| self.failed("look at", from, error))?;
        self.attributes(from, to, &metadata)
    }

    fn entry(&mut self, from: &Path, to: &Path) -> Result<(), SnapshotError> {
        let metadata =
            fs::symlink_metadata(from).map_err(|error| self.failed("look at", from, error))?;
        let kind = metadata.file_type();
        if kind.is_dir() {
            fs::create_dir(to).map_err(|error| self.failed("make", to, error))?;
            self.directory(from, to)
        } else if kind.is_symlink() {
            fs::read_link(from)
                .and_then(|target| symlink(target, to))
                .map_err(|error| self.failed("make", to, error))?;
            self.attributes(from, to, &metadata)
        } else if kind.is_file() {
            self.file(from, to, &metadata)
        } else {
            let socket = kind.is_socket();
            tracing::debug!(path = %from.display(), socket, "left out of the snapshot");
            self.copied.skipped += 1;
            Ok(())
        }
    }

    fn file(&mut self, from: &Path, to: &Path, metadata: &Metadata) -> Result<(), SnapshotError> {
        let identity = (metadata.dev(), metadata.ino());
        if let Some(first) = self.links.get(&identity) {
            return fs::hard_link(first, to).map_err(|error| self.failed("link", to, error));
        }
        if metadata.nlink() > 1 {
            self.links.insert(identity, to.to_owned());
        }
        self.contents(from, to, metadata)
            .map_err(|error| self.failed("copy", from, error))?;
        self.copied.files += 1;
        self.attributes(from, to, metadata)
    }

    fn contents(&mut self, from: &Path, to: &Path, metadata: &Metadata) -> io::Result<()> {
        let source = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW)
            .open(from)?;
        let target = create(to)?;
        if self.clones {
            match rustix::fs::ioctl_ficlone(&target, &source) {
                Ok(()) => {
                    self.copied.cloned += 1;
                    self.report(allocated(metadata));
                    return Ok(());
                }
                Err(rustix::io::Errno::NOSPC) => return Err(rustix::io::Errno::NOSPC.into()),
                // Not on this file system, or not between these two.
                Err(_) => self.clones = false,
            }
        }
        let length = metadata.len();
        let mut at = 0;
        while let Some((start, end)) = next_data(&source, at, length)? {
            self.range(&source, &target, start, end)?;
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
        (self.progress)(Progress {
            bytes: self.copied.bytes.min(self.bytes_total),
            bytes_total: self.bytes_total,
        });
    }

    fn attributes(&self, from: &Path, to: &Path, metadata: &Metadata) -> Result<(), SnapshotError> {
        attributes::carry_over(from, to, metadata)
            .map_err(|error| self.failed("carry the attributes over to", to, error))
    }

    fn failed(&self, what: &'static str, path: &Path, error: io::Error) -> SnapshotError {
        full_or(what, path, error, self.bytes_total)
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
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
