//! Where everything of a node lies in its data directory.

use model::machine::Place;
use std::path::{Path, PathBuf};

/// A node's data directory and the names in it.
#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The layout below `root`, which should be absolute: the software is told paths in it.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The data directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The journal's file.
    pub fn journal(&self) -> PathBuf {
        self.root.join("journal")
    }

    /// The last start of the software.
    pub fn start(&self) -> PathBuf {
        self.root.join("start.json")
    }

    /// The state as the software sees it: a symlink to the present version's state, flipped by one rename.
    pub fn current(&self) -> PathBuf {
        self.root.join("current")
    }

    /// Everything of one revision of one version.
    pub fn version(&self, place: Place) -> PathBuf {
        self.versions().join(place.to_string())
    }

    /// The folder that holds all versions.
    pub fn versions(&self) -> PathBuf {
        self.root.join("versions")
    }

    /// The state that a version owns: a directory, or a symlink to one that was adopted.
    pub fn state(&self, place: Place) -> PathBuf {
        self.version(place).join("state")
    }

    /// The same as seen from the data directory.
    pub fn state_from_root(&self, place: Place) -> PathBuf {
        Path::new("versions").join(place.to_string()).join("state")
    }

    /// A version's bundle, as it was published.
    pub fn bundle(&self, place: Place) -> PathBuf {
        self.version(place).join("bundle")
    }

    /// What a version's bundle holds, by digest.
    pub fn manifest(&self, place: Place) -> PathBuf {
        self.version(place).join("manifest.json")
    }

    /// Where archives of a version's bundle are unpacked.
    pub fn software(&self, place: Place) -> PathBuf {
        self.version(place).join("software")
    }

    /// Where an archive of a version's bundle is unpacked.
    pub fn unpacked(&self, place: Place, archive: &str) -> PathBuf {
        self.software(place).join(archive.replace('/', "_"))
    }

    /// The key by which hooks know the agent's own connections.
    pub fn agent_key(&self) -> PathBuf {
        self.root.join("agent.key")
    }

    /// The keys by which the system's labels are signed.
    pub fn label_keys(&self) -> PathBuf {
        self.root.join("labels.key")
    }

    /// The node's own key, and the certificate that says whose it is.
    pub fn identity(&self) -> PathBuf {
        self.root.join("identity")
    }

    /// What the node trusts of the signed repository.
    pub fn trusted(&self) -> PathBuf {
        self.root.join("trusted.json")
    }

    /// What the software prints.
    pub fn output(&self) -> PathBuf {
        self.root.join("output.log")
    }

    /// Copies of the preloaded library by digest: a running child keeps the one that it began with.
    pub fn library(&self) -> PathBuf {
        self.root.join("lib")
    }

    /// What was heard from the server last: the agent works, and starts, with it while the server is away.
    pub fn heard(&self) -> PathBuf {
        self.root.join("from-server")
    }

    /// Where agents of earlier builds kept it.
    pub(crate) fn heard_by_earlier_builds(&self) -> PathBuf {
        self.root.join("cache")
    }

    /// The last of the server's views.
    pub fn view(&self) -> PathBuf {
        self.heard().join("view.json")
    }

    /// The last of the server's views whose upgrades could all be used.
    pub fn used_view(&self) -> PathBuf {
        self.heard().join("used_view.json")
    }

    /// The members' list that the table was made from.
    pub fn members(&self) -> PathBuf {
        self.heard().join("members.json")
    }

    /// What adapters remember.
    pub fn adapter_state(&self) -> PathBuf {
        self.root.join("adapters").join("state")
    }

    /// Components as they were compiled here, by digest.
    pub fn compiled(&self) -> PathBuf {
        self.root.join("adapters").join("compiled")
    }

    /// Downloaded artifacts by digest.
    pub fn artifacts(&self) -> PathBuf {
        self.root.join("artifacts")
    }
}
