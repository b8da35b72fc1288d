//! The canonical manifest of a published upgrade: the one text whose digest names everything in a bundle.
//!
//! It is compact JSON with sorted keys and files sorted by path (bytewise); any other spelling of the same contents is
//! refused, so that one upgrade has one digest.

mod digest;

pub use digest::{Digest, DigestError};

use crate::ids::Version;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The most files of one bundle: a manifest is read as a whole.
pub const FILES_MAX: usize = 50_000;
/// The largest file of a bundle: what a node fetches and copies at once.
pub const FILE_BYTES_MAX: u64 = 8 << 30;
/// The largest manifest, in bytes.
pub const MANIFEST_BYTES_MAX: usize = 16 << 20;
/// The longest path, in bytes (PATH_MAX minus room for the node's own directories).
pub const PATH_BYTES_MAX: usize = 1024;
/// The longest part of a path, in bytes (NAME_MAX).
pub const NAME_BYTES_MAX: usize = 255;

/// Who may do what with a file: the one bit that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Read by all, written by its owner.
    #[serde(rename = "0644")]
    Plain,
    /// As before, and can be run.
    #[serde(rename = "0755")]
    Executable,
}

impl Mode {
    /// The permission bits.
    pub fn bits(self) -> u32 {
        match self {
            Self::Plain => 0o644,
            Self::Executable => 0o755,
        }
    }

    /// From permission bits: executable when its owner may run it.
    pub fn from_bits(bits: u32) -> Self {
        if bits & 0o100 == 0 {
            Self::Plain
        } else {
            Self::Executable
        }
    }
}

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

/// One file of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestFile {
    /// Its mode.
    pub mode: Mode,
    /// Where it is in the bundle, with `/` between the parts.
    pub path: String,
    /// Its digest.
    pub sha256: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// The manifest of an upgrade. The order of the fields is that of the canonical JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// What the upgrade brings, for people.
    pub description: String,
    /// Every file, by path.
    pub files: Vec<ManifestFile>,
    /// The format of the manifest.
    pub format: u32,
    /// The version that it starts from; zero for the first.
    pub from: Version,
    /// The system's name.
    pub system: String,
    /// The version that it leads to.
    pub version: Version,
}

/// The manifest format that is written and read here.
pub const FORMAT: u32 = 1;

/// The file that every bundle has.
pub const UPGRADE_FILE: &str = "upgrade.toml";

/// The index of the chunks that the large files of a bundle consist of. `upstart publish` makes it: it is part of what is published, and not
/// of the folder. A program that knows nothing of chunks takes it for one more file.
pub const CHUNKS_FILE: &str = "upstart.chunks";

/// What is wrong with a manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// It is too large.
    #[error("the manifest has {bytes} bytes; at most {MANIFEST_BYTES_MAX} are read")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// It is no manifest.
    #[error("not a manifest: {0}")]
    Syntax(String),
    /// It is of another format.
    #[error("the manifest's format is {0}; this program knows {FORMAT}, so use a newer one")]
    Format(u32),
    /// Its spelling is not the canonical one.
    #[error(
        "the manifest is not canonical (sorted keys and paths, no white space): make it with `upstart publish`"
    )]
    NotCanonical,
    /// It lists too many files.
    #[error(
        "the manifest lists {0} files; at most {FILES_MAX} are allowed: pack them into an archive"
    )]
    TooManyFiles(usize),
    /// One of its paths cannot be used.
    #[error("path `{path}`: {problem}")]
    Path {
        /// The path.
        path: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A file is too large.
    #[error("file `{path}` has {size} bytes; at most {FILE_BYTES_MAX} are allowed")]
    FileTooLarge {
        /// The file.
        path: String,
        /// Its size.
        size: u64,
    },
    /// It is a manifest of nothing.
    #[error("the manifest does not list `{UPGRADE_FILE}`")]
    NoUpgradeFile,
    /// The versions cannot be.
    #[error("version {version} cannot start from version {from}")]
    Versions {
        /// The version.
        version: Version,
        /// Its `from`.
        from: Version,
    },
}

