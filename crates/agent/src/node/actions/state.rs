//! The state directory: prepared, transformed on a copy, flipped by one rename.

use crate::error_chain::chain;
use crate::node::Node;
use crate::snapshot::{self, Declared, SnapshotError};
use crate::transform::{Transform, TransformError};
use crate::tree::{self, remove};
use model::api::Progress;
use model::machine::{Outcome, Place, Serving, Step};
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How much must be free when a new state is complete: for the flip, the start, and the software's first writes.
const LEFT_BYTES_MIN: u64 = 1 << 20;

/// The first start: an empty state, or the directory that is adopted where it is.
pub(super) fn prepare(node: &Node, to: Serving, place: Place) -> Result<(), String> {
    let rendered = node.render(to)?;
    let state = node.layout.state(place);
    if std::fs::symlink_metadata(&state).is_err() {
        let made = match &rendered.adopt {
            Some(directory) => adopt(Path::new(directory), &state),
            None => make_state(&state, rendered.user.as_deref()),
        };
        made.map_err(|error| format!("cannot prepare the state at {}: {error}", state.display()))?;
    }
    point(node, place)
}

fn adopt(directory: &Path, state: &Path) -> io::Result<()> {
    if !directory.is_dir() {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!(
                "the directory to adopt, {}, is not there",
                directory.display()
            ),
        ));
    }
    if let Some(parent) = state.parent() {
        std::fs::create_dir_all(parent)?;
    }
    symlink(directory, state)
}

/// Makes an empty state, which only the software's user enters; that user may open it as it likes. Software that begins as root may
/// become another user, who must find its way in.
fn make_state(state: &Path, user: Option<&str>) -> io::Result<()> {
    if let Some(parent) = state.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let becomes_another = user.is_none() && rustix::process::geteuid().is_root();
    let mode = if becomes_another { 0o711 } else { 0o700 };
    std::fs::DirBuilder::new().mode(0o700).create(state)?;
    std::fs::set_permissions(state, Permissions::from_mode(mode))?;
    match user {
        None => Ok(()),
        Some(user) => {
            let (uid, gid) = crate::launch::user::ids(user)?;
            std::os::unix::fs::chown(state, Some(uid), Some(gid))
        }
    }
}

/// Lets `current` lead to this state.
pub(super) fn flip(node: &Node, to: Place) -> Result<(), String> {
    // What a transform that was given up has left; the next one would delete it too.
    if let Err(error) = remove(&work_folder(node)) {
        tracing::warn!(%error, "a half-made state stays for now");
    }
    point(node, to)
}

impl Node {
    /// Sees to it that the software's path leads to the state that the journal names.
    pub(in crate::node) fn check_current(&self) -> Result<(), String> {
        match self.state_in_force() {
            Some(place) => point(self, place),
            None => Ok(()),
        }
    }
}

/// Lets `current` lead to this state, by a link that means the same wherever the data directory lies.
fn point(node: &Node, to: Place) -> Result<(), String> {
    let (current, state) = (node.layout.current(), node.layout.state(to));
    let target = node.layout.state_from_root(to);
    let flipped = || -> io::Result<()> {
        if !state.is_dir() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "the state is missing, and no empty one is made in its place; put it back, or restore the whole data directory from a backup",
            ));
        }
        match std::fs::read_link(&current) {
            Ok(found) if found == target => return Ok(()),
            Ok(found) => {
                tracing::info!(from = %found.display(), to = %target.display(), "flips the link to the state")
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                tracing::info!(to = %target.display(), "makes the link to the state");
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                return Err(io::Error::other(
                    "something else than the agent's link is in its place; move that away, and the link is made again",
                ));
            }
            Err(error) => return Err(error),
        }
        let fresh = node.layout.root().join("current.new");
        match std::fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        symlink(&target, &fresh)?;
        std::fs::rename(&fresh, &current)?;
        std::fs::File::open(node.layout.root())?.sync_all()
    };
    flipped().map_err(|error| {
        format!(
            "cannot let {} lead to {}: {error}",
            current.display(),
            state.display()
        )
    })
}

/// Why a transform did not come to its end.
enum Broken {
    NoSpace(String),
    Failed(String),
}

impl From<SnapshotError> for Broken {
    fn from(error: SnapshotError) -> Self {
        match error {
            SnapshotError::NoSpace { .. } => Broken::NoSpace(chain(&error)),
            SnapshotError::Io { ref source, .. } if is_full(source) => {
                Broken::NoSpace(format!("no space left: {}", chain(&error)))
            }
            SnapshotError::Io { .. } | SnapshotError::Unfit { .. } => Broken::Failed(chain(&error)),
        }
    }
}

impl From<TransformError> for Broken {
    fn from(error: TransformError) -> Self {
        match error {
            TransformError::NoSpace { .. } => Broken::NoSpace(error.to_string()),
            other => Broken::Failed(chain(&other)),
        }
    }
}

/// Copies the state of `from`, transforms the copy version by version, and leaves it durable as the state of `to`.
pub(super) async fn transform(node: &Arc<Node>, from: Place, to: Place, path: &[Step]) -> Outcome {
    let result = run(node, from, to, path).await;
    node.set_progress(None);
    match result {
        Ok(()) => Outcome::Done,
        Err(Broken::NoSpace(reason)) => {
            // What was copied is worthless and the old software needs the room.
            let _ = remove(&node.layout.state(to));
            let _ = remove(&work_folder(node));
            node.ran_out_of_room(to, &reason);
            Outcome::NoSpace { reason }
        }
        Err(Broken::Failed(reason)) => Outcome::Failed { reason },
    }
}

