//! Looking through a tree before it is copied: what it holds, and whether a copy can have it.

use super::declared::{DeclaredState, WalkPlace};
use super::{SnapshotError, allocated, copy, room};
use crate::tree::{OpenFolder, kind};
use rustix::fs::FileType;
use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;

/// What a directory entry is taken to cost beside its contents when space is checked.
const ENTRY_BYTES: u64 = 4096;

/// The files of one upgrade beside the copy: its folders, and what is written at its end.
const OWN_FILES: u64 = 16;

/// What a tree holds.
#[derive(Debug, Default)]
pub(super) struct TreePlan {
    pub(super) bytes: u64,
    entries: u64,
    /// A file to try a reflink with.
    sample: Option<File>,
    /// Files that have several names, as they were met.
    seen: BTreeSet<(u64, u64)>,
}

/// One look through a tree.
struct TreeLook<'a> {
    root: &'a Path,
    state: &'a OpenFolder,
    declared: &'a DeclaredState,
    plan: TreePlan,
}

impl TreePlan {
    /// Looks through the tree `state`, which is at `root`.
    ///
    /// # Errors
    /// What no copy can have as it is, or what cannot be looked at.
    pub(super) fn make(
        root: &Path,
        state: &OpenFolder,
        declared: &DeclaredState,
    ) -> Result<Self, SnapshotError> {
        let mut look = TreeLook {
            root,
            state,
            declared,
            plan: Self::default(),
        };
        look.folder(state, Path::new(""), 0)?;
        Ok(look.plan)
    }

    /// Refuses a copy in the folder `parent` for which there is no room.
    pub(super) fn check_space(&self, parent: &Path) -> Result<(), SnapshotError> {
        let sample = self.sample.as_ref();
        let shares = sample.is_some_and(|sample| copy::can_clone(sample, parent));
        let bytes = (!shares).then(|| self.bytes + self.entries * ENTRY_BYTES);
        room::check(parent, bytes, self.entries + OWN_FILES)
    }
}

impl TreeLook<'_> {
    fn folder(
        &mut self,
        folder: &OpenFolder,
        inner: &Path,
        depth: usize,
    ) -> Result<(), SnapshotError> {
        let root = self.root;
        let place = WalkPlace { root, inner };
        place.judge_depth(depth)?;
        let names = folder.names();
        for name in names.map_err(|error| place.failed("list", error))? {
            let inner = &inner.join(&name);
            let place = WalkPlace { root, inner };
            let stat = folder.look_at(&name);
            let stat = stat.map_err(|error| place.failed("look at", error))?;
            self.plan.entries += 1;
            match kind(&stat) {
                FileType::Directory => {
                    let opened = folder.folder(&name);
                    let next = opened.map_err(|error| place.failed("open", error))?;
                    self.folder(&next, inner, depth + 1)?;
                }
                FileType::Symlink => {
                    let target = folder.link(&name);
                    let target = target.map_err(|error| place.failed("read", error))?;
                    self.declared.judge_link(self.state, &place, &target)?;
                }
                FileType::RegularFile => self.file(folder, &name, &place, &stat)?,
                FileType::BlockDevice | FileType::CharacterDevice => return Err(place.is_device()),
                _ => {}
            }
        }
        Ok(())
    }

    fn file(
        &mut self,
        folder: &OpenFolder,
        name: &std::ffi::OsStr,
        place: &WalkPlace<'_>,
        stat: &rustix::fs::Stat,
    ) -> Result<(), SnapshotError> {
        if stat.st_nlink > 1 && !self.plan.seen.insert((stat.st_dev, stat.st_ino)) {
            return Ok(());
        }
        self.plan.bytes += allocated(stat);
        if self.plan.sample.is_none() && stat.st_size > 0 {
            let opened = folder.file(name);
            let (file, _) = opened.map_err(|error| place.failed("open", error))?;
            self.plan.sample = Some(file);
        }
        Ok(())
    }
}
