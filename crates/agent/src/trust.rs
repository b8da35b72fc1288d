//! Whom the data directory is left to: what lies in it is loaded and run with the agent's rights.

use access::{Distrust, Judge, PathPlace, listed};
use std::path::Path;

/// What whoever can change the directory would decide.
const STAKE: &str = "what runs with the agent's rights";

/// What the agent uses in the data directory: whoever changes it decides what runs.
pub(crate) const USED: [&str; 22] = [
    "adapters",
    "agent.key",
    "agent.sock",
    "artifacts",
    "cache",
    "current",
    "from-server",
    "holder.child",
    "holder.lock",
    "holder.log",
    "holder.name",
    "holder.sock",
    "identity",
    "journal",
    "journal.lock",
    "journal.witness",
    "lib",
    "output.log",
    "shared",
    "start.json",
    "trusted.json",
    "versions",
];

/// What it uses of each version; the state is the software's.
const USED_OF_A_VERSION: [&str; 3] = ["bundle", "software", "manifest.json"];

/// The link to the state, which is the software's.
const CURRENT: &str = "current";

/// Looks at a data directory, by its real path, at every folder above it, and at what the agent uses in it.
///
/// # Errors
/// One of them can be changed by somebody else than root and this process's user.
pub(crate) fn check(data: &Path) -> Result<(), Distrust> {
    let judge = Judge::new(STAKE);
    for path in data.ancestors().skip(1) {
        judge.look(path, PathPlace::Above)?;
    }
    judge.look(data, PathPlace::Within)?;
    judge.look(&data.join(CURRENT), PathPlace::Within)?;
    for name in USED.into_iter().filter(|name| *name != CURRENT) {
        judge.within(&data.join(name))?;
    }
    for library in listed(&data.join("lib"))? {
        judge.within(&library)?;
    }
    for version in listed(&data.join("versions"))? {
        judge.within(&version)?;
        for name in USED_OF_A_VERSION {
            judge.within(&version.join(name))?;
        }
    }
    Ok(())
}

/// Looks at a file that says what an agent runs, and at the way to it.
///
/// # Errors
/// One of them can be changed by somebody else than root and this process's user.
pub fn check_file(file: &Path) -> Result<(), Distrust> {
    Judge::new(STAKE).all(file)
}

/// Looks at the way to a data directory: whoever can change it chooses another one.
///
/// # Errors
/// Part of it can be changed by somebody else than root and this process's user.
pub fn check_way(data: &Path) -> Result<(), Distrust> {
    Judge::new(STAKE).way(data).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::{PermissionsExt, chown};
    use std::path::PathBuf;

    fn place() -> (tempfile::TempDir, PathBuf) {
        let place = tempfile::tempdir().expect("a folder");
        let data = std::fs::canonicalize(place.path())
            .expect("there")
            .join("data");
        for folder in ["lib", "versions/1.1/bundle", "versions/1.1/state"] {
            std::fs::create_dir_all(data.join(folder)).expect("made");
        }
        (place, data)
    }

    fn set_mode(path: &Path, mode: u32) {
        set_permissions(path, Permissions::from_mode(mode)).expect("set");
    }

    #[test]
    fn what_the_agent_uses_is_nobody_elses() {
        let (_place, data) = place();
        std::fs::write(data.join("lib/x.so"), "").expect("written");
        for name in ["lib", "lib/x.so", "versions/1.1", "versions/1.1/bundle"] {
            let path = data.join(name);
            let mode = std::fs::metadata(&path).expect("there").permissions();
            set_mode(&path, 0o1777);
            let told = check(&data).expect_err(name).to_string();
            assert!(told.contains(&format!("{name} can be written")), "{told}");
            set_permissions(&path, mode).expect("set");
        }
        // What a link leads to is used, too.
        let elsewhere = data.with_file_name("elsewhere");
        std::fs::create_dir(&elsewhere).expect("made");
        set_mode(&elsewhere, 0o777);
        std::os::unix::fs::symlink(&elsewhere, data.join("from-server")).expect("linked");
        let told = check(&data).expect_err("everybody's").to_string();
        assert!(told.contains("elsewhere can be written"), "{told}");
        std::fs::remove_file(data.join("from-server")).expect("removed");
        std::fs::write(data.join("trusted.json"), "").expect("written");
        set_mode(&data.join("trusted.json"), 0o666);
        let told = check(&data).expect_err("everybody's").to_string();
        assert!(told.contains("trusted.json can be written"), "{told}");
        set_mode(&data.join("trusted.json"), 0o600);
        // The state is the software's, and what else lies there is not used.
        set_mode(&data.join("versions/1.1/state"), 0o777);
        std::fs::create_dir(data.join("notes")).expect("made");
        set_mode(&data.join("notes"), 0o777);
        check(&data).expect("trusted");
        if rustix::process::geteuid().is_root() {
            chown(data.join("versions/1.1"), Some(1234), None).expect("given");
            let told = check(&data).expect_err("an owner").to_string();
            assert!(told.contains("1.1 belongs to user 1234"), "{told}");
        }
    }
}
