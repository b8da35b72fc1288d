//! Reads a bundle's folder: the one place in this crate that touches files.

use super::{BundleError, BundleFiles, FileInfo};
use crate::manifest::{
    CHUNKS_FILE, Digest, FILE_BYTES_MAX, FILES_MAX, ManifestError, Mode, UPGRADE_FILE, check_path,
};
use crate::spelling::nearest;
use sha2::{Digest as _, Sha256};
use std::fs::{self, DirEntry, File, FileType};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
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

/// The most findings that are told at once: beyond that the first ones are what matters.
const FINDINGS_MAX: usize = 100;

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
    #[error("{} {problem}; a bundle is a folder with `{UPGRADE_FILE}` in it", path.display())]
    NoBundle {
        /// What was given.
        path: PathBuf,
        /// What it lacks.
        problem: &'static str,
    },
    /// Things in it that cannot be published, each with what to do.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Unfit(Vec<BundleError>),
}

/// Reads every file below `path`: sorted, digests computed, the executable bit kept. Symbolic links and special files
/// are refused; empty folders are not part of a bundle.
///
/// # Errors
/// It cannot be read, has no upgrade file, or has something in it that cannot be published: all of that is told.
pub fn read_directory(path: &Path) -> Result<Folder, FolderError> {
    look_for_upgrade_file(path)?;
    let mut walk = Walk::default();
    walk.folder(path, "", 0)?;
    if !walk.unfit.is_empty() {
        walk.unfit.sort_by(|a, b| a.file.cmp(&b.file));
        return Err(FolderError::Unfit(walk.unfit));
    }
    let upgrade_path = path.join(UPGRADE_FILE);
    let bytes = fs::read(&upgrade_path).map_err(failed(&upgrade_path))?;
    let upgrade_toml =
        text(UPGRADE_FILE, bytes).map_err(|error| FolderError::Unfit(vec![*error]))?;
    let digest = walk.files.get(UPGRADE_FILE).map(|info| info.sha256);
    if digest != Some(Digest::of(upgrade_toml.as_bytes())) {
        return Err(unfit(
            UPGRADE_FILE,
            "changed while it was read",
            "try again",
        ));
    }
    Ok(Folder {
        path: path.to_owned(),
        upgrade_toml,
        files: walk.files,
    })
}

/// The bytes of a bundle's file `name` as text.
///
/// # Errors
/// They are not UTF-8: where, and what to do.
pub fn text(name: &str, bytes: Vec<u8>) -> Result<String, Box<BundleError>> {
    let help = match bytes.as_slice() {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "it looks like UTF-16; save it as UTF-8",
        _ => "save it as UTF-8",
    };
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line_start = good.iter().rposition(|byte| *byte == b'\n');
        let in_line = &good[line_start.map_or(0, |newline| newline + 1)..];
        Box::new(BundleError {
            line: Some(good.iter().filter(|byte| **byte == b'\n').count() + 1),
            column: Some(String::from_utf8_lossy(in_line).chars().count() + 1),
            ..BundleError::of_file(name, "is not UTF-8 from here on", help)
        })
    })
}

fn unfit(name: &str, problem: impl Into<String>, help: &str) -> FolderError {
    FolderError::Unfit(vec![BundleError::of_file(name, problem, help)])
}

/// A folder without a readable `upgrade.toml` is told before everything in it is read.
fn look_for_upgrade_file(path: &Path) -> Result<(), FolderError> {
    let no_bundle = |problem| {
        let path = path.to_owned();
        Err(FolderError::NoBundle { path, problem })
    };
    match fs::metadata(path) {
        Ok(found) if !found.is_dir() => return no_bundle("is not a folder"),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return no_bundle("does not exist");
        }
        Err(source) => return Err(failed(path)(source)),
    }
    let upgrade_path = path.join(UPGRADE_FILE);
    match fs::symlink_metadata(&upgrade_path) {
        Ok(found) if found.is_dir() => Err(unfit(UPGRADE_FILE, "is a folder", "make it a file")),
        Ok(found) if found.len() > UPGRADE_FILE_BYTES_MAX => {
            let bytes = found.len();
            let problem = format!("has {bytes} bytes; at most {UPGRADE_FILE_BYTES_MAX} are read");
            let help = "is it the right file? Data belongs into files beside it";
            Err(unfit(UPGRADE_FILE, problem, help))
        }
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => match misspelt(path) {
            Some(name) => Err(unfit(&name, "is not read", "name it `upgrade.toml`")),
            None => no_bundle("has no upgrade.toml"),
        },
        Err(source) => Err(failed(&upgrade_path)(source)),
    }
}

