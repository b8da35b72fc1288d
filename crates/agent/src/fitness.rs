//! Whether an agent could start on this host: the agent's own checks, which change nothing here.

use crate::node::data_directory;
use crate::{AgentError, library};
use std::path::{Path, PathBuf};

/// Where the preloaded library is that an agent of this program would use.
///
/// # Errors
/// There is none, or it is of another version.
pub fn library() -> Result<PathBuf, AgentError> {
    library::fitting()
        .map(|(path, _)| path)
        .map_err(AgentError::Library)
}

/// Whether a folder can be a node's data directory; one that is not there yet, whether it can be made and be one.
///
/// # Errors
/// What an agent would refuse to start with.
pub fn data_directory(data: &Path) -> Result<(), AgentError> {
    data_directory::look(data)
}
