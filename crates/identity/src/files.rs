//! Files with keys in them: their owner's alone, whole or not there, durable before anybody hears of them.

use crate::{IdentityError, crypto};
use rustix::fs::OFlags;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// More than a key and some certificates need, in bytes.
const BYTES_MAX: u64 = 64 * 1024;

/// Read or written by anybody but the owner.
const OPEN: u32 = 0o077;

/// Written by anybody but the owner.
const WRITABLE: u32 = 0o022;

/// Names the file that the system speaks of.
pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> IdentityError {
    let path = path.to_owned();
    move |source| IdentityError::File { path, source }
}

/// Reads a file that only its owner can read or change; `None` where there is none.
pub(crate) fn read(path: &Path) -> Result<Option<String>, IdentityError> {
    read_where(path, OPEN, |path, mode| IdentityError::Open { path, mode })
}

/// The same of a file without secrets, which everybody may read.
pub(crate) fn read_public(path: &Path) -> Result<Option<String>, IdentityError> {
    read_where(path, WRITABLE, |path, mode| IdentityError::Writable {
        path,
        mode,
    })
}

fn read_where(
    path: &Path,
    forbidden: u32,
    refusal: impl FnOnce(PathBuf, u32) -> IdentityError,
) -> Result<Option<String>, IdentityError> {
    let mut options = OpenOptions::new();
    let flags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK);
    let opened = options
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at(path)(error)),
    };
    let about = file.metadata().map_err(at(path))?;
    let owner = about.uid();
    if ![0, rustix::process::geteuid().as_raw()].contains(&owner) {
        let path = path.to_owned();
        return Err(IdentityError::Foreign { path, owner });
    }
    let mode = about.mode() & 0o7777;
    if about.is_file() && mode & forbidden != 0 {
        return Err(refusal(path.to_owned(), mode));
    }
    let mut text = String::new();
    file.take(BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(at(path))?;
    Ok(Some(text))
}

/// Writes a file anew; `false` where there is one already and it may not be replaced.
pub(crate) fn write(path: &Path, text: &str, replace: bool) -> Result<bool, IdentityError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut chance = [0; 8];
    aws_lc_rs::rand::fill(&mut chance).map_err(crypto("name a new file"))?;
    let mut new = path.as_os_str().to_owned();
    // Several programs may write here at once, each its own file.
    new.push(format!(".{}.new", hex::encode(chance)));
    let new = Path::new(&new);
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(new);
    let mut file = file.map_err(at(new))?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all());
    let placed = written.and_then(|()| {
        if replace {
            return fs::rename(new, path).map(|()| true);
        }
        let linked = fs::hard_link(new, path);
        fs::remove_file(new)?;
        match linked {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            linked => linked.map(|()| true),
        }
    });
    if placed.is_err() {
        // Half of it is of no use; what is in its place stays.
        let _ = fs::remove_file(new);
    }
    let placed = placed.map_err(at(path))?;
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(at(folder))?;
    Ok(placed)
}

/// What is kept in a file, as text (RFC 7468).
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let lines = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new(label, der), lines)
}

#[cfg(test)]
mod tests;
