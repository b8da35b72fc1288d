//! What may not lie in a bundle's folder.

use super::{Broken, broken, put};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

pub(super) const ALL: &[Broken] = &[
    broken("folder missing", |dir| fs::remove_dir_all(dir).is_ok()),
    broken("folder empty", |dir| {
        fs::remove_dir_all(dir).is_ok() && fs::create_dir(dir).is_ok()
    }),
    broken("folder is a file", |dir| {
        fs::remove_dir_all(dir).is_ok() && fs::write(dir, "x").is_ok()
    }),
    broken("folder without upgrade file", |dir| {
        fs::remove_file(dir.join("upgrade.toml")).is_ok()
    }),
    broken("folder with the name in capitals", |dir| {
        fs::rename(dir.join("upgrade.toml"), dir.join("Upgrade.toml")).is_ok()
    }),
    broken("upgrade file is a folder", |dir| {
        fs::remove_file(dir.join("upgrade.toml")).is_ok() && put(dir, "upgrade.toml/x", "")
    }),
    broken("upgrade file is a link", |dir| {
        let (from, to) = (dir.join("upgrade.toml"), dir.join("real.toml"));
        fs::rename(&from, &to).is_ok() && symlink("real.toml", from).is_ok()
    }),
    broken("upgrade file is a broken link", |dir| {
        let path = dir.join("upgrade.toml");
        fs::remove_file(&path).is_ok() && symlink("nowhere", path).is_ok()
    }),
    broken("upgrade file is a pipe", |dir| {
        fs::remove_file(dir.join("upgrade.toml")).is_ok() && make(dir, "upgrade.toml", &["p"])
    }),
    broken("upgrade file too large", |dir| {
        sparse(dir, "upgrade.toml", 2 << 20)
    }),
    broken("link to a file", |dir| {
        symlink("echo.py", dir.join("software/run.py")).is_ok()
    }),
    broken("link to a folder", |dir| {
        symlink("software", dir.join("current")).is_ok()
    }),
    broken("link out of the bundle", |dir| {
        symlink("/etc/passwd", dir.join("users")).is_ok()
    }),
    broken("several things at once", |dir| {
        symlink("x", dir.join("a-link")).is_ok()
            && make(dir, "b-pipe", &["p"])
            && put(dir, "c\\d", "")
            && put(dir, "e\nf", "")
    }),
    broken("pipe", |dir| make(dir, "software/pipe", &["p"])),
    broken("socket", |dir| {
        std::os::unix::net::UnixListener::bind(dir.join("sock")).is_ok()
    }),
    broken("device", |dir| make(dir, "null", &["c", "1", "3"])),
    broken("name that is not UTF-8", |dir| {
        fs::write(dir.join(OsStr::from_bytes(b"caf\xe9")), "").is_ok()
    }),
    broken("name with a line end", |dir| put(dir, "two\nlines", "")),
    broken("name with a backslash", |dir| put(dir, "software\\run", "")),
    broken("file too large", |dir| {
        sparse(dir, "software/data", (8 << 30) + 1)
    }),
    broken("nested too deep", |dir| {
        put(dir, &format!("{}x", "d/".repeat(40)), "")
    }),
    broken("path too long", |dir| {
        put(
            dir,
            &format!("{}x", format!("{}/", "d".repeat(200)).repeat(6)),
            "",
        )
    }),
    broken("too many files", |dir| {
        let folder = dir.join("many");
        fs::create_dir(&folder).is_ok()
            && File::create(folder.join("0")).is_ok()
            // Names of one file: quicker than so many files, and each counts.
            && (1..50_001).all(|n| {
                let first = folder.join((n / 30_000 * 30_000).to_string());
                let next = folder.join(n.to_string());
                match n % 30_000 {
                    0 => File::create(next).is_ok(),
                    _ => fs::hard_link(first, next).is_ok(),
                }
            })
    }),
];

/// A file of that length that takes no room.
fn sparse(dir: &Path, name: &str, bytes: u64) -> bool {
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(dir.join(name));
    file.and_then(|file| file.set_len(bytes)).is_ok()
}

/// A pipe or a device; devices need root.
fn make(dir: &Path, name: &str, kind: &[&str]) -> bool {
    let mut command = Command::new("mknod");
    command.arg(dir.join(name)).args(kind).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
