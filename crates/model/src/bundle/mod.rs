//! Upgrades as folders: `upgrade.toml` as written, and the [`Upgrade`] that it is proved to be.

mod definition;
mod error;
pub mod folder;
mod framing;
mod prove;
mod read;
mod remarks;
mod revision;
mod service;
mod upgrade;

pub use definition::*;
pub use error::BundleError;
pub(crate) use error::nearest;
pub use folder::{Folder, FolderError, read_directory};
pub use framing::*;
pub use prove::UpgradeFile;
pub use remarks::{Remark, remarks};
pub use revision::Shipped;
pub use service::*;
pub use upgrade::*;

pub use crate::expression::Template;
pub use crate::schedule::Schedule;

use crate::ids::Version;
use crate::manifest::{Digest, Manifest, Mode, UPGRADE_FILE};
use crate::release::History;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is known of a file of a bundle without its contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileInfo {
    /// Whether it can be run.
    pub mode: Mode,
    /// Its size in bytes.
    pub size: u64,
    /// Its digest.
    pub sha256: Digest,
}

/// The files of a bundle by path (relative, `/` between the parts), `upgrade.toml` included.
pub type BundleFiles = BTreeMap<String, FileInfo>;

/// A bundle in which nothing wrong was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// The upgrade.
    pub upgrade: Upgrade,
    /// Its manifest, as it would be published.
    pub manifest: Manifest,
}

/// Checks a bundle as far as it can be checked without the system and without reading lenses: what `upstart check DIR`
/// does before it has the adapter crate look at each of [`Upgrade::lenses`]. `text` is that of `upgrade.toml`.
pub fn check(text: &str, files: &BundleFiles) -> Result<Checked, Vec<BundleError>> {
    let file = UpgradeFile::parse(text)?;
    let upgrade = file.prove(files)?;
    let manifest = Manifest::new(&upgrade, files);
    let problem = |error: String| Err(vec![BundleError::of_file(UPGRADE_FILE, error, "")]);
    if let Err(error) = manifest.validate() {
        return problem(error.to_string());
    }
    if upgrade.version == Version::FIRST
        && let Err(error) = History::new([Arc::new(upgrade.clone())], &BTreeSet::new())
    {
        let (key, text) = error.finding();
        let place = file.place(&key);
        return Err(vec![BundleError {
            line: place.map(|(line, _)| line),
            column: place.map(|(_, column)| column),
            key,
            ..BundleError::of_file(UPGRADE_FILE, text, "")
        }]);
    }
    Ok(Checked { upgrade, manifest })
}
