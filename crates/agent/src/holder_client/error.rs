//! What can go wrong between agent and holder, in the words of the log.

use crate::holder::HolderError;
use std::io;
use std::path::PathBuf;

/// What went wrong between agent and holder.
#[derive(Debug, thiserror::Error)]
pub enum HolderClientError {
    /// No holder listens there.
    #[error("no holder answers at {path}")]
    Unreachable {
        /// Its socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The connection ended: the holder died, or a newer agent has taken the node.
    #[error("the connection to the holder has ended")]
    Gone,
    /// The holder understood and refused, or could not.
    #[error("the holder answers: {0}")]
    Refused(String),
    /// It did not answer in time.
    #[error("the holder, process {process}, does not answer")]
    Silent {
        /// Which process it is; 0 where that cannot be seen.
        process: i32,
    },
    /// Somebody who is no holder has its lock.
    #[error(
        "process {process} ({program}) of user {user}, which is no holder, has locked {path}: no holder can start"
    )]
    Locked {
        /// The lock.
        path: PathBuf,
        /// The process.
        process: i32,
        /// Its user.
        user: u32,
        /// Its program.
        program: String,
    },
    /// What it said makes no sense.
    #[error("the holder's answer is not understood: {0}")]
    Garbled(String),
    /// The connection failed.
    #[error("cannot speak to the holder")]
    Io(#[source] io::Error),
    /// It could not be started.
    #[error("cannot start the holder")]
    Spawn(#[from] HolderError),
}

impl From<io::Error> for HolderClientError {
    /// A holder that dies resets its connections: whoever has just connected is told so, too.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Self::Gone,
            _ => Self::Io(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_says_that_the_holder_has_gone() {
        for kind in [io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe] {
            assert!(matches!(
                HolderClientError::from(io::Error::from(kind)),
                HolderClientError::Gone
            ));
        }
        let other = HolderClientError::from(io::Error::from(io::ErrorKind::PermissionDenied));
        assert!(matches!(other, HolderClientError::Io(_)));
    }
}
