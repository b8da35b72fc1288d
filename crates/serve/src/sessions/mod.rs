//! Sessions: one connection of a caller and its own connection to the software, with adapters between them, for protocols in which
//! either side may speak.
//!
//! Bytes are cut into messages by the service's framing. An adapter judges a message by its head; what it lets pass streams by, a long one
//! without ever entering the process. Events of one session come one at a time, and what follows from them is sent in their order. Nothing
//! grows without a limit: who sends faster than the other side reads has to wait.

mod chain;
mod connection;
mod error;
mod events;
mod outlet;
mod pump;
mod splice;

pub use chain::SessionChain;
pub use connection::Wire;
pub use error::SessionError;

use bytes::BytesMut;
use call::{Limits, Party, SessionCaller};
use events::Events;
use pump::Pump;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// How long what an adapter sent last may take to be written before its session ends all the same.
const FLUSH_LIMIT: Duration = Duration::from_secs(5);

/// How long bytes are discarded that a peer still sends when its session ends: closing on unread bytes would be a reset, and could
/// destroy the last message before the peer has read it.
const LINGER: Duration = Duration::from_secs(1);

/// How a session ended.
#[derive(Debug)]
pub enum SessionEnd {
    /// Both sides have ended.
    Finished,
    /// An adapter ended it, for this reason.
    Closed(String),
    /// It was reset because the node said so.
    Over,
    /// It was reset because something failed.
    Reset(SessionError),
}

/// Serves a session until it ends. `id` is given to no other one. `over` resets it, as the death of the process would, and so does dropping
/// the future; but only with `over` do the adapters hear of the end.
pub async fn serve_session<W: Wire>(
    caller: W,
    software: W,
    chain: Arc<SessionChain>,
    who: &SessionCaller,
    id: u64,
    limits: &Limits,
    over: impl Future<Output = ()>,
) -> SessionEnd {
    let events = Events::new(chain, id);
    let ended = run(&events, &caller, &software, who, limits, over).await;
    let end = match ended {
        Ok(()) => SessionEnd::Finished,
        Err(Some(SessionError::Asked(reason))) => {
            flush(&events, &caller, &software).await;
            SessionEnd::Closed(reason)
        }
        Err(error) => {
            caller.will_reset();
            software.will_reset();
            error.map_or(SessionEnd::Over, SessionEnd::Reset)
        }
    };
    drop((caller, software));
    events.closed().await;
    end
}

/// Runs until both sides have ended; without an error where it is over.
async fn run<W: Wire>(
    events: &Events,
    caller: &W,
    software: &W,
    who: &SessionCaller,
    limits: &Limits,
    over: impl Future<Output = ()>,
) -> Result<(), Option<SessionError>> {
    let whole = limits.body_bytes_max;
    let pass = async {
        events.open(who).await?;
        let up = Pump::new(events, Party::Caller, caller, software, whole);
        let down = Pump::new(events, Party::Next, software, caller, whole);
        tokio::try_join!(
            up.run(),
            down.run(),
            write(events, Party::Caller, caller),
            write(events, Party::Next, software)
        )?;
        Ok(())
    };
    tokio::select! {
        biased;
        () = over => Err(None),
        passed = pass => passed.map_err(Some),
        error = events.run_timers() => Err(Some(error)),
    }
}

async fn write(events: &Events, to: Party, wire: &impl Wire) -> Result<(), SessionError> {
    Ok(events.outlet(to).write(wire).await?)
}

/// Writes what is left, and ends both sides in order.
async fn flush<W: Wire>(events: &Events, caller: &W, software: &W) {
    let both = async {
        tokio::join!(
            finish(events, Party::Caller, caller),
            finish(events, Party::Next, software)
        )
    };
    // Who does not read until then gets no more.
    let _ = tokio::time::timeout(FLUSH_LIMIT, both).await;
}

async fn finish(events: &Events, to: Party, wire: &impl Wire) {
    let outlet = events.outlet(to);
    if outlet.is_streaming() {
        // Half a message cannot be ended in order.
        wire.will_reset();
        return;
    }
    outlet.send_end();
    // The peer may be gone.
    if outlet.write(wire).await.is_ok() {
        let _ = tokio::time::timeout(LINGER, discard(wire)).await;
    }
}

/// Reads until the end and forgets it.
async fn discard(wire: &impl Wire) {
    let mut rest = BytesMut::with_capacity(4_096);
    while wire.readable().await.is_ok() {
        rest.clear();
        match wire.try_read(&mut rest) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}
