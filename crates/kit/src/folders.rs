//! Folders of the repository that tests go through.

use std::path::{Path, PathBuf};

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
