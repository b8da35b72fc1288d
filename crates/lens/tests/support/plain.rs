//! What tests of several crates need beside lenses.
#![allow(dead_code, unreachable_pub)]

/// Runs what never waits for anything outside.
pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    runtime.block_on(work)
}

/// All folders below one whose names have this extension.
pub fn folders(below: &std::path::Path, extension: &str) -> Vec<std::path::PathBuf> {
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
