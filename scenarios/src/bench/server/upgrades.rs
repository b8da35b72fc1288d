//! Versions of a system that has one class and changes nothing: for servers an upgrade like any other.

use std::path::{Path, PathBuf};

/// Writes the folder of a version; in each group one node at a time may be away.
pub(super) fn write(folder: &Path, version: u32) -> anyhow::Result<PathBuf> {
    let from = match version {
        1 => String::new(),
        version => format!("from = {}\n", version - 1),
    };
    let text = format!(
        "system = \"crowd\"\nversion = {version}\n{from}description = \"The same again\"\n\n\
         [class.storage]\nsoftware = {{ command = [\"true\"] }}\n\
         lifecycle.probe = {{ alive_ms = 1 }}\n\
         schedule = {{ max_unavailable = 1, group_by = \"group\" }}\n"
    );
    let folder = folder.join(format!("v{version}"));
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("upgrade.toml"), text)?;
    Ok(folder)
}
