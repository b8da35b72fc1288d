//! Whether what was laid out is still what was published, and mending what is not, from the artifacts.

use super::unpack::each_entry;
use super::{FetchError, HeldForms, disk, is_gzip, open_to_all, sync, unpack, with_suffix};
use model::manifest::{Digest, Manifest, ManifestFile};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tar::EntryType;

/// How much is read at once.
const BLOCK_BYTES: usize = 256 * 1024;

/// What changes whenever a file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    mode: u32,
    changed: (i64, i64),
}

impl Stamp {
    /// Of a name itself, not of what it leads to; none where there is nothing.
    fn of(path: &Path) -> Option<Self> {
        let found = std::fs::symlink_metadata(path).ok()?;
        Some(Self {
            inode: found.ino(),
            size: found.size(),
            mode: found.mode(),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }
}

/// What was looked at already: a file that has not changed since is not read again, so that a start costs little.
#[derive(Debug, Default)]
pub struct LookedAt {
    files: Mutex<BTreeMap<PathBuf, Stamp>>,
    /// What lies in each unpacked folder.
    unpacked: Mutex<BTreeMap<PathBuf, Vec<PathBuf>>>,
}

impl LookedAt {
    fn is_as_before(&self, path: &Path) -> bool {
        let files = self.files.lock();
        let before = files.get(path).copied();
        before.is_some() && before == Stamp::of(path)
    }

    /// Notes what a file was before it was read: what changes meanwhile is read again.
    fn note(&self, path: &Path, stamp: Option<Stamp>) {
        let mut files = self.files.lock();
        match stamp {
            Some(stamp) => drop(files.insert(path.to_owned(), stamp)),
            None => drop(files.remove(path)),
        }
    }
}

/// The files of a bundle's folder that are not as its manifest lists them. Files beside them are nobody's business. Blocks.
pub fn damaged<'m>(
    looked: &LookedAt,
    manifest: &'m Manifest,
    forms: &HeldForms,
    bundle: &Path,
) -> Vec<&'m ManifestFile> {
    let differs = |file: &&ManifestFile| {
        let path = bundle.join(&file.path);
        if looked.is_as_before(&path) {
            return false;
        }
        let stamp = Stamp::of(&path);
        let same = is_as_listed(&path, file, forms).unwrap_or(false);
        looked.note(&path, stamp.filter(|_| same));
        !same
    };
    manifest.files.iter().filter(differs).collect()
}

fn is_as_listed(path: &Path, file: &ManifestFile, forms: &HeldForms) -> io::Result<bool> {
    let found = std::fs::symlink_metadata(path)?;
    let may_run = found.mode() & 0o100 != 0;
    let listed = file.mode.bits() & 0o100 != 0;
    let mut forms = (forms.of_file(file.into())).filter(|form| form.size == found.len());
    let Some(first) = forms
        .next()
        .filter(|_| found.is_file() && may_run == listed)
    else {
        return Ok(false);
    };
    let digest = digest_of(path)?;
    Ok(digest == first.digest || forms.any(|form| form.digest == digest))
}

/// The digest of a file's content. Blocks.
///
/// # Errors
/// When it cannot be read.
pub fn digest_of(path: &Path) -> io::Result<Digest> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        match file.read(&mut block)? {
            0 => return Ok(Digest(hash.finalize().into())),
            length => hash.update(&block[..length]),
        }
    }
}

/// Puts artifacts in the place of damaged files; a program that runs keeps the file that it has open. Blocks.
///
/// # Errors
/// An artifact is not there or is another ([`FetchError::Altered`]), or the disk is full or fails.
pub fn mend(
    artifacts: &Path,
    forms: &HeldForms,
    damaged: &[&ManifestFile],
    bundle: &Path,
) -> Result<(), FetchError> {
    if !bundle.is_dir() {
        std::fs::create_dir_all(bundle).map_err(disk("make", bundle))?;
        open_to_all(bundle, 0o755)?;
    }
    for file in damaged {
        let to = bundle.join(&file.path);
        super::assemble::make_folders(bundle, &to)?;
        let new = with_suffix(&to, ".mended");
        crate::tree::remove(&new).map_err(disk("remove", &new))?;
        super::assemble::copy_artifact(artifacts, forms, file, &new)?;
        sync(&new)?;
        if std::fs::symlink_metadata(&to).is_ok_and(|found| found.is_dir()) {
            crate::tree::remove(&to).map_err(disk("remove", &to))?;
        }
        std::fs::rename(&new, &to).map_err(disk("rename", &new))?;
    }
    sync(bundle)
}

