//! The preloaded library: where it is found, and the copy that a child keeps for its whole life.

use intercept::environment::LIBRARY_MARK;
use sha2::{Digest, Sha256};
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The library's file name.
const FILE: &str = "libupstart_preload.so";

/// Names the library explicitly, for installations that keep it elsewhere.
const OVERRIDE: &str = "UPSTART_PRELOAD";

/// Copies the library into `folder`, which is there, under its digest and says where; a copy that is there already is used.
///
/// The copy never changes afterwards: replacing a file under a running program's feet would crash it.
///
/// # Errors
/// The library is not where the binary is, nor in `../lib/upstart`, nor where `UPSTART_PRELOAD` says; or it cannot be copied.
pub(crate) fn install(folder: &Path) -> io::Result<PathBuf> {
    let (_, bytes) = fitting()?;
    let digest = hex::encode(Sha256::digest(&bytes));
    let copy = folder.join(format!("{}.so", &digest[..16]));
    if std::fs::read(&copy).is_ok_and(|present| present == bytes) {
        return Ok(copy);
    }
    let fresh = copy.with_extension("new");
    std::fs::write(&fresh, bytes)?;
    // The software's user loads it, whoever that is.
    std::fs::set_permissions(&fresh, Permissions::from_mode(0o644))?;
    std::fs::rename(&fresh, &copy)?;
    Ok(copy)
}

/// The library of this program, and where it is.
///
/// # Errors
/// There is none, it cannot be read, or it is of another version.
pub(crate) fn fitting() -> io::Result<(PathBuf, Vec<u8>)> {
    let source = find()?;
    let bytes = std::fs::read(&source)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", source.display())))?;
    if fits(&bytes) {
        return Ok((source, bytes));
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidData,
        format!(
            "{} is of another version than this program; install both from one build",
            source.display()
        ),
    ))
}

/// Whether a library reads the tables that this agent writes.
fn fits(library: &[u8]) -> bool {
    memchr::memmem::find(library, LIBRARY_MARK).is_some()
}

fn find() -> io::Result<PathBuf> {
    if let Some(path) = std::env::var_os(OVERRIDE) {
        return Ok(path.into());
    }
    let binary = std::env::current_exe()?;
    let folder = binary.parent().unwrap_or(Path::new("/"));
    [folder.join(FILE), folder.join("../lib/upstart").join(FILE)]
        .into_iter()
        .find(|path| path.is_file())
        .ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                format!(
                    "{FILE} is neither beside {} nor in ../lib/upstart; put it there or set {OVERRIDE}",
                    binary.display()
                ),
            )
        })
}

#[cfg(test)]
mod tests {
    use super::{LIBRARY_MARK, fits};

    #[test]
    fn a_library_of_another_version_is_noticed() {
        let mut library = b"\x7fELF and so on ".to_vec();
        library.extend(LIBRARY_MARK);
        library.extend(b" and so on");
        assert!(fits(&library));
        let at = library.len() - 11;
        library[at - 1] = b'1';
        assert!(!fits(&library));
    }
}
