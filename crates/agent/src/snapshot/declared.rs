//! What of a state a copy cannot have as it is, and what of that is declared.

use super::SnapshotError;
use crate::tree::{DEPTH_MAX, OpenFolder, is_mount};
use std::io;
use std::path::{Path, PathBuf};

/// What the upgrade file says of a state that no copy can have as it is.
#[derive(Clone, Debug, Default)]
pub struct DeclaredState {
    /// Links that may lead out of the state, and folders whose links may: relative to it. What is behind them all versions share.
    pub shared: Vec<PathBuf>,
    /// Set-user-ID and set-group-ID bits of files, and their capabilities, are carried over.
    pub set_user_id: bool,
    /// Where the software sees its state: what leads there stays in it.
    pub seen_at: Option<PathBuf>,
}

impl DeclaredState {
    /// Refuses a link that leads out of the state and is not declared: both versions would share what is behind it.
    pub(super) fn judge_link(
        &self,
        state: &OpenFolder,
        at: &WalkPlace<'_>,
        target: &Path,
    ) -> Result<(), SnapshotError> {
        if self.is_shared(at.inner) {
            return Ok(());
        }
        let led_out = || -> io::Result<bool> {
            if !target.is_absolute() {
                let folder = at.inner.parent().unwrap_or(Path::new(""));
                return state.leads_out(&folder.join(target));
            }
            let seen = self.seen_at.as_deref().into_iter();
            let mut own = seen.chain([at.root]);
            match own.find_map(|root| target.strip_prefix(root).ok()) {
                Some(inner) => state.leads_out(inner),
                None => Ok(true),
            }
        };
        match led_out() {
            Ok(false) => Ok(()),
            Ok(true) => Err(at.unfit(format!(
                "is a link to {}, out of the state: the versions would share what is there; put it into the state, or declare `shared = [{:?}]` in the class's `state` table",
                target.display(),
                at.inner.display().to_string(),
            ))),
            Err(error) => Err(at.failed("follow", error)),
        }
    }

    /// What the copy of a link says: one that leads into its own state by the state's present path is to lead into the copy.
    pub(super) fn carried(at: &WalkPlace<'_>, target: PathBuf) -> PathBuf {
        match target.strip_prefix(at.root) {
            Ok(inner) => {
                let folder = at.inner.parent().unwrap_or(Path::new(""));
                let up: PathBuf = folder.components().map(|_| "..").collect();
                let carried = up.join(inner);
                if carried.as_os_str().is_empty() {
                    PathBuf::from(".")
                } else {
                    carried
                }
            }
            Err(_) => target,
        }
    }

    fn is_shared(&self, inner: &Path) -> bool {
        let mut shared = self.shared.iter();
        shared.any(|shared| shared == Path::new(".") || inner.starts_with(shared))
    }
}

/// Where a walk is, for messages.
#[derive(Clone, Copy)]
pub(super) struct WalkPlace<'a> {
    /// The state.
    pub(super) root: &'a Path,
    /// What is looked at, relative to it.
    pub(super) inner: &'a Path,
}

impl WalkPlace<'_> {
    pub(super) fn path(&self) -> PathBuf {
        self.root.join(self.inner)
    }

    /// A state that is not copied.
    pub(super) fn unfit(&self, problem: String) -> SnapshotError {
        SnapshotError::Unfit {
            path: self.path(),
            problem,
        }
    }

    pub(super) fn failed(&self, what: &'static str, source: io::Error) -> SnapshotError {
        let path = self.path();
        if is_mount(&source) {
            self.unfit("is another file system, mounted there, which is no part of the state: mount it elsewhere, and declare a link to it as `shared`".to_owned())
        } else {
            SnapshotError::Io { what, path, source }
        }
    }

    /// A device is nothing that could be copied; making another one gives whoever owns the state a way to the machine.
    pub(super) fn is_device(&self) -> SnapshotError {
        self.unfit("is a device, which no state should hold: delete it".to_owned())
    }

    pub(super) fn judge_depth(&self, depth: usize) -> Result<(), SnapshotError> {
        if depth > DEPTH_MAX {
            Err(self.unfit(format!(
                "lies deeper than {DEPTH_MAX} folders: that is not copied"
            )))
        } else {
            Ok(())
        }
    }
}
