//! The agent's connection: requests in, answers and news out, never waited for.

use crate::packet::{self, Packet};
use intercept::holder::{FromHolder, HolderRequest, PACKET_BYTES_MAX};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// How many messages may wait for an agent that does not read; then it is dropped and may attach anew.
const OUTGOING_MAX: usize = 1024;

/// How many connections may wait to say hello, and for how long.
pub(super) const NEWCOMERS_MAX: usize = 8;
pub(super) const NEWCOMER_AGE_MAX: Duration = Duration::from_secs(5);

/// A connection that has not said hello yet.
#[derive(Debug)]
pub(super) struct Newcomer {
    pub(super) socket: OwnedFd,
    pub(super) since: Instant,
}

/// The attached agent.
#[derive(Debug)]
pub(super) struct Agent {
    /// Tells agents apart, so that an answer for a former one is not given to its successor.
    pub(super) number: u64,
    socket: OwnedFd,
    outgoing: VecDeque<(Vec<u8>, Option<OwnedFd>)>,
}

impl Agent {
    pub(super) fn new(number: u64, socket: OwnedFd) -> Self {
        Self {
            number,
            socket,
            outgoing: VecDeque::new(),
        }
    }

    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Whether something waits to be sent.
    pub(super) fn is_behind(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Queues a message and sends what can be sent.
    ///
    /// # Errors
    /// When the connection is to be given up.
    pub(super) fn send(
        &mut self,
        message: &FromHolder,
        descriptor: Option<OwnedFd>,
    ) -> io::Result<()> {
        if self.outgoing.len() >= OUTGOING_MAX {
            return Err(io::Error::other("the agent does not read"));
        }
        self.outgoing
            .push_back((serde_json::to_vec(message)?, descriptor));
        self.flush()
    }

    /// Sends a message now or not at all; says whether it went. `descriptor` stays the caller's.
    ///
    /// # Errors
    /// When the connection is to be given up.
    pub(super) fn send_now(
        &mut self,
        message: &FromHolder,
        descriptor: BorrowedFd<'_>,
    ) -> io::Result<bool> {
        self.flush()?;
        if self.is_behind() {
            return Ok(false);
        }
        let bytes = serde_json::to_vec(message)?;
        went(packet::send(&self.socket, &bytes, Some(descriptor)))
    }

    /// Sends what can be sent.
    ///
    /// # Errors
    /// When the connection is to be given up.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while let Some((bytes, descriptor)) = self.outgoing.front() {
            let descriptor = descriptor.as_ref().map(AsFd::as_fd);
            if !went(packet::send(&self.socket, bytes, descriptor))? {
                break;
            }
            self.outgoing.pop_front();
        }
        Ok(())
    }
}

fn went(sent: io::Result<()>) -> io::Result<bool> {
    match sent {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

/// What a readable connection gives.
#[derive(Debug)]
pub(super) enum Received {
    /// A request and the descriptor that came with it.
    Request(HolderRequest, Option<OwnedFd>),
    /// Nothing for now.
    Nothing,
    /// The connection has ended, or is to be ended because it speaks nonsense.
    End,
}

/// Reads one request.
pub(super) fn receive(socket: BorrowedFd<'_>, buffer: &mut Vec<u8>) -> Received {
    buffer.resize(PACKET_BYTES_MAX, 0);
    match packet::receive(socket, buffer) {
        Ok(Some(Packet { length, descriptor })) => {
            match serde_json::from_slice(&buffer[..length]) {
                Ok(request) => Received::Request(request, descriptor),
                Err(error) => {
                    tracing::debug!(%error, "a message of an agent is not understood");
                    Received::End
                }
            }
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Received::Nothing,
        Ok(None) | Err(_) => Received::End,
    }
}
