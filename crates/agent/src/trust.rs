//! Whom the data directory's path is left to: what lies in it is loaded and run with the agent's rights.

use rustix::fs::Stat;
use std::io;
use std::path::{Path, PathBuf};

/// Everybody may write.
const BY_OTHERS: u32 = 0o002;
/// The group may write.
const BY_GROUP: u32 = 0o020;
/// Only owners rename and delete what is in it.
const STICKY: u32 = 0o1000;

/// Why a path is not trusted.
#[derive(Debug, thiserror::Error)]
pub enum Distrust {
    /// Somebody else owns a folder of it, or may write there.
    #[error(
        "{path} {problem}: whoever that is could put other programs into the data directory, which run with the agent's rights"
    )]
    Open {
        /// The folder.
        path: PathBuf,
        /// Who.
        problem: String,
    },
    /// It cannot be looked at.
    #[error("cannot look at {path}")]
    Look {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Looks at a data directory, by its real path, and at every folder above it.
///
/// # Errors
/// One of them can be changed by somebody else than root and this process's user.
pub(crate) fn check(data: &Path) -> Result<(), Distrust> {
    let user = rustix::process::geteuid().as_raw();
    let group = rustix::process::getegid().as_raw();
    let hidden = hidden_owner();
    for path in data.ancestors() {
        let stat = rustix::fs::lstat(path).map_err(|error| Distrust::Look {
            path: path.to_owned(),
            source: error.into(),
        })?;
        if hidden == Some(stat.st_uid) {
            continue;
        }
        if let Some(problem) = problem(&stat, user, group) {
            let path = path.to_owned();
            return Err(Distrust::Open { path, problem });
        }
    }
    Ok(())
}

/// In a user namespace that does not know all users, the others look like this one: who they are can only be judged outside.
fn hidden_owner() -> Option<u32> {
    let read = |path| std::fs::read_to_string(path).ok();
    let overflow: u32 = read("/proc/sys/fs/overflowuid")?.trim().parse().ok()?;
    let map = read("/proc/self/uid_map")?;
    let known = map.lines().any(|line| {
        let mut numbers = line.split_whitespace().map(str::parse::<u32>);
        match (numbers.next(), numbers.nth(1)) {
            (Some(Ok(first)), Some(Ok(length))) => overflow.wrapping_sub(first) < length,
            _ => false,
        }
    });
    (!known).then_some(overflow)
}

fn problem(stat: &Stat, user: u32, group: u32) -> Option<String> {
    if stat.st_uid != 0 && stat.st_uid != user {
        return Some(format!("belongs to user {}", stat.st_uid));
    }
    if stat.st_mode & STICKY != 0 {
        return None;
    }
    if stat.st_mode & BY_OTHERS != 0 {
        return Some("can be written by everybody".to_owned());
    }
    let strangers = stat.st_gid != 0 && stat.st_gid != group;
    if stat.st_mode & BY_GROUP != 0 && strangers {
        return Some(format!("can be written by group {}", stat.st_gid));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::{PermissionsExt, chown};

    #[test]
    fn folders_that_others_change_are_not_trusted() {
        let place = tempfile::tempdir().expect("a folder");
        let above = std::fs::canonicalize(place.path())
            .expect("there")
            .join("above");
        let data = above.join("data");
        std::fs::create_dir_all(&data).expect("made");
        for (mode, trusted) in [(0o755, true), (0o700, true), (0o777, false), (0o1777, true)] {
            set_permissions(&above, Permissions::from_mode(mode)).expect("set");
            assert_eq!(check(&data).is_ok(), trusted, "{mode:o}");
        }
        if !rustix::process::geteuid().is_root() {
            println!(
                "SKIPPED: folders_that_others_change_are_not_trusted: only root gives folders away"
            );
            return;
        }
        set_permissions(&above, Permissions::from_mode(0o775)).expect("set");
        chown(&above, None, Some(1234)).expect("given");
        let told = check(&data).expect_err("a group").to_string();
        assert!(told.contains("by group 1234"), "{told}");
        set_permissions(&above, Permissions::from_mode(0o755)).expect("set");
        chown(&above, Some(1234), None).expect("given");
        let told = check(&data).expect_err("an owner").to_string();
        assert!(told.contains("above belongs to user 1234"), "{told}");
    }
}
