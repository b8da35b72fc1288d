//! Folders that tests go through, and copies of them.

use crate::wait::wait_for;
use std::path::{Path, PathBuf};
use std::process::Command;

/// All folders below one whose names have this extension.
pub fn folders(below: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(below).expect("a folder") {
        let path = entry.expect("an entry").path();
        if !path.is_dir() {
            continue;
        }
        if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        } else {
            found.extend(folders(&path, extension));
        }
    }
    found.sort();
    found
}

/// Copies a whole folder over another, as a backup is taken or restored. A file that a running program renames meanwhile is copied once
/// more.
pub fn copy_all(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("made");
    wait_for("the folder to be copied", || {
        let mut command = Command::new("cp");
        let copied = command.arg("-a").arg(from.join(".")).arg(to).status();
        copied.expect("runs").success()
    });
}
