//! A bundle as a whole: its upgrade file is proved, its manifest can be published, and a first version can begin a history.

use super::History;
use crate::bundle::{BundleError, BundleFiles, Upgrade, UpgradeFile};
use crate::ids::Version;
use crate::manifest::{Manifest, UPGRADE_FILE};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A bundle in which nothing wrong was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// The upgrade.
    pub upgrade: Upgrade,
    /// Its manifest, as it would be published.
    pub manifest: Manifest,
}

/// Checks a bundle as far as it can be checked without the system and without reading lenses: what `upstart check DIR`
/// does before it has the crates `lens` and `component` look at each of [`Upgrade::lenses`]. `text` is that of `upgrade.toml`.
///
/// # Errors
/// Everything that is wrong with it.
pub fn check(text: &str, files: &BundleFiles) -> Result<Checked, Vec<BundleError>> {
    let file = UpgradeFile::parse(text)?;
    let upgrade = file.prove(files)?;
    let manifest = upgrade.manifest(files);
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
