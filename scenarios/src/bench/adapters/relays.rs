//! What stands between sender and receiver: a session, or a relay that moves bytes by splice(2) and knows nothing of them.

use anyhow::bail;
use call::{
    Direction, EventAnswer, Limits, MessageHead, Party, Pending, Reaction, Session, SessionCaller,
    SessionVerdict, Sessions,
};
use model::bundle::{ByteOrder, Counts, Cut, Framing, LengthField};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use serve::{SessionChain, SessionEnd, serve_session};
use std::future::ready;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use wire::framing::Codec;

/// The size of the relay's pipe, in bytes: what an unprivileged process may ask for.
const PIPE_BYTES: usize = 1 << 20;

/// Passes what comes from the first to the second until it ends.
pub(super) type Relay = fn(TcpStream, TcpStream) -> anyhow::Result<()>;

/// An adapter that looks at each message's head and lets it pass.
struct Passes;

impl Sessions for Passes {
    fn open<'a>(&'a self, _: u64, _: &'a SessionCaller) -> EventAnswer<'a, Reaction> {
        Box::pin(ready(Ok(Reaction::default())))
    }

    fn on_head<'a>(
        &'a self,
        _: Session<'a>,
        _: Party,
        head: MessageHead<'a>,
    ) -> EventAnswer<'a, SessionVerdict> {
        Box::pin(ready(Ok(match head.bytes.first() {
            Some(0) => SessionVerdict::Pass,
            _ => SessionVerdict::Drop,
        })))
    }

    fn on_message<'a>(
        &'a self,
        _: Session<'a>,
        _: Party,
        _: &'a [u8],
    ) -> EventAnswer<'a, Reaction> {
        Box::pin(ready(Ok(Reaction::default())))
    }

    fn on_timer<'a>(&'a self, _: Session<'a>) -> EventAnswer<'a, Reaction> {
        Box::pin(ready(Ok(Reaction::default())))
    }

    fn closed<'a>(&'a self, _: Session<'a>) -> Pending<'a, ()> {
        Box::pin(ready(()))
    }
}

/// A session with one adapter.
pub(super) fn session(caller: TcpStream, software: TcpStream) -> anyhow::Result<()> {
    let codec = Arc::new(Codec::new(Framing {
        cut: Cut::Length(LengthField {
            offset: 0,
            bytes: 4,
            order: ByteOrder::Big,
            counts: Counts::Rest,
            header_bytes: 4,
            checksum: None,
        }),
        head_bytes: 64,
        message_bytes_max: 1 << 30,
    }));
    let steps: Vec<(Arc<dyn Sessions>, _)> = vec![(Arc::new(Passes), codec.clone())];
    let chain = Arc::new(SessionChain::new(Direction::Past, codec, steps));
    let who = SessionCaller {
        version: 1,
        address: caller.peer_addr()?,
        service: "bench".into(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let end = runtime.block_on(async {
        let [caller, software] = [caller, software].map(|stream| {
            stream.set_nonblocking(true)?;
            tokio::net::TcpStream::from_std(stream)
        });
        let never = std::future::pending();
        let limits = Limits::default();
        anyhow::Ok(serve_session(caller?, software?, chain, &who, 1, &limits, never).await)
    })?;
    match end {
        SessionEnd::Finished => Ok(()),
        end => bail!("the session ended otherwise: {end:?}"),
    }
}

/// The least that a relay can do.
pub(super) fn splice_relay(from: TcpStream, to: TcpStream) -> anyhow::Result<()> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    fcntl_setpipe_size(&writer, PIPE_BYTES)?;
    loop {
        let mut inside = splice(&from, None, &writer, None, PIPE_BYTES, SpliceFlags::MOVE)?;
        if inside == 0 {
            break;
        }
        while inside > 0 {
            inside -= splice(&reader, None, &to, None, inside, SpliceFlags::MOVE)?;
        }
    }
    to.shutdown(Shutdown::Write)?;
    Ok(())
}