impl Manifest {
    /// The canonical text.
    pub fn text(&self) -> String {
        // Plain data with string keys always serialises.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The digest of the canonical text: the upgrade's own.
    pub fn digest(&self) -> Digest {
        Digest::of(self.text().as_bytes())
    }

    /// Reads a canonical manifest; everything in it is checked.
    ///
    /// # Errors
    /// It is no manifest, is not spelled canonically, or breaks a rule of [`Manifest::validate`].
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        if text.len() > MANIFEST_BYTES_MAX {
            return Err(ManifestError::TooLarge { bytes: text.len() });
        }
        let manifest: Self =
            serde_json::from_str(text).map_err(|error| ManifestError::Syntax(error.to_string()))?;
        manifest.validate()?;
        if manifest.text() != text {
            return Err(ManifestError::NotCanonical);
        }
        Ok(manifest)
    }

    /// The file at this path.
    pub fn file(&self, path: &str) -> Option<&ManifestFile> {
        let at = self
            .files
            .binary_search_by(|file| file.path.as_str().cmp(path))
            .ok()?;
        self.files.get(at)
    }

    /// The files as a listing.
    pub fn listing(&self) -> BundleFiles {
        let entry = |file: &ManifestFile| {
            let info = FileInfo {
                mode: file.mode,
                size: file.size,
                sha256: file.sha256,
            };
            (file.path.clone(), info)
        };
        self.files.iter().map(entry).collect::<BTreeMap<_, _>>()
    }

    /// Everything but the spelling.
    ///
    /// # Errors
    /// The first rule that it breaks: format, versions, number, size, paths and order of the files.
    pub fn validate(&self) -> Result<(), ManifestError> {
        if self.format != FORMAT {
            return Err(ManifestError::Format(self.format));
        }
        if self.version <= self.from {
            return Err(ManifestError::Versions {
                version: self.version,
                from: self.from,
            });
        }
        if self.files.len() > FILES_MAX {
            return Err(ManifestError::TooManyFiles(self.files.len()));
        }
        for file in &self.files {
            check_path(&file.path)?;
            if file.size > FILE_BYTES_MAX {
                return Err(ManifestError::FileTooLarge {
                    path: file.path.clone(),
                    size: file.size,
                });
            }
        }
        self.check_order()?;
        self.file(UPGRADE_FILE)
            .map(|_| ())
            .ok_or(ManifestError::NoUpgradeFile)
    }

    /// Sorted, each path once, and no file where another path has a folder.
    fn check_order(&self) -> Result<(), ManifestError> {
        let paths: BTreeSet<&str> = self.files.iter().map(|file| file.path.as_str()).collect();
        if paths.len() != self.files.len() || !self.files.is_sorted_by(|a, b| a.path < b.path) {
            return Err(ManifestError::NotCanonical);
        }
        for path in &paths {
            let mut folders = path.match_indices('/').map(|(at, _)| &path[..at]);
            if let Some(folder) = folders.find(|folder| paths.contains(folder)) {
                return Err(ManifestError::Path {
                    path: folder.to_owned(),
                    problem: "is a file and a folder at once",
                });
            }
        }
        Ok(())
    }
}

/// Refuses paths that could lead out of the bundle or that some system could not store.
///
/// # Errors
/// What is wrong with it.
pub fn check_path(path: &str) -> Result<(), ManifestError> {
    let problem = if path.is_empty() {
        "is empty"
    } else if path.len() > PATH_BYTES_MAX {
        "is too long"
    } else if path.starts_with('/') {
        "is absolute; paths are relative to the bundle"
    } else if path.contains('\\') || path.chars().any(char::is_control) {
        "contains a backslash or a control character"
    } else if path.split('/').any(|part| part == "..") {
        "contains `..`; paths stay inside the bundle"
    } else if path.split('/').any(|part| part.is_empty() || part == ".") {
        "contains an empty part or `.`"
    } else if path.split('/').any(|part| part.len() > NAME_BYTES_MAX) {
        "has a part that is too long"
    } else {
        return Ok(());
    };
    Err(ManifestError::Path {
        path: path.to_owned(),
        problem,
    })
}

#[cfg(test)]
mod tests;
