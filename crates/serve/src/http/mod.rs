//! The connection handler for HTTP/1.1.
//!
//! Hyper parses and writes; what is decided here is when a call may begin, what it passes, and how
//! a connection ends: in order, by a reset as in a crash, or given back raw.

mod bounded;
mod caller;
mod interim;
mod message;
mod software;
mod stream;
mod strict;

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::ending::{self, ResetCause, Served};
use crate::presence::{LOOK_INTERVAL, Manners};
use call::{Dial, Gate, Limits, Observer};
use caller::HttpCaller;
use stream::CallerStream;

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
    let manners = Manners::of(&stream);
    let _ = stream.set_nodelay(true);
    let caller = Arc::new(HttpCaller::new(peer, gate, dial, limits, observer));
    let mut stream = CallerStream::new(stream, caller.traffic.clone());
    loop {
        let round = round(&caller, stream).await;
        if let Some(cause) = caller.cause() {
            return Served::Reset(cause);
        }
        match round.end {
            RoundEnd::HeadTimeout => return Served::Reset(ResetCause::Caller),
            RoundEnd::Left => {
                caller.leave();
                return Served::Reset(ResetCause::Caller);
            }
            RoundEnd::Failed(error) => {
                caller.misspoke(&error);
                return end(round.stream).await;
            }
            RoundEnd::Idle | RoundEnd::Finished { give_back: false } => {
                return end(round.stream).await;
            }
            RoundEnd::Finished { give_back: true } => {
                stream = round.stream;
                // Part of the next call has been read already: it is served here too.
                if !round.unread.is_empty() {
                    stream.rewind(round.unread);
                    caller.keep();
                    continue;
                }
                let Some(stream) = stream.into_stream() else {
                    return Served::Closed;
                };
                // On failure the socket is gone already.
                let _ = manners.restore(&stream);
                return Served::GiveBack(stream);
            }
        }
    }
}

enum RoundEnd {
    Finished {
        give_back: bool,
    },
    /// With what hyper says of it.
    Failed(hyper::Error),
    HeadTimeout,
    /// Nothing has been asked for long.
    Idle,
    /// The caller has gone while its call ran.
    Left,
}

struct Round {
    end: RoundEnd,
    stream: CallerStream,
    unread: Bytes,
}

/// The times of a connection: until when a head must have come, and when the caller of a running call is looked after.
struct ConnectionClock {
    head: Pin<Box<Sleep>>,
    awaits_head: bool,
    /// For the next call to begin; made when there is none.
    idle: Option<Pin<Box<Sleep>>>,
    look: Pin<Box<Sleep>>,
    looks: bool,
}

impl ConnectionClock {
    fn new() -> Self {
        let now = || Box::pin(sleep_until(Instant::now()));
        Self {
            head: now(),
            awaits_head: false,
            idle: None,
            look: now(),
            looks: false,
        }
    }

    /// Whether a head has been awaited for too long.
    fn is_head_late(&mut self, cx: &mut Context<'_>, caller: &HttpCaller) -> bool {
        if !caller.awaits_head() {
            self.awaits_head = false;
            return false;
        }
        if !self.awaits_head {
            self.awaits_head = true;
            let until = Instant::now() + caller.limits.head_timeout;
            self.head.as_mut().reset(until);
        }
        self.head.as_mut().poll(cx).is_ready()
    }

    /// Whether nothing has been asked for too long.
    fn is_idle(&mut self, cx: &mut Context<'_>, caller: &HttpCaller) -> bool {
        if caller.is_in_call() || caller.awaits_head() {
            self.idle = None;
            return false;
        }
        let until = || Box::pin(sleep_until(Instant::now() + caller.limits.idle_timeout));
        let idle = self.idle.get_or_insert_with(until);
        idle.as_mut().poll(cx).is_ready()
    }

    /// Whether it is time to look after the caller of a call that runs. One timer serves all calls that are shorter than its interval.
    fn is_time_to_look(&mut self, cx: &mut Context<'_>, caller: &HttpCaller) -> bool {
        let mut is_time = false;
        if self.looks {
            if self.look.as_mut().poll(cx).is_pending() {
                return false;
            }
            is_time = caller.is_in_call();
        }
        self.looks = caller.is_in_call();
        if self.looks {
            self.look.as_mut().reset(Instant::now() + LOOK_INTERVAL);
            // Armed by being polled.
            let _ = self.look.as_mut().poll(cx);
        }
        is_time
    }
}

/// Serves calls until hyper is done with the connection.
async fn round(caller: &Arc<HttpCaller>, stream: CallerStream) -> Round {
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
    let mut clock = ConnectionClock::new();
    let mut give_back = false;
    let end = poll_fn(|cx| {
        loop {
            if let Poll::Ready(ended) = connection.poll_without_shutdown(cx) {
                return Poll::Ready(match ended {
                    Ok(()) => RoundEnd::Finished { give_back },
                    Err(error) => {
                        tracing::debug!(%error, "a caller's connection failed");
                        RoundEnd::Failed(error)
                    }
                });
            }
            if !give_back && caller.may_give_back() {
                // Idle now, or about to flush the end of the answer: hyper closes without a trace.
                give_back = true;
                Pin::new(&mut connection).graceful_shutdown();
                continue;
            }
            if caller.has_left() {
                return Poll::Ready(RoundEnd::Left);
            }
            if clock.is_head_late(cx, caller) {
                return Poll::Ready(RoundEnd::HeadTimeout);
            }
            if clock.is_idle(cx, caller) {
                return Poll::Ready(RoundEnd::Idle);
            }
            if !clock.is_time_to_look(cx, caller) {
                return Poll::Pending;
            }
            caller.traffic.look();
        }
    })
    .await;
    let parts = connection.into_parts();
    Round {
        end,
        stream: parts.io.into_inner(),
        unread: parts.read_buf,
    }
}

/// Closes in order.
async fn end(stream: CallerStream) -> Served {
    if let Some(stream) = stream.into_stream() {
        ending::end(stream).await;
    }
    Served::Closed
}
