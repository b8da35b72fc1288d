//! The site: docs/ as mdBook renders it.

use crate::install;
use crate::workspace::Workspace;
use anyhow::{Context, bail};
use std::path::PathBuf;

/// Builds the site and says where it begins. What mdBook only warns of is an error here.
///
/// # Errors
/// When mdBook is missing, fails or warns.
pub(crate) fn build(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let folder = workspace.target("book");
    let mut command = workspace.command(install::tool(workspace, "mdbook"));
    command.args(["build", "docs", "--dest-dir"]).arg(&folder);
    let output = command.output().context("cannot run mdbook")?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() || said.contains("WARN") || said.contains("ERROR") {
        bail!("mdbook ended with {}:\n{said}", output.status);
    }
    // It copies whatever lies beside the pages; its own configuration is of no use to readers.
    std::fs::remove_file(folder.join("book.toml"))
        .or_else(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })
        .context("cannot tidy the site up")?;
    Ok(folder.join("index.html"))
}
