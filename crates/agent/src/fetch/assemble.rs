//! A bundle's folder, built from artifacts as its manifest lists them.

use super::{FetchError, HeldForms, WantedFile, disk, open_to_all, place_whole};
use model::manifest::{Digest, Manifest, ManifestFile, UPGRADE_FILE};
use sha2::{Digest as _, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Only the agent's user reads it.
const PRIVATE: u32 = 0o600;

/// How much is copied at once.
const BLOCK_BYTES: usize = 256 * 1024;

/// Builds the folder `target` from the artifacts in `artifacts`, all of which must be there. The folder is there
/// whole or not at all; if it is there already, nothing is done.
///
/// # Errors
/// The disk is full or fails, or an artifact is missing.
pub fn assemble(
    artifacts: &Path,
    forms: &HeldForms,
    manifest: &Manifest,
    target: &Path,
) -> Result<(), FetchError> {
    place_whole(target, |new| {
        for file in &manifest.files {
            let to = new.join(&file.path);
            make_folders(new, &to)?;
            copy_artifact(artifacts, forms, file, &to)?;
        }
        Ok(())
    })
}

/// Copies an artifact to where its file lies. One that is not what its name says is deleted, so that it is fetched anew; another form of the
/// file is taken if it is here.
///
/// A copy, not a link: software that writes into its own folder must not change the artifact.
pub(super) fn copy_artifact(
    artifacts: &Path,
    forms: &HeldForms,
    file: &ManifestFile,
    to: &Path,
) -> Result<(), FetchError> {
    let path = |form: &WantedFile| artifacts.join(form.digest.to_string());
    let mut there: Vec<WantedFile> = forms.of_file(file.into()).collect();
    there.retain(|form| form.digest == file.sha256 || path(form).exists());
    if there.len() > 1 && !path(&there[0]).exists() {
        there.remove(0);
    }
    let last = there.len().saturating_sub(1);
    for (number, form) in there.iter().enumerate() {
        match copy_form(&path(form), form.digest, to) {
            Err(FetchError::Altered { .. }) if number < last => {
                std::fs::remove_file(to).map_err(disk("remove", to))?;
            }
            Err(error) => return Err(error),
            Ok(()) => break,
        }
    }
    // Its environments may hold secrets, and the software has no use for it.
    let private = file.path == UPGRADE_FILE;
    open_to_all(to, if private { PRIVATE } else { file.mode.bits() })
}

fn copy_form(from: &Path, digest: Digest, to: &Path) -> Result<(), FetchError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(PRIVATE);
    let mut source = File::open(from).map_err(disk("open", from))?;
    let mut target = options.open(to).map_err(disk("make", to))?;
    let mut hash = Sha256::new();
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        let length = source.read(&mut block).map_err(disk("read", from))?;
        if length == 0 {
            break;
        }
        hash.update(&block[..length]);
        target
            .write_all(&block[..length])
            .map_err(disk("write", to))?;
    }
    if Digest(hash.finalize().into()) != digest {
        std::fs::remove_file(from).map_err(disk("remove", from))?;
        return Err(FetchError::Altered { digest });
    }
    Ok(())
}

/// The folders between `root` and `file`, open to all.
pub(super) fn make_folders(root: &Path, file: &Path) -> Result<(), FetchError> {
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
    use model::manifest::Mode;
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
            assemble(folder.path(), &HeldForms::default(), &manifest, &target).expect("built");
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
    fn what_is_laid_out_is_what_was_published_and_secrets_are_private() {
        let folder = tempfile::tempdir().expect("folder");
        let manifest = manifest(&[
            ("upgrade.toml", b"secret", Mode::Plain),
            ("x", b"right", Mode::Plain),
        ]);
        let artifact = |content: &[u8]| folder.path().join(Digest::of(content).to_string());
        std::fs::write(artifact(b"secret"), "secret").expect("written");
        std::fs::write(artifact(b"right"), "wrong").expect("written");
        let target = folder.path().join("bundle");
        let error = assemble(folder.path(), &HeldForms::default(), &manifest, &target)
            .expect_err("altered");
        assert!(matches!(error, FetchError::Altered { .. }), "{error}");
        assert!(!target.exists() && !artifact(b"right").exists());
        std::fs::write(artifact(b"right"), "right").expect("written");
        assemble(folder.path(), &HeldForms::default(), &manifest, &target).expect("built");
        let mode = |path: &str| {
            let found = std::fs::metadata(target.join(path)).expect(path);
            found.permissions().mode() & 0o777
        };
        assert_eq!((mode("upgrade.toml"), mode("x")), (0o600, 0o644));
    }

    #[test]
    fn with_an_artifact_missing_there_is_no_folder() {
        let folder = tempfile::tempdir().expect("folder");
        let target = folder.path().join("bundle");
        let manifest = manifest(&[("x", b"missing", Mode::Plain)]);
        assert!(assemble(folder.path(), &HeldForms::default(), &manifest, &target).is_err());
        assert!(!target.exists());
    }
}
