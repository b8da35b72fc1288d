//! One caller's connection: what its calls share, and how each is answered.

use parking_lot::Mutex;
use std::any::Any;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;

use super::message::{self, BodyEnd, OutgoingBody};
use super::software::{HttpSoftware, HttpToSoftware};
use super::stream::StreamTraffic;
use super::strict;
use crate::ending::ResetCause;
use call::{
    CallContext, Dial, Failure, Gate, Limits, Observer, PassesInterims, Refusal, RefusalKind, Share,
};

/// Where requests that can be understood in two ways are refused, as it is counted.
const AMBIGUOUS: &str = "(ambiguous)";

/// No answer has asked for the connection to be given back.
const NO_GIVE_BACK: u64 = u64::MAX;

/// What the calls of a connection share.
pub(super) struct HttpCaller {
    peer: SocketAddr,
    gate: Arc<dyn Gate>,
    software: HttpSoftware,
    pub(super) limits: Arc<Limits>,
    observer: Arc<dyn Observer>,
    pub(super) traffic: Arc<StreamTraffic>,
    /// Whether a call is under way, from its head to the last byte of its answer.
    in_call: AtomicBool,
    /// How much had been written when the answer was made after which to give back.
    give_back: AtomicU64,
    /// A call is under way that must not be torn off: its adapters would have to recover from it.
    must_finish: AtomicBool,
    cause: Mutex<Option<ResetCause>>,
}

/// A call that ends the connection.
#[derive(Debug, thiserror::Error)]
#[error("the connection ends as in a crash")]
pub(super) struct Crash;

/// Ends a call with its answer's body.
struct EndOfCall {
    caller: Arc<HttpCaller>,
    _share: Share,
    _guard: Option<Box<dyn Any + Send + Sync>>,
}

impl BodyEnd for EndOfCall {
    fn failed(&mut self) {
        self.caller.fail(ResetCause::Software);
    }
}

impl Drop for EndOfCall {
    fn drop(&mut self) {
        self.caller.traffic.has_read.store(false, Ordering::Relaxed);
        self.caller.in_call.store(false, Ordering::Release);
    }
}

impl HttpCaller {
    pub(super) fn new(
        peer: SocketAddr,
        gate: Arc<dyn Gate>,
        dial: Arc<dyn Dial>,
        limits: Arc<Limits>,
        observer: Arc<dyn Observer>,
    ) -> Self {
        Self {
            peer,
            gate,
            software: HttpSoftware::new(peer, dial, limits.clone()),
            limits,
            observer,
            traffic: Arc::default(),
            in_call: AtomicBool::new(false),
            give_back: AtomicU64::new(NO_GIVE_BACK),
            must_finish: AtomicBool::new(false),
            cause: Mutex::new(None),
        }
    }

    /// Why the connection must be reset, if it must.
    pub(super) fn cause(&self) -> Option<ResetCause> {
        *self.cause.lock()
    }

    fn fail(&self, cause: ResetCause) {
        self.cause.lock().get_or_insert(cause);
    }

    /// Whether a call is under way.
    pub(super) fn is_in_call(&self) -> bool {
        self.in_call.load(Ordering::Acquire)
    }

    /// What was found when the caller was looked after: says whether its call ends here. Whether a caller that has ended its side
    /// only wants no more than this answer is for the software to judge, which is told.
    pub(super) fn has_left(&self) -> bool {
        let may_end = self.is_in_call() && !self.must_finish.load(Ordering::Acquire);
        if may_end && self.traffic.has_ended() {
            self.software.end_side();
        }
        may_end && self.traffic.is_gone()
    }

    /// What hyper has refused by itself, as any other refusal is counted.
    pub(super) fn misspoke(&self, error: &hyper::Error) {
        if !error.is_parse() {
            return;
        }
        self.observer.refused(&Refusal::new(
            if error.is_parse_too_large() {
                RefusalKind::TooLarge
            } else {
                RefusalKind::Malformed
            },
            format!("({error})"),
            error.to_string(),
            StatusCode::BAD_REQUEST,
        ));
    }

    /// The caller has gone while its call ran.
    pub(super) fn leave(&self) {
        let gone = std::io::ErrorKind::ConnectionReset.into();
        self.observer.failed(&Failure::CallerEnded(gone));
        self.fail(ResetCause::Caller);
    }

    /// Whether a head has begun to arrive and is not complete.
    pub(super) fn awaits_head(&self) -> bool {
        !self.in_call.load(Ordering::Acquire) && self.traffic.has_read.load(Ordering::Relaxed)
    }

