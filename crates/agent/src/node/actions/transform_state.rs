//! The state is transformed: on a copy, version by version, until it is durable as the next version's.

use crate::error_chain::chain;
use crate::node::Node;
use crate::node::adapters::{AdapterError, AdapterLoader};
use crate::node::bundles::{Bundles, UnusableBundle};
use crate::node::rendering::{RenderError, Rendering};
use crate::node::state_directory::StateDirectory;
use crate::node::surroundings::Surroundings;
use crate::snapshot::{self, DeclaredState, FreeRoom, SnapshotError};
use crate::transform::{TransformError, TransformRun};
use crate::tree::{self, remove};
use model::machine::{Outcome, Place, Step};
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How much must be free when a new state is complete: for the flip, the start, and the software's first writes.
const LEFT_BYTES_MIN: u64 = 1 << 20;

/// What a transform needs of the node.
pub(super) struct StateTransform<'n> {
    surroundings: &'n Arc<Surroundings>,
    state: &'n StateDirectory,
    bundles: &'n Bundles,
    rendering: &'n Rendering,
    adapters: &'n AdapterLoader,
}

/// Why a transform did not come to its end.
enum TransformBroken {
    NoSpace(String),
    Failed(String),
}

impl From<SnapshotError> for TransformBroken {
    fn from(error: SnapshotError) -> Self {
        match error {
            SnapshotError::NoSpace { .. } | SnapshotError::NoFiles { .. } => {
                Self::NoSpace(chain(&error))
            }
            SnapshotError::Io { ref source, .. } if is_full(source) => {
                Self::NoSpace(format!("no space left: {}", chain(&error)))
            }
            SnapshotError::Io { .. } | SnapshotError::Unfit { .. } => Self::Failed(chain(&error)),
        }
    }
}

impl From<TransformError> for TransformBroken {
    fn from(error: TransformError) -> Self {
        match error {
            TransformError::NoSpace { .. } => Self::NoSpace(error.to_string()),
            other => Self::Failed(chain(&other)),
        }
    }
}

impl From<UnusableBundle> for TransformBroken {
    fn from(error: UnusableBundle) -> Self {
        Self::Failed(chain(&error))
    }
}

impl From<RenderError> for TransformBroken {
    fn from(error: RenderError) -> Self {
        Self::Failed(chain(&error))
    }
}

impl From<AdapterError> for TransformBroken {
    fn from(error: AdapterError) -> Self {
        Self::Failed(chain(&error))
    }
}

impl<'n> StateTransform<'n> {
    pub(super) fn of(node: &'n Node) -> Self {
        Self {
            surroundings: &node.surroundings,
            state: &node.state,
            bundles: &node.bundles,
            rendering: &node.rendering,
            adapters: &node.adapters.loader,
        }
    }

    /// Copies the state of `from`, transforms the copy version by version, and leaves it durable as the state of `to`.
    pub(super) async fn run(&self, from: Place, to: Place, path: &[Step]) -> Outcome {
        let result = self.try_to(from, to, path).await;
        self.surroundings.progress.clear();
        match result {
            Ok(()) => Outcome::Done,
            Err(TransformBroken::NoSpace(reason)) => {
                // What was copied is worthless and the old software needs the room.
                let _ = remove(&self.surroundings.layout.state(to));
                let _ = remove(&self.state.work_folder());
                self.state.space.note_ran_out(to, &reason);
                Outcome::NoSpace { reason }
            }
            Err(TransformBroken::Failed(reason)) => Outcome::Failed { reason },
        }
    }

    async fn try_to(&self, from: Place, to: Place, path: &[Step]) -> Result<(), TransformBroken> {
        // What still runs has had its time: from here on its adapters' states are what the transform is given.
        self.adapters.stores().freeze();
        let work = self.state.work_folder();
        let done = self.surroundings.layout.state(to);
        for leftover in [&work, &done] {
            remove(leftover).map_err(|error| {
                TransformBroken::Failed(format!("cannot delete {}: {error}", leftover.display()))
            })?;
        }
        make(&work)?;
        // The transform's user passes through it, and sees nothing.
        let passed = std::fs::set_permissions(&work, Permissions::from_mode(0o711));
        passed.map_err(|error| broken("open", &work, &error))?;
        let mut old =
            std::fs::canonicalize(self.surroundings.layout.state(from)).map_err(|error| {
                TransformBroken::Failed(format!(
                    "the state of version {from} cannot be found: {error}"
                ))
            })?;
        let mut steps = Vec::new();
        for step in path {
            if self.bundles.transforms_at(step.place())? {
                steps.push(step);
            }
        }
        let declared = self.state.declared(to);
        let mut new = work.join("0");
        self.copy(&old, &new, &declared).await?;
        for (index, step) in steps.iter().enumerate() {
            if index > 0 {
                old = new;
                new = work.join(index.to_string());
                self.copy(&old, &new, &declared).await?;
            }
            self.transform_step(step, &old, &new, &work).await?;
        }
        for step in path {
            let written = adapter_folder(&work, "out", step);
            self.adapters.begin_transformed(step.place(), &written)?;
        }
        if !steps.is_empty() {
            snapshot::check_whole(&new, &declared)?;
            snapshot::sync_tree(&new)?;
        }
        self.leaves_room()?;
        let moved = || -> io::Result<()> {
            if let Some(parent) = done.parent() {
                std::fs::create_dir_all(parent)?;
            }
            std::fs::rename(&new, &done)?;
            if let Some(parent) = done.parent() {
                std::fs::File::open(parent)?.sync_all()?;
            }
            remove(&work)
        };
        moved().map_err(|error| broken("put the new state in place at", &done, &error))
    }

