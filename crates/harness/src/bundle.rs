//! Bundles, written by the tests and published as `upstart publish` does it.

use client::{Client, PublishError, PublisherKeys};
use model::api::UpgradeSummary;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A bundle: its upgrade file and the files beside it.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// The upgrade file.
    pub upgrade: String,
    /// The other files by their paths.
    pub files: BTreeMap<String, Vec<u8>>,
}

impl Bundle {
    /// A bundle that has only this upgrade file.
    pub fn new(upgrade: impl Into<String>) -> Self {
        Self {
            upgrade: upgrade.into(),
            files: BTreeMap::new(),
        }
    }

    /// With a file more.
    pub fn file(mut self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        self.files.insert(path.to_owned(), content.into());
        self
    }

    /// With something replaced in the upgrade file; it must be there.
    pub fn replaced(mut self, what: &str, with: &str) -> Self {
        assert!(
            self.upgrade.contains(what),
            "`{what}` is not in\n{}",
            self.upgrade
        );
        self.upgrade = self.upgrade.replace(what, with);
        self
    }

    /// Writes it into an empty folder.
    pub fn write(&self, folder: &Path) {
        // A bundle that is published again, revised, must not keep files of its former self.
        let _ = std::fs::remove_dir_all(folder);
        let files = self
            .files
            .iter()
            .map(|(path, content)| (path.as_str(), content.as_slice()))
            .chain([("upgrade.toml", self.upgrade.as_bytes())]);
        for (path, content) in files {
            let path = folder.join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            std::fs::write(&path, content).expect("written");
            if content.starts_with(b"\x7fELF") {
                let mode = std::fs::Permissions::from_mode(0o755);
                std::fs::set_permissions(&path, mode).expect("executable");
            }
        }
    }
}

/// Uploads and publishes a folder.
pub(crate) async fn publish(
    client: &Client,
    folder: &Path,
    revise: bool,
    keys: &PublisherKeys,
) -> Result<UpgradeSummary, PublishError> {
    let read = model::bundle::read_directory(folder).expect("the bundle is readable");
    let checked = model::release::check(&read.upgrade_toml, &read.files).unwrap_or_else(|errors| {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        panic!("{}\n{}", lines.join("\n"), read.upgrade_toml)
    });
    for path in checked.upgrade.adapter_files() {
        let text = std::fs::read_to_string(folder.join(path)).expect("the lens is there");
        if component::Declaration::is_one(&text) {
            continue;
        }
        lens::Lens::parse(path, &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    }
    for file in &checked.manifest.files {
        let digest = file.sha256.to_string();
        if !client.has_artifact(&digest).await? {
            client
                .put_artifact_file(&digest, &folder.join(&file.path))
                .await?;
        }
    }
    let published = client
        .publish_signed(keys, &checked.manifest, revise)
        .await?;
    Ok(published.summary)
}
