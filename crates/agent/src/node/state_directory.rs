//! The state directory: which version's state the software finds at its path, flipped by one rename, and whether there is room for
//! another one.

use super::bundles::Bundles;
use super::disk_space::DiskSpace;
use super::surroundings::Surroundings;
use crate::layout::Layout;
use crate::relay::LiveTraffic;
use crate::snapshot::DeclaredState;
use crate::tree::remove;
use model::machine::Place;
use parking_lot::Mutex;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The node's state.
pub(super) struct StateDirectory {
    surroundings: Arc<Surroundings>,
    traffic: Arc<LiveTraffic>,
    bundles: Arc<Bundles>,
    /// Whose state the software is to find at its path; none while that is about to change.
    in_force: Mutex<Option<Place>>,
    pub(super) space: DiskSpace,
}

/// Why the software cannot have its state.
#[derive(Debug, thiserror::Error)]
pub(super) enum StateDirectoryError {
    /// None can be made.
    #[error("cannot prepare the state at {path}")]
    Prepare {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The software's path cannot lead to it.
    #[error("cannot let {path} lead to {state}")]
    Point {
        /// The software's path.
        path: PathBuf,
        /// Where it should lead.
        state: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl StateDirectory {
    pub(super) fn new(
        surroundings: &Arc<Surroundings>,
        traffic: &Arc<LiveTraffic>,
        bundles: &Arc<Bundles>,
    ) -> Arc<Self> {
        Arc::new(Self {
            space: DiskSpace::of(&surroundings.layout),
            surroundings: surroundings.clone(),
            traffic: traffic.clone(),
            bundles: bundles.clone(),
            in_force: Mutex::default(),
        })
    }

    fn layout(&self) -> &Layout {
        &self.surroundings.layout
    }

    /// Notes whose state the software is to find at its path; none while that is about to change.
    pub(super) fn note_in_force(&self, place: Option<Place>) {
        *self.in_force.lock() = place;
    }

    /// Sees to it that the software's path leads to the state that the journal names.
    pub(super) fn check_current(&self) -> Result<(), StateDirectoryError> {
        let in_force = *self.in_force.lock();
        match in_force {
            Some(place) => self.point(place),
            None => Ok(()),
        }
    }

    /// The first start: an empty state, or the directory that is adopted where it is.
    pub(super) fn prepare(
        &self,
        place: Place,
        adopted: Option<&Path>,
        user: Option<&str>,
    ) -> Result<(), StateDirectoryError> {
        let state = self.layout().state(place);
        if std::fs::symlink_metadata(&state).is_err() {
            let made = match adopted {
                Some(directory) => adopt(directory, &state),
                None => make_state(&state, user),
            };
            made.map_err(|source| StateDirectoryError::Prepare {
                path: state,
                source,
            })?;
        }
        self.point(place)
    }

    /// Lets `current` lead to this state.
    pub(super) fn flip(&self, to: Place) -> Result<(), StateDirectoryError> {
        // What a transform that was given up has left; the next one would delete it too.
        if let Err(error) = remove(&self.work_folder()) {
            tracing::warn!(%error, "a half-made state stays for now");
        }
        self.point(to)
    }

    /// Where a new state is made.
    pub(super) fn work_folder(&self) -> PathBuf {
        self.layout().root().join("transform")
    }

    /// Why an upgrade to `to` would run out of room, or its copy of the state be none; `None` where nothing says so.
    pub(super) async fn lacks_room(&self, to: Place) -> Option<String> {
        self.space.lacking(to, || self.declared(to)).await
    }

    /// What of the state no copy can have as it is, and the version that it is copied for declares.
    pub(super) fn declared(&self, to: Place) -> DeclaredState {
        let provided_by =
            (self.traffic.catalog().class_at(to.version)).map(|class| class.provided_by);
        let mut staged = self.bundles.staged_places().into_iter().rev();
        let bundle = match provided_by {
            Some(version) if version != to.version => staged.find(|place| place.version == version),
            _ => Some(to),
        };
        let definition = self.bundles.definition(bundle.unwrap_or(to));
        let state = definition
            .map(|class| class.state.clone())
            .unwrap_or_default();
        DeclaredState {
            shared: state.shared.iter().map(PathBuf::from).collect(),
            set_user_id: state.set_user_id,
            seen_at: Some(self.layout().current()),
        }
    }

    /// Lets `current` lead to this state, by a link that means the same wherever the data directory lies.
    fn point(&self, to: Place) -> Result<(), StateDirectoryError> {
        let (current, state) = (self.layout().current(), self.layout().state(to));
        let target = self.layout().state_from_root(to);
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
            let fresh = self.layout().root().join("current.new");
            match std::fs::remove_file(&fresh) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            symlink(&target, &fresh)?;
            std::fs::rename(&fresh, &current)?;
            std::fs::File::open(self.layout().root())?.sync_all()
        };
        flipped().map_err(|source| StateDirectoryError::Point {
            path: current.clone(),
            state: state.clone(),
            source,
        })
    }
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