/// Makes what was unpacked from an archive as it was again, where it is not; says what was not. Blocks.
///
/// # Errors
/// The archive cannot be unpacked, or the disk is full or fails.
pub fn mend_unpacked(
    looked: &LookedAt,
    archive: &Path,
    gzip: bool,
    target: &Path,
) -> Result<Vec<PathBuf>, FetchError> {
    // What is in it may lie in its place.
    let gzip = gzip && is_gzip(archive);
    if !target.is_dir() {
        unpack(archive, gzip, target)?;
        return Ok(vec![target.to_owned()]);
    }
    let known = looked.unpacked.lock().get(target).cloned();
    if known.is_some_and(|all| {
        all.iter()
            .all(|path| looked.is_as_before(&target.join(path)))
    }) {
        return Ok(Vec::new());
    }
    let (mut all, mut differing) = (Vec::new(), Vec::new());
    each_entry(archive, gzip, |entry| {
        let path = entry.path()?.into_owned();
        let here = target.join(&path);
        let stamp = Stamp::of(&here);
        let same = is_as_packed(entry, &here)?;
        // A folder changes with what the software writes into it.
        if !entry.header().entry_type().is_dir() {
            looked.note(&here, stamp.filter(|_| same));
            all.push(path.clone());
        }
        if !same {
            differing.push(path);
        }
        Ok(0)
    })?;
    if !differing.is_empty() {
        replace(archive, gzip, target, &differing)?;
        for path in &differing {
            let here = target.join(path);
            looked.note(&here, Stamp::of(&here));
        }
    }
    let mut unpacked = looked.unpacked.lock();
    unpacked.insert(target.to_owned(), all);
    Ok(differing)
}

/// Whether what lies there is what an archive's entry says.
fn is_as_packed(entry: &mut tar::Entry<'_, Box<dyn Read>>, here: &Path) -> io::Result<bool> {
    let Ok(found) = std::fs::symlink_metadata(here) else {
        return Ok(false);
    };
    match entry.header().entry_type() {
        EntryType::Directory => Ok(found.is_dir()),
        EntryType::Link => Ok(found.is_file()),
        EntryType::Symlink => {
            let packed = entry.link_name()?.map(std::borrow::Cow::into_owned);
            Ok(std::fs::read_link(here).ok() == packed)
        }
        EntryType::XGlobalHeader => Ok(true),
        _ => {
            let may_run = entry.header().mode()? & 0o100 != 0;
            let alike = found.is_file()
                && found.len() == entry.size()
                && (found.mode() & 0o100 != 0) == may_run;
            Ok(alike && File::open(here).is_ok_and(|file| same_content(entry, file)))
        }
    }
}

fn same_content(mut one: impl Read, mut other: impl Read) -> bool {
    let (mut first, mut second) = (vec![0; BLOCK_BYTES], vec![0; BLOCK_BYTES]);
    loop {
        let Ok(length) = one.read(&mut first) else {
            return false;
        };
        if length == 0 {
            return matches!(other.read(&mut second), Ok(0));
        }
        if other.read_exact(&mut second[..length]).is_err() || first[..length] != second[..length] {
            return false;
        }
    }
}

/// Unpacks once more, beside, and takes from there what is missing or other.
fn replace(
    archive: &Path,
    gzip: bool,
    target: &Path,
    differing: &[PathBuf],
) -> Result<(), FetchError> {
    let whole = with_suffix(target, ".whole");
    crate::tree::remove(&whole).map_err(disk("remove", &whole))?;
    unpack(archive, gzip, &whole)?;
    for path in differing {
        let (from, to) = (whole.join(path), target.join(path));
        super::assemble::make_folders(target, &to)?;
        let is_dir = |path: &Path| std::fs::symlink_metadata(path).map(|found| found.is_dir());
        match (is_dir(&from).unwrap_or(false), is_dir(&to)) {
            (true, Ok(true)) => continue,
            (true, Ok(false)) | (false, Ok(true)) => {
                crate::tree::remove(&to).map_err(disk("remove", &to))?;
            }
            _ => {}
        }
        if is_dir(&from).unwrap_or(false) {
            std::fs::create_dir(&to).map_err(disk("make", &to))?;
            let open = std::fs::set_permissions(&to, Permissions::from_mode(0o755));
            open.map_err(disk("set the mode of", &to))?;
        } else {
            std::fs::rename(&from, &to).map_err(disk("rename", &from))?;
        }
    }
    crate::tree::remove(&whole).map_err(disk("remove", &whole))?;
    sync(target)
}
