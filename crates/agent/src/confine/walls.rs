//! Landlock: what may be read, and the little that may be written.

use super::ConfineOrders;
use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, RulesetStatus, Scope, path_beneath_rules,
};
use std::io;
use std::path::{Component, Path, PathBuf};

/// The system: programs, libraries and their settings.
const SYSTEM: [&str; 13] = [
    "/bin", "/sbin", "/usr", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt", "/nix",
    "/proc", "/sys", "/dev",
];

/// Devices that every program may write to.
const DEVICES: [&str; 5] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
];

/// Encloses this process and all that it will execute. Sets `NO_NEW_PRIVS`.
///
/// What newer kernels keep it from is asked for too: devices' own calls (6.10), signals to processes outside (6.12).
///
/// # Errors
/// When the kernel has no Landlock: a transform that could write anywhere is not run. As root also where it does not keep files outside
/// from being cut (Linux 6.2): for others the owners of files do.
pub(super) fn enclose(orders: &ConfineOrders, shared_memory: bool) -> io::Result<()> {
    let abi = ABI::V6;
    let reading = AccessFs::from_read(abi);
    let everything = AccessFs::from_all(abi);
    let is_root = orders.user.is_none() && rustix::process::geteuid().is_root();
    let must = if is_root {
        AccessFs::from_all(ABI::V3)
    } else {
        AccessFs::from_all(ABI::V1)
    };
    let mut writable = orders.writable.clone();
    if shared_memory {
        writable.push(PathBuf::from("/dev/shm"));
    }
    let readable = readable(orders);
    let enclosed = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(must)
        .map_err(too_old)?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(everything)
        .and_then(|rules| rules.scope(Scope::from_all(abi)))
        .and_then(Ruleset::create)
        .and_then(|rules| rules.add_rules(path_beneath_rules(readable, reading)))
        .and_then(|rules| rules.add_rules(path_beneath_rules(DEVICES, everything)))
        .and_then(|rules| rules.add_rules(path_beneath_rules(writable, everything)))
        .and_then(|rules| rules.restrict_self())
        .map_err(io::Error::other)?;
    if enclosed.ruleset == RulesetStatus::NotEnforced {
        return Err(io::Error::other(
            "this kernel has no Landlock (Linux 5.13 or newer, with lsm=landlock)",
        ));
    }
    Ok(())
}

fn too_old(error: RulesetError) -> io::Error {
    io::Error::other(format!(
        "this kernel's Landlock is too old or off: it wants Linux 5.13, and 6.2 where the transform runs as root, with lsm=landlock; let the software run as a user of its own, or take a newer kernel ({error})"
    ))
}

fn readable(orders: &ConfineOrders) -> Vec<PathBuf> {
    let mut readable: Vec<PathBuf> = SYSTEM.iter().map(PathBuf::from).collect();
    readable.extend(orders.frozen.iter().cloned());
    readable.extend(orders.readable.iter().cloned());
    readable.push(orders.directory.clone());
    let home = orders.environment.get("HOME").map(Path::new);
    let path = orders.environment.get("PATH").map_or("", String::as_str);
    for folder in std::env::split_paths(path) {
        readable.extend(installation(&folder, home));
        readable.push(folder);
    }
    readable
}

/// Where the programs of a folder in `PATH` have their libraries: `/root/.pyenv` for `/root/.pyenv/shims`, but neither a
/// whole home directory nor a folder of the top level.
fn installation(folder: &Path, home: Option<&Path>) -> Option<PathBuf> {
    let parent = folder.parent()?;
    let depth = parent
        .components()
        .filter(|part| matches!(part, Component::Normal(_)))
        .count();
    let is_home = home == Some(parent) || (parent.starts_with("/home") && depth == 2);
    (depth >= 2 && !is_home).then(|| parent.to_owned())
}

#[cfg(test)]
mod tests {
    use super::installation;
    use std::path::{Path, PathBuf};

    #[test]
    fn an_installation_is_no_home_and_no_top_level() {
        let home = Some(Path::new("/var/home/me"));
        let of = |folder: &str| installation(Path::new(folder), home);
        assert_eq!(
            of("/root/.pyenv/shims"),
            Some(PathBuf::from("/root/.pyenv"))
        );
        assert_eq!(of("/usr/local/bin"), Some(PathBuf::from("/usr/local")));
        assert_eq!(of("/root/bin"), None);
        assert_eq!(of("/home/me/bin"), None);
        assert_eq!(of("/var/home/me/bin"), None);
        assert_eq!(of("/"), None);
    }
}