    /// What follows, and the new software, write too: better to go back now than to fail half-way.
    fn leaves_room(&self) -> Result<(), TransformBroken> {
        match FreeRoom::at(self.surroundings.layout.root()).map(|free| free.bytes) {
            Ok(available) if available < LEFT_BYTES_MIN => Err(TransformBroken::NoSpace(format!(
                "no space left: the new state leaves {available} bytes free; free at least {LEFT_BYTES_MIN} more on the disk of {}",
                self.surroundings.layout.root().display()
            ))),
            // What cannot be looked at fails when it is written.
            _ => Ok(()),
        }
    }

    /// Copies in a thread of its own and shows how far it has come.
    async fn copy(
        &self,
        from: &Path,
        to: &Path,
        declared: &DeclaredState,
    ) -> Result<(), TransformBroken> {
        let (surroundings, from, to) = (self.surroundings.clone(), from.to_owned(), to.to_owned());
        let declared = declared.clone();
        let copied = tokio::task::spawn_blocking(move || {
            snapshot::snapshot(&from, &to, &declared, &mut |progress| {
                let (done, total) = (progress.bytes, progress.bytes_total);
                surroundings
                    .progress
                    .show_bytes("copying the state".to_owned(), done, total);
            })
        });
        match copied.await {
            Ok(result) => {
                result?;
                Ok(())
            }
            Err(error) => Err(TransformBroken::Failed(format!(
                "the snapshot broke: {error}"
            ))),
        }
    }

    async fn transform_step(
        &self,
        step: &Step,
        old: &Path,
        new: &Path,
        work: &Path,
    ) -> Result<(), TransformBroken> {
        let rendered = self.rendering.render_transform(step.place())?;
        self.surroundings
            .progress
            .show(format!("transform to version {}", step.version));
        let (adapter_state_in, adapter_state_out, scratch) = (
            adapter_folder(work, "in", step),
            adapter_folder(work, "out", step),
            work.join(format!("scratch.{}", step.version)),
        );
        make(&adapter_state_in)?;
        self.adapters
            .give_to_transform(step.version, &adapter_state_in)?;
        if let Some(user) = rendered.user.as_deref() {
            // Only now: in a folder of somebody else's nothing is written.
            crate::launch::user::ids(user)
                .and_then(|ids| tree::give_away(&adapter_state_in, ids))
                .map_err(|error| broken("give away", &adapter_state_in, &error))?;
        }
        let transform = TransformRun {
            upstart_binary: self.surroundings.binary.clone(),
            command: rendered.command,
            environment: rendered.environment,
            directory: rendered.directory,
            readable: rendered.readable,
            user: rendered.user,
            old_state: old.to_owned(),
            new_state: new.to_owned(),
            adapter_state_in,
            adapter_state_out,
            scratch,
            time_limit: Duration::from_millis(rendered.timeout_ms),
        };
        tokio::select! {
            result = transform.run() => Ok(result?),
            () = self.outdated(step.place()) => Err(TransformBroken::Failed(format!(
                "version {} is not wanted any more: it was withdrawn, or a newer revision is published",
                step.place()
            ))),
        }
    }

    /// Resolves when the repository lists this revision no more as the newest: what is made for it is not waited for.
    async fn outdated(&self, place: Place) {
        let mut updates = self.surroundings.catalog_updates.clone();
        let gone = updates.wait_for(|update| {
            let catalog = update.as_ref().map(|update| &update.catalog);
            catalog.is_some_and(|catalog| {
                catalog.newest_place(place.version) != Some(place)
                    || catalog.history().release(place.version).is_none()
            })
        });
        if gone.await.is_err() {
            // The agent ends, and with it what it waits for.
            std::future::pending::<()>().await;
        }
    }
}

/// Makes a folder that only the agent's user enters.
fn make(folder: &Path) -> Result<(), TransformBroken> {
    let made = std::fs::DirBuilder::new().mode(0o700).create(folder);
    made.map_err(|error| broken("make", folder, &error))
}

fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

/// A failed step on the disk; a full disk apart.
fn broken(what: &str, path: &Path, error: &io::Error) -> TransformBroken {
    let text = format!("cannot {what} {}: {error}", path.display());
    if is_full(error) {
        TransformBroken::NoSpace(format!("no space left: {text}"))
    } else {
        TransformBroken::Failed(text)
    }
}

/// Where a step's transform finds the future adapter's state, or leaves the past adapter's.
fn adapter_folder(work: &Path, way: &str, step: &Step) -> PathBuf {
    work.join(format!("adapter-{way}.{}", step.version))
}
