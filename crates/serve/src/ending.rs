//! How a caller's connection ends, and its orderly end.
//!
//! A socket that is closed with unread bytes in it is reset by the kernel, and a reset takes away what the caller has not read yet:
//! the answer to a request whose body was still coming. So the caller is told the end, and what it still sends is read and forgotten
//! until it ends too (RFC 9112, section 9.6).

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Why a caller's connection was reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetCause {
    /// The node took no more calls of it.
    Closed,
    /// The software could not be reached, or failed during a call.
    Software,
    /// The caller's side failed: its connection broke, or a head did not arrive in time.
    Caller,
}

/// How a connection ended.
#[derive(Debug)]
pub enum Served {
    /// In order.
    Closed,
    /// By a reset.
    Reset(ResetCause),
    /// At a message boundary, to go on raw.
    GiveBack(TcpStream),
}

/// How long a caller may go on sending.
pub(crate) const LINGER: Duration = Duration::from_secs(30);

/// How long it may be silent meanwhile.
pub(crate) const SILENCE: Duration = Duration::from_secs(5);

/// How much is read at once of what nobody needs.
const CHUNK_BYTES: usize = 16 * 1024;

/// Ends a connection in order.
pub(crate) async fn end(mut stream: TcpStream) {
    // The caller may be gone already.
    let _ = stream.shutdown().await;
    let mut rest = vec![0; CHUNK_BYTES];
    let discard = async {
        while matches!(timeout(SILENCE, stream.read(&mut rest)).await, Ok(Ok(length)) if length > 0)
        {
        }
    };
    let _ = timeout(LINGER, discard).await;
}
