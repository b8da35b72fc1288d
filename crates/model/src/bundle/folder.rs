//! Reads a bundle's folder: the one place in this crate that touches files.

use super::{BundleFiles, FileInfo};
use crate::manifest::{Digest, FILE_BYTES_MAX, FILES_MAX, Mode, UPGRADE_FILE, check_path};
use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// The largest `upgrade.toml`, in bytes: it is read as a whole.
pub const UPGRADE_FILE_BYTES_MAX: u64 = 1 << 20;

/// The deepest nesting of folders in a bundle.
pub const DEPTH_MAX: usize = 32;

/// A bundle as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// Where it is.
    pub path: PathBuf,
    /// The text of its `upgrade.toml`.
    pub upgrade_toml: String,
    /// All its files.
    pub files: BundleFiles,
}

/// Why a folder cannot be read as a bundle.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Reading failed.
    #[error("cannot read {}", path.display())]
    Read {
        /// What was read.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// It is no bundle.
    #[error("{} has no upgrade.toml; a bundle is a folder with that file in it", path.display())]
    NoUpgradeFile {
        /// The folder.
        path: PathBuf,
    },
    /// Something in it cannot be published.
    #[error("{}: {problem}", path.display())]
    Unfit {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
}

/// Reads every file below `path`: sorted, digests computed, the executable bit kept. Symbolic links and special files
/// are refused; empty folders are not part of a bundle.
pub fn read_directory(path: &Path) -> Result<Folder, FolderError> {
    let upgrade_path = path.join(UPGRADE_FILE);
    match fs::symlink_metadata(&upgrade_path) {
        Ok(found) if found.len() > UPGRADE_FILE_BYTES_MAX => {
            let problem = format!(
                "has {} bytes; at most {UPGRADE_FILE_BYTES_MAX} are read",
                found.len()
            );
            return Err(FolderError::Unfit {
                path: upgrade_path,
                problem,
            });
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound && path.is_dir() => {
            return Err(FolderError::NoUpgradeFile {
                path: path.to_owned(),
            });
        }
        Err(source) => {
            return Err(FolderError::Read {
                path: upgrade_path,
                source,
            });
        }
    }
    let mut files = BundleFiles::new();
    walk(path, "", 0, &mut files)?;
    let bytes = fs::read(&upgrade_path).map_err(failed(&upgrade_path))?;
    let upgrade_toml = String::from_utf8(bytes).map_err(|error| FolderError::Unfit {
        path: upgrade_path,
        problem: format!("is not UTF-8 (byte {})", error.utf8_error().valid_up_to()),
    })?;
    if files.get(UPGRADE_FILE).map(|info| info.sha256) != Some(Digest::of(upgrade_toml.as_bytes()))
    {
        let problem = "changed while it was read; try again".to_owned();
        return Err(FolderError::Unfit {
            path: path.join(UPGRADE_FILE),
            problem,
        });
    }
    Ok(Folder {
        path: path.to_owned(),
        upgrade_toml,
        files,
    })
}

fn walk(
    folder: &Path,
    prefix: &str,
    depth: usize,
    files: &mut BundleFiles,
) -> Result<(), FolderError> {
    let unfit = |path: &Path, problem: &str| {
        Err(FolderError::Unfit {
            path: path.to_owned(),
            problem: problem.to_owned(),
        })
    };
    if depth > DEPTH_MAX {
        return unfit(
            folder,
            &format!("folders are nested deeper than {DEPTH_MAX}; pack them into an archive"),
        );
    }
    for entry in fs::read_dir(folder).map_err(failed(folder))? {
        let entry = entry.map_err(failed(folder))?;
        let path = entry.path();
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
            return unfit(&path, "its name is not UTF-8; rename it");
        };
        let relative = if prefix.is_empty() {
            name
        } else {
            format!("{prefix}/{name}")
        };
        if let Err(error) = check_path(&relative) {
            return unfit(folder, &error.to_string());
        }
        let kind = entry.file_type().map_err(failed(&path))?;
        if kind.is_symlink() {
            return unfit(
                &path,
                "is a symbolic link; put the file itself there, or pack the folder into an archive",
            );
        } else if kind.is_dir() {
            walk(&path, &relative, depth + 1, files)?;
        } else if kind.is_file() {
            if files.len() >= FILES_MAX {
                return unfit(
                    folder,
                    &format!("more than {FILES_MAX} files; pack them into an archive"),
                );
            }
            files.insert(relative, read_file(&path)?);
        } else {
            return unfit(&path, "is neither a file nor a folder; remove it");
        }
    }
    Ok(())
}

fn read_file(path: &Path) -> Result<FileInfo, FolderError> {
    let mut file = File::open(path).map_err(failed(path))?;
    let found = file.metadata().map_err(failed(path))?;
    if found.size() > FILE_BYTES_MAX {
        let problem = format!(
            "has {} bytes; at most {FILE_BYTES_MAX} are allowed",
            found.size()
        );
        return Err(FolderError::Unfit {
            path: path.to_owned(),
            problem,
        });
    }
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    let mut size = 0u64;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                hasher.update(&buffer[..count]);
                size += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => {
                return Err(FolderError::Read {
                    path: path.to_owned(),
                    source,
                });
            }
        }
    }
    let mode = Mode::from_bits(found.permissions().mode());
    Ok(FileInfo {
        mode,
        size,
        sha256: Digest(hasher.finalize().into()),
    })
}

fn failed(path: &Path) -> impl Fn(io::Error) -> FolderError + '_ {
    move |source| FolderError::Read {
        path: path.to_owned(),
        source,
    }
}