    /// Whether the connection can be closed for giving it back: the answer that asked for it has
    /// ended, and its head has left, so that closing can no longer show in it.
    pub(super) fn may_give_back(&self) -> bool {
        let since = self.give_back.load(Ordering::Acquire);
        since != NO_GIVE_BACK
            && !self.in_call.load(Ordering::Acquire)
            && self.traffic.written.load(Ordering::Relaxed) > since
    }

    /// Forgets that the connection is to be given back, until the next answer.
    pub(super) fn keep(&self) {
        self.give_back.store(NO_GIVE_BACK, Ordering::Release);
    }

    /// Answers one call.
    pub(super) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<OutgoingBody>, Crash> {
        self.in_call.store(true, Ordering::Release);
        self.keep();
        let Ok(lease) = self.gate.enter().await else {
            self.fail(ResetCause::Closed);
            return Err(Crash);
        };
        self.observer
            .call(lease.chain.direction(), lease.chain.len());
        let give_back = lease.give_back && lease.chain.is_empty() && stays_open(&request);
        self.must_finish
            .store(lease.chain.remembers(), Ordering::Release);
        // What the call takes in is held until the last byte of its answer has left.
        let share = Share::of(&self.limits.held, self.limits.body_rate_min);
        let answered = share.used_by(self.delegate(&lease, request)).await;
        self.must_finish.store(false, Ordering::Release);
        let response = match answered {
            Ok(mut response) => {
                if self.software.has_declined() {
                    last(&mut response);
                }
                response
            }
            Err(Failure::Refused(refusal)) => {
                self.observer.refused(&refusal);
                let is_last = refusal.rule == AMBIGUOUS;
                let mut response = message::refusal(*refusal);
                if is_last {
                    // What follows on the connection could be part of this request.
                    last(&mut response);
                }
                response
            }
            Err(Failure::Adapter(broken)) => {
                let response = message::refusal(broken.told());
                self.observer.failed(&Failure::Adapter(broken));
                response
            }
            Err(failure) => {
                self.observer.failed(&failure);
                self.fail(match failure {
                    Failure::Caller(_) => ResetCause::Caller,
                    _ => ResetCause::Software,
                });
                return Err(Crash);
            }
        };
        if give_back {
            let written = self.traffic.written.load(Ordering::Relaxed);
            self.give_back.store(written, Ordering::Release);
        }
        let end = EndOfCall {
            caller: self.clone(),
            _share: share,
            _guard: lease.guard,
        };
        Ok(response.map(|body| body.with_end(Box::new(end))))
    }

    async fn delegate(
        &self,
        lease: &call::Lease,
        request: Request<Incoming>,
    ) -> Result<Response<OutgoingBody>, Failure> {
        if request.method() == Method::CONNECT {
            return Err(tunnel().into());
        }
        let (mut head, body) = request.into_parts();
        if let Some(problem) = strict::ambiguous_request(&mut head) {
            return Err(ambiguous(problem).into());
        }
        // Callers of HTTP/1.0 know no answers before the answer.
        if head.version == Version::HTTP_11 {
            head.extensions.insert(self.traffic.interims.clone());
            head.extensions.insert(PassesInterims);
        }
        let request = Request::from_parts(head, body);
        let context = CallContext::of(&self.limits, self.gate.caller(), self.peer);
        let call = message::call(request, context);
        let mut software = HttpToSoftware {
            software: &self.software,
            upstream: lease.upstream,
        };
        let answer = lease.chain.call(call.into(), &mut software).await?;
        Ok(message::response(answer.into_http()?))
    }
}

/// Says that the connection ends with this answer.
fn last(response: &mut Response<OutgoingBody>) {
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(header::CONNECTION, close);
}

fn tunnel() -> Refusal {
    Refusal::new(
        RefusalKind::Unmatched,
        "(CONNECT)",
        "tunnels are not calls",
        StatusCode::NOT_IMPLEMENTED,
    )
}

fn ambiguous(problem: &str) -> Refusal {
    Refusal::new(
        RefusalKind::Malformed,
        AMBIGUOUS.to_owned(),
        format!(
            "the request can be understood in two ways: {problem}; nothing was done, and the connection ends"
        ),
        StatusCode::BAD_REQUEST,
    )
}

/// Whether the caller means to go on with the connection after this request.
fn stays_open(request: &Request<Incoming>) -> bool {
    let close = |value: &http::HeaderValue| {
        value
            .to_str()
            .is_ok_and(|v| v.split(',').any(|v| v.trim().eq_ignore_ascii_case("close")))
    };
    request.version() == Version::HTTP_11
        && !request
            .headers()
            .get_all(header::CONNECTION)
            .iter()
            .any(close)
}