fn work_folder(node: &Node) -> PathBuf {
    node.layout.root().join("transform")
}

async fn run(node: &Arc<Node>, from: Place, to: Place, path: &[Step]) -> Result<(), Broken> {
    // What still runs has had its time: from here on its adapters' states are what the transform is given.
    node.adapters.stores().freeze();
    let work = work_folder(node);
    let done = node.layout.state(to);
    for leftover in [&work, &done] {
        remove(leftover).map_err(|error| {
            Broken::Failed(format!("cannot delete {}: {error}", leftover.display()))
        })?;
    }
    make(&work)?;
    // The transform's user passes through it, and sees nothing.
    let passed = std::fs::set_permissions(&work, Permissions::from_mode(0o711));
    passed.map_err(|error| broken("open", &work, &error))?;
    let mut old = std::fs::canonicalize(node.layout.state(from)).map_err(|error| {
        Broken::Failed(format!(
            "the state of version {from} cannot be found: {error}"
        ))
    })?;
    let mut steps = Vec::new();
    for step in path {
        if (node.transforms_at(step.place())).map_err(Broken::Failed)? {
            steps.push(step);
        }
    }
    let declared = node.declared(to);
    let mut new = work.join("0");
    copy(node, &old, &new, &declared).await?;
    for (index, step) in steps.iter().enumerate() {
        if index > 0 {
            old = new;
            new = work.join(index.to_string());
            copy(node, &old, &new, &declared).await?;
        }
        transform_step(node, step, &old, &new, &work).await?;
    }
    for step in path {
        let written = adapter_folder(&work, "out", step);
        let begun = node
            .adapters
            .begin_transformed(node, step.place(), &written);
        begun.map_err(Broken::Failed)?;
    }
    if !steps.is_empty() {
        snapshot::check_whole(&new, &declared)?;
        snapshot::sync_tree(&new)?;
    }
    leaves_room(node)?;
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
fn leaves_room(node: &Node) -> Result<(), Broken> {
    match snapshot::available(node.layout.root()) {
        Ok(available) if available < LEFT_BYTES_MIN => Err(Broken::NoSpace(format!(
            "no space left: the new state leaves {available} bytes free; free at least {LEFT_BYTES_MIN} more on the disk of {}",
            node.layout.root().display()
        ))),
        // What cannot be looked at fails when it is written.
        _ => Ok(()),
    }
}

/// Makes a folder that only the agent's user enters.
fn make(folder: &Path) -> Result<(), Broken> {
    let made = std::fs::DirBuilder::new().mode(0o700).create(folder);
    made.map_err(|error| broken("make", folder, &error))
}

fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

/// A failed step on the disk; a full disk apart.
fn broken(what: &str, path: &Path, error: &io::Error) -> Broken {
    let text = format!("cannot {what} {}: {error}", path.display());
    match is_full(error) {
        true => Broken::NoSpace(format!("no space left: {text}")),
        false => Broken::Failed(text),
    }
}

/// Copies in a thread of its own and shows how far it has come.
async fn copy(node: &Arc<Node>, from: &Path, to: &Path, declared: &Declared) -> Result<(), Broken> {
    let (node, from, to) = (node.clone(), from.to_owned(), to.to_owned());
    let declared = declared.clone();
    let copied = tokio::task::spawn_blocking(move || {
        snapshot::snapshot(&from, &to, &declared, &mut |progress| {
            node.set_progress(Some(Progress {
                what: "snapshot".to_owned(),
                done: progress.bytes,
                total: Some(progress.bytes_total),
                unit: "bytes".to_owned(),
            }));
        })
    });
    match copied.await {
        Ok(result) => {
            result?;
            Ok(())
        }
        Err(error) => Err(Broken::Failed(format!("the snapshot broke: {error}"))),
    }
}

/// Where a step's transform finds the future adapter's state, or leaves the past adapter's.
fn adapter_folder(work: &Path, way: &str, step: &Step) -> PathBuf {
    work.join(format!("adapter-{way}.{}", step.version))
}

async fn transform_step(
    node: &Arc<Node>,
    step: &Step,
    old: &Path,
    new: &Path,
    work: &Path,
) -> Result<(), Broken> {
    let rendered = node
        .render_transform(step.place())
        .map_err(Broken::Failed)?;
    node.set_progress(Some(Progress {
        what: format!("transform to version {}", step.version),
        done: 0,
        total: None,
        unit: String::new(),
    }));
    let (adapter_state_in, adapter_state_out, scratch) = (
        adapter_folder(work, "in", step),
        adapter_folder(work, "out", step),
        work.join(format!("scratch.{}", step.version)),
    );
    make(&adapter_state_in)?;
    let given = node
        .adapters
        .give_to_transform(step.version, &adapter_state_in);
    given.map_err(Broken::Failed)?;
    if let Some(user) = rendered.user.as_deref() {
        // Only now: in a folder of somebody else's nothing is written.
        crate::launch::user::ids(user)
            .and_then(|ids| tree::give_away(&adapter_state_in, ids))
            .map_err(|error| broken("give away", &adapter_state_in, &error))?;
    }
    let transform = Transform {
        upstart_binary: node.binary.clone(),
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
        () = outdated(node, step.place()) => Err(Broken::Failed(format!(
            "version {} is not wanted any more: it was withdrawn, or a newer revision is published",
            step.place()
        ))),
    }
}

/// Resolves when the repository lists this revision no more as the newest: what is made for it is not waited for.
async fn outdated(node: &Node, place: Place) {
    let mut update = node.catalog_updates.clone();
    let gone = update.wait_for(|update| {
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
