//! The connection handler for HTTP/1.1.
//!
//! Hyper parses and writes; what is decided here is when a call may begin, what it passes, and how
//! a connection ends: in order, by a reset as in a crash, or given back raw.

mod bounded;
mod caller;
mod message;
mod software;
mod stream;
mod strict;

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

use crate::gate::{Dial, Gate};
use crate::limits::Limits;
use crate::observer::Observer;
use caller::Caller;
use stream::CallerStream;

pub(crate) use message::{refusal_body, strip_hops};

/// How long bytes of a caller are discarded after the answer that ends its connection.
const LINGER: Duration = Duration::from_secs(1);

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

/// Serves a caller's connection until it ends or is given back. Dropping the future resets the
/// connection, as the death of the process would.
pub async fn serve_http(
    stream: TcpStream,
    peer: SocketAddr,
    gate: Arc<dyn Gate>,
    dial: Arc<dyn Dial>,
    limits: Arc<Limits>,
    observer: Arc<dyn Observer>,
) -> Served {
    let _ = stream.set_nodelay(true);
    let caller = Arc::new(Caller::new(peer, gate, dial, limits, observer));
    let mut stream = CallerStream::new(stream, caller.traffic.clone());
    loop {
        let round = round(&caller, stream).await;
        if let Some(cause) = caller.cause() {
            return Served::Reset(cause);
        }
        match round.end {
            End::HeadTimeout => return Served::Reset(ResetCause::Caller),
            End::Failed => return end(round.stream, LINGER).await,
            End::Finished { give_back: false } => return end(round.stream, Duration::ZERO).await,
            End::Finished { give_back: true } => {
                stream = round.stream;
                // Part of the next call has been read already: it is served here too.
                if !round.unread.is_empty() {
                    stream.rewind(round.unread);
                    caller.keep();
                    continue;
                }
                return match stream.into_stream() {
                    Some(stream) => Served::GiveBack(stream),
                    None => Served::Closed,
                };
            }
        }
    }
}

enum End {
    Finished { give_back: bool },
    Failed,
    HeadTimeout,
}

struct Round {
    end: End,
    stream: CallerStream,
    unread: Bytes,
}

/// Serves calls until hyper is done with the connection.
async fn round(caller: &Arc<Caller>, stream: CallerStream) -> Round {
    let service = {
        let caller = caller.clone();
        service_fn(move |request| Box::pin(caller.clone().answer(request)))
    };
    // Not `pipeline_flush`: it keeps an answer back while part of the next request is there.
    let mut connection = http1::Builder::new()
        .half_close(true)
        .preserve_header_case(true)
        .auto_date_header(false)
        .header_read_timeout(None)
        .max_headers(caller.limits.headers_max)
        .max_header_size(caller.limits.head_bytes_max)
        .serve_connection(TokioIo::new(stream), service);
    let mut head_timer = Box::pin(sleep_until(Instant::now()));
    let mut timer_runs = false;
    let mut give_back = false;
    let end = poll_fn(|cx| {
        loop {
            if let Poll::Ready(ended) = connection.poll_without_shutdown(cx) {
                return Poll::Ready(match ended {
                    Ok(()) => End::Finished { give_back },
                    Err(error) => {
                        tracing::debug!(%error, "a caller's connection failed");
                        End::Failed
                    }
                });
            }
            if give_back || !caller.may_give_back() {
                break;
            }
            // Idle now, or about to flush the end of the answer: hyper closes without a trace.
            give_back = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        if !caller.awaits_head() {
            timer_runs = false;
            return Poll::Pending;
        }
        if !timer_runs {
            timer_runs = true;
            head_timer
                .as_mut()
                .reset(Instant::now() + caller.limits.head_timeout);
        }
        head_timer.as_mut().poll(cx).map(|()| End::HeadTimeout)
    })
    .await;
    let parts = connection.into_parts();
    Round {
        end,
        stream: parts.io.into_inner(),
        unread: parts.read_buf,
    }
}

/// Closes in order. What the caller still sends is read for a while: closing on unread bytes would
/// be a reset, and could destroy the last answer before the caller has read it.
async fn end(stream: CallerStream, linger: Duration) -> Served {
    let Some(mut stream) = stream.into_stream() else {
        return Served::Closed;
    };
    // The caller may be gone already.
    let _ = stream.shutdown().await;
    let mut rest = vec![0; 4096];
    let discard =
        async { while matches!(stream.read(&mut rest).await, Ok(length) if length > 0) {} };
    let _ = timeout(linger, discard).await;
    Served::Closed
}