/// A file whose name is nearly that of the upgrade file.
fn misspelt(folder: &Path) -> Option<String> {
    let names = fs::read_dir(folder).ok()?.flatten();
    let names: Vec<String> = names
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.to_lowercase().ends_with("toml"))
        .collect();
    nearest(UPGRADE_FILE, names.iter().map(String::as_str)).map(str::to_owned)
}

/// What a walk through a bundle has found.
#[derive(Default)]
struct Walk {
    files: BundleFiles,
    unfit: Vec<BundleError>,
    /// There are more files than a bundle may have: the walk ends.
    full: bool,
}

impl Walk {
    fn unfit(&mut self, name: &str, problem: impl Into<String>, help: &str) {
        if self.unfit.len() < FINDINGS_MAX {
            self.unfit.push(BundleError::of_file(name, problem, help));
        }
    }

    fn folder(&mut self, folder: &Path, prefix: &str, depth: usize) -> Result<(), FolderError> {
        if depth > DEPTH_MAX {
            let problem = format!("folders are nested deeper than {DEPTH_MAX}");
            self.unfit(prefix, problem, "pack them into an archive");
            return Ok(());
        }
        for entry in fs::read_dir(folder).map_err(failed(folder))? {
            if self.full {
                return Ok(());
            }
            let entry = entry.map_err(failed(folder))?;
            let name = entry.file_name();
            let shown = match prefix {
                "" => name.to_string_lossy().into_owned(),
                prefix => format!("{prefix}/{}", name.to_string_lossy()),
            };
            if name.to_str().is_none() {
                self.unfit(&shown, "its name is not UTF-8", "rename it");
            } else if let Err(error) = check_path(&shown) {
                let problem = format!("its name {}", problem_of(error));
                self.unfit(&shown.escape_debug().to_string(), problem, "rename it");
            } else {
                self.entry(&entry, shown, depth)?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, entry: &DirEntry, name: String, depth: usize) -> Result<(), FolderError> {
        let path = entry.path();
        let kind = entry.file_type().map_err(failed(&path))?;
        if name == CHUNKS_FILE {
            // Of a bundle that was published: publishing makes it anew.
        } else if kind.is_symlink() {
            let help = "put the file itself there, or pack the folder into an archive";
            self.unfit(&name, "is a symbolic link", help);
        } else if kind.is_dir() {
            self.folder(&path, &name, depth + 1)?;
        } else if !kind.is_file() {
            let problem = format!("is {}, neither a file nor a folder", special(kind));
            self.unfit(&name, problem, "remove it");
        } else if self.files.len() == FILES_MAX {
            let problem = format!("has more than {FILES_MAX} files");
            self.unfit("", problem, "pack them into an archive");
            self.full = true;
        } else {
            match read_file(&path)? {
                Ok(info) => drop(self.files.insert(name, info)),
                Err(problem) => {
                    self.unfit(&name, problem, "split it, or let the software fetch it");
                }
            }
        }
        Ok(())
    }
}

fn special(kind: FileType) -> &'static str {
    match kind {
        kind if kind.is_fifo() => "a pipe",
        kind if kind.is_socket() => "a socket",
        kind if kind.is_block_device() || kind.is_char_device() => "a device",
        _ => "something special",
    }
}

/// What is wrong with a path, without the path.
fn problem_of(error: ManifestError) -> String {
    match error {
        ManifestError::Path { problem, .. } => problem.to_owned(),
        other => other.to_string(),
    }
}

/// A file's digest; the inner error is one that is too large.
fn read_file(path: &Path) -> Result<Result<FileInfo, String>, FolderError> {
    let mut file = File::open(path).map_err(failed(path))?;
    let found = file.metadata().map_err(failed(path))?;
    if found.size() > FILE_BYTES_MAX {
        let bytes = found.size();
        return Ok(Err(format!(
            "has {bytes} bytes; at most {FILE_BYTES_MAX} are allowed"
        )));
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
    Ok(Ok(FileInfo {
        mode,
        size,
        sha256: Digest(hasher.finalize().into()),
    }))
}

fn failed(path: &Path) -> impl Fn(io::Error) -> FolderError + '_ {
    move |source| FolderError::Read {
        path: path.to_owned(),
        source,
    }
}
