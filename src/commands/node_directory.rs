//! What the commands on a node's data directory share.

use crate::failure::{Advise, advice_on, failure};
use agent::holder::Original;
use agent::layout::Layout;
use std::path::{Path, PathBuf};

/// What root does in another user's directory it does as that user, and nobody else chooses which directory that is.
pub(super) fn become_owner(data: &Path) -> Result<(), anyhow::Error> {
    let shown = data.display();
    match agent::launch::become_owner(data) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(failure(
                format!("cannot become the owner of {shown}: {error}"),
                format!("run this as the owner of {shown}"),
            ));
        }
        // One that is not there is told of by whatever looks for it.
        _ => {}
    }
    agent::trust::check_way(data).advise(
        format!("{shown} may lead to another directory than you mean"),
        "give --data the directory's own path, in which only root and its owner can change a folder (`realpath` shows it)",
    )
}

/// Whether a node has been in a directory, as one of its files shows.
pub(super) fn is_a_nodes(data: &Path) -> anyhow::Result<bool> {
    let layout = Layout::new(data);
    for trace in [layout.journal(), layout.start(), layout.current()] {
        match trace.symlink_metadata() {
            Ok(_) => return Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                let next = advice_on(&error, data, "look at the disk (its permissions, `dmesg`)");
                let what = format!("cannot look at {}: {error}", trace.display());
                return Err(failure(what, next));
            }
        }
    }
    Ok(false)
}

/// What to do about the original that runs while a copy of its directory is to be claimed or stopped.
pub(super) fn stop_advice(original: &Original, copy: &Path) -> String {
    let is_here = |data: &PathBuf| std::fs::canonicalize(copy).is_ok_and(|copy| copy == *data);
    let process = original.process;
    match &original.data {
        Some(data) if is_here(data) => format!(
            "the node's own directory was moved away or deleted, and process {process} runs for it: move that one back and run `upstart stop --data {}`; where it is gone for good, end process {process} and what it leaves (`kill {process}`; this names the next one), then `upstart claim --data {0}` the copy",
            data.display()
        ),
        data => {
            let data = data.as_ref();
            let data = data.map_or("DIR".to_owned(), |data| data.display().to_string());
            format!(
                "one of them can be the node: keep the original, or end its agent, run `upstart stop --data {data}`, then claim this"
            )
        }
    }
}
