//! The data directory is made ready for an agent.

use super::agent_error::{AgentError, at};
use crate::trust;
use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Makes the data directory and says its absolute path: the software is told paths in it. The software's user passes through it, and
/// nobody else sees what is the agent's alone.
pub(super) fn prepare(data: &Path) -> Result<PathBuf, AgentError> {
    if let Some(parent) = data.parent() {
        std::fs::create_dir_all(parent).map_err(at(parent))?;
    }
    make_folder(data, 0o711).map_err(at(data))?;
    let data = std::fs::canonicalize(data).map_err(at(data))?;
    if let Some(why) = unfit(&data) {
        return Err(AgentError::Unfit(data, why));
    }
    trust::check(&data)?;
    for (name, mode) in [
        ("versions", 0o711),
        ("lib", 0o711),
        ("cache", 0o700),
        ("artifacts", 0o700),
        ("adapters", 0o700),
    ] {
        let folder = data.join(name);
        make_folder(&folder, mode)
            .and_then(|()| narrow(&folder, mode))
            .map_err(at(&folder))?;
    }
    Ok(data)
}

/// Why a path cannot be a data directory's. The dynamic linker cuts `LD_PRELOAD` at blanks and colons (ld.so(8)): it would load what
/// lies at the first part, whoever has put it there.
fn unfit(data: &Path) -> Option<&'static str> {
    match data.to_str() {
        None => Some("its path is no UTF-8"),
        Some(path) if path.contains(|at: char| at == ':' || at.is_whitespace()) => Some(
            "its path has a blank or a colon, at which the library that it holds could not be preloaded",
        ),
        Some(_) => None,
    }
}

/// Makes a folder with this mode, whatever the umask; one that is there stays as it is.
fn make_folder(folder: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(folder) {
        Ok(()) => std::fs::set_permissions(folder, Permissions::from_mode(mode)),
        Err(_) if folder.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Takes away what a folder's mode has beyond this one.
fn narrow(folder: &Path, mode: u32) -> io::Result<()> {
    let present = std::fs::metadata(folder)?.permissions().mode() & 0o7777;
    match present & !mode {
        0 => Ok(()),
        _ => std::fs::set_permissions(folder, Permissions::from_mode(present & mode)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn a_path_that_cuts_the_librarys_is_refused() {
        for path in ["/srv/a b", "/srv/a:b", "/srv/a\tb", "/srv/a\n"] {
            assert!(unfit(Path::new(path)).is_some(), "{path:?}");
        }
        assert!(unfit(Path::new(OsStr::from_bytes(b"/srv/\xff"))).is_some());
        for path in ["/srv/node-1", "/srv/k\u{f6}ln", "/srv/$HOME"] {
            assert_eq!(unfit(Path::new(path)), None, "{path:?}");
        }
    }
}
