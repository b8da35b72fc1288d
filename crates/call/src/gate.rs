//! What the connection handler asks of the node: leave to make a call, and a connection to the
//! software.

use std::any::Any;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;

use crate::chain::Chain;

use crate::Pending;
use wire::framing::Codec;

/// Where the software listens now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// The software's own address.
    pub address: SocketAddr,
    /// Goes up each time the software is started: connections of an older generation are dropped.
    pub generation: u64,
}

/// Leave to make one call.
pub struct Lease {
    /// How the call is to be translated.
    pub chain: Arc<Chain>,
    /// Where to.
    pub upstream: Upstream,
    /// The connection is the software's own: return it raw at the next message boundary, after
    /// this call. Only meaningful with an empty chain.
    pub give_back: bool,
    /// Dropped when the call has ended, its answer's last byte passed on or not: a node that
    /// drains counts these.
    pub guard: Option<Box<dyn Any + Send + Sync>>,
}

/// The node takes no more calls of this connection: it is reset, as by a dead process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

/// Asked before every call of a connection.
pub trait Gate: Send + Sync {
    /// Waits while the node holds calls.
    fn enter(&self) -> Pending<'_, Result<Lease, Closed>>;

    /// The version on the connection's label and the service that it reached, for adapters that want to know.
    fn caller(&self) -> Option<(u32, Arc<str>)> {
        None
    }

    /// Waits until the software that was reached there is not the one that serves: it is being stopped, or was started anew.
    fn replaced(&self, _: Upstream) -> Pending<'_, ()> {
        Box::pin(std::future::pending())
    }

    /// The framing of the software's version, where calls are messages; asked while a call has leave.
    fn codec(&self) -> Option<Arc<Codec>> {
        None
    }
}

/// Opens connections to the software.
pub trait Dial: Send + Sync {
    /// Connects; the software is shown the true caller's address.
    fn dial(&self, upstream: Upstream, caller: SocketAddr) -> Pending<'_, io::Result<TcpStream>>;
}
