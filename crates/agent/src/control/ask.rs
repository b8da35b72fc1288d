//! The command's side.

use super::{ControlAnswer, ControlRequest, LINE_BYTES_MAX, RecordRequest, socket_path};
use std::io;
use std::path::{Path, PathBuf};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

/// Why an agent cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No agent runs there, or it does not let this user in.
    #[error("no agent answers at {path}")]
    Unreachable {
        /// Its socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The connection failed.
    #[error("cannot speak to the agent")]
    Io(#[from] io::Error),
    /// It said what nobody understands.
    #[error("the agent's answer is not understood: {0}")]
    Garbled(String),
}

/// A recording under way.
pub struct Recordings {
    stream: BufReader<UnixStream>,
}

/// Asks the agent of a data directory to record. Dropping what is returned ends the recording.
///
/// # Errors
/// When there is no agent, or it does not let this user in.
pub async fn record(data: &Path, request: RecordRequest) -> Result<Recordings, ControlError> {
    let path = socket_path(data);
    let connected = UnixStream::connect(&path).await;
    let mut stream = connected.map_err(|source| ControlError::Unreachable { path, source })?;
    let mut line = serde_json::to_vec(&ControlRequest::Record(request)).map_err(io::Error::from)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    Ok(Recordings {
        stream: BufReader::new(stream),
    })
}

impl Recordings {
    /// What the agent says next; `None` when it has ended.
    ///
    /// # Errors
    /// When the connection fails, or the agent says what nobody understands.
    pub async fn next(&mut self) -> Result<Option<ControlAnswer>, ControlError> {
        let mut line = String::new();
        let mut limited = (&mut self.stream).take(LINE_BYTES_MAX);
        if limited.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        serde_json::from_str(&line)
            .map(Some)
            .map_err(|error| ControlError::Garbled(error.to_string()))
    }
}
