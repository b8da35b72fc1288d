//! The connection handler for HTTP/1.1.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;

use crate::gate::{Dial, Gate};
use crate::limits::Limits;
use crate::observer::Observer;

/// Why a caller's connection was reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetCause {
    /// The node took no more calls of it.
    Closed,
    /// The software could not be reached, or failed during a call.
    Software,
    /// The caller broke the protocol or its own connection.
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

/// Serves a caller's connection until it ends or is given back.
pub async fn serve_http(
    _stream: TcpStream,
    _peer: SocketAddr,
    _gate: Arc<dyn Gate>,
    _dial: Arc<dyn Dial>,
    _limits: Arc<Limits>,
    _observer: Arc<dyn Observer>,
) -> Served {
    Served::Closed
}
