//! A bundle's folder, built from artifacts as its manifest lists them.

use super::{FetchError, disk, open_to_all, place_whole};
use model::manifest::Manifest;
use std::path::Path;

/// Builds the folder `target` from the artifacts in `artifacts`, all of which must be there. The folder is there
/// whole or not at all; if it is there already, nothing is done.
///
/// # Errors
/// The disk is full or fails, or an artifact is missing.
pub fn assemble(artifacts: &Path, manifest: &Manifest, target: &Path) -> Result<(), FetchError> {
    place_whole(target, |new| {
        for file in &manifest.files {
            let to = new.join(&file.path);
            make_folders(new, &to)?;
            // A copy, not a link: software that writes into its own folder must not change the artifact.
            let from = artifacts.join(file.sha256.to_string());
            std::fs::copy(&from, &to).map_err(disk("copy", &from))?;
            open_to_all(&to, file.mode.bits())?;
        }
        Ok(())
    })
}

/// The folders between `root` and `file`, open to all.
fn make_folders(root: &Path, file: &Path) -> Result<(), FetchError> {
    let Some(folder) = file.parent() else {
        return Ok(());
    };
    if folder == root || folder.exists() {
        return Ok(());
    }
    make_folders(root, folder)?;
    std::fs::create_dir(folder).map_err(disk("make", folder))?;
    open_to_all(folder, 0o755)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::ids::Version;
    use model::manifest::{Digest, ManifestFile, Mode};
    use std::os::unix::fs::PermissionsExt as _;

    fn manifest(files: &[(&str, &[u8], Mode)]) -> Manifest {
        let files = files.iter().map(|(path, content, mode)| ManifestFile {
            mode: *mode,
            path: (*path).to_owned(),
            sha256: Digest::of(content),
            size: content.len() as u64,
        });
        Manifest {
            description: String::new(),
            files: files.collect(),
            format: 1,
            from: Version(0),
            system: "s".to_owned(),
            version: Version(1),
        }
    }

    #[test]
    fn a_bundle_is_built_with_its_folders_and_modes() {
        let folder = tempfile::tempdir().expect("folder");
        for content in [b"run".as_slice(), b"text"] {
            std::fs::write(folder.path().join(Digest::of(content).to_string()), content)
                .expect("written");
        }
        let manifest = manifest(&[
            ("a/b/run", b"run", Mode::Executable),
            ("text", b"text", Mode::Plain),
        ]);
        let target = folder.path().join("versions/1.1/bundle");
        for _ in 0..2 {
            assemble(folder.path(), &manifest, &target).expect("built");
        }
        let mode = |path: &str| {
            let found = std::fs::metadata(target.join(path)).expect(path);
            found.permissions().mode() & 0o777
        };
        assert_eq!(
            (mode("a"), mode("a/b/run"), mode("text")),
            (0o755, 0o755, 0o644)
        );
    }

    #[test]
    fn with_an_artifact_missing_there_is_no_folder() {
        let folder = tempfile::tempdir().expect("folder");
        let target = folder.path().join("bundle");
        let manifest = manifest(&[("x", b"missing", Mode::Plain)]);
        assert!(assemble(folder.path(), &manifest, &target).is_err());
        assert!(!target.exists());
    }
}
