//! A copied, moved or restored data directory becomes a node's own.

use super::agent_error::{AgentError, at};
use crate::enrolment;
use crate::holder;
use crate::journal::Journal;
use crate::layout::Layout;
use model::ids::NodeId;
use std::path::Path;

/// A directory that has become a node's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// How many records its journal has ever had.
    pub records: u64,
    /// The node's number at its server, where it has one.
    pub node: Option<NodeId>,
}

/// Makes a copied, moved or restored data directory the node's own; the next agent starts in it, under a holder of its own. No agent may
/// run there, and nothing of the original's on this machine.
///
/// # Errors
/// It is no node's directory, an agent runs there, something of the original runs, or what is in it is damaged.
pub fn claim(data: &Path) -> Result<Claimed, AgentError> {
    let layout = Layout::new(std::fs::canonicalize(data).map_err(at(data))?);
    // Where it cannot be read, nothing can be said of it.
    let journal = layout.journal();
    std::fs::File::open(&journal).map_err(at(&journal))?;
    let is_held = holder::is_its_own(layout.root());
    if is_held && holder::owner(layout.root()).is_some() && !Journal::is_copied(&journal)? {
        return Err(AgentError::NothingToClaim(layout.root().to_owned()));
    }
    if !is_held && let Some(original) = holder::original(layout.root()) {
        return Err(AgentError::OriginalLives(original));
    }
    // What holds this very directory goes on doing so.
    let forget = || {
        if is_held {
            Ok(())
        } else {
            holder::forget(layout.root())
        }
    };
    let records = Journal::claim(&layout.journal(), forget)?;
    super::data_directory::take_over(&layout)?;
    let node = enrolment::enrolled(&layout, None).map(|enrolled| enrolled.node);
    Ok(Claimed { records, node })
}
