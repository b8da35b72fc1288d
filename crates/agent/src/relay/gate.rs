//! Leave for each call of a connection, and the connection to the software that carries it.

use super::picture::{Decision, HoldReason, Picture};
use super::record::Recorder;
use super::traffic::{LiveTraffic, RunningCall};
use super::{ResetReason, Tally};
use call::{Chain, Closed, Gate, Lease, Pending, Upstream};
use model::ids::Version;
use model::routing::Route;
use parking_lot::Mutex;
use serve::SessionChain;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::time::Instant;
use wire::framing::Codec;

/// Calls that wait now, over all connections of this process (one node each).
static HELD: AtomicUsize = AtomicUsize::new(0);

/// What a connection is told before it makes its first call.
pub(super) enum Admission {
    /// It is the software's.
    Direct(Upstream),
    /// Its calls are served through adapters.
    Translate,
    /// It is a session, served through these.
    Session(Arc<SessionChain>, Upstream),
    /// It is reset, and why, as it is counted.
    Closed(ResetReason),
}

/// The gate of one connection: the label that it was born with never changes. Without one it has the version that is public when it is
/// first served, and keeps that.
pub(super) struct CallGate {
    traffic: Arc<LiveTraffic>,
    tally: Arc<Tally>,
    service: Arc<str>,
    label: Option<Version>,
    /// Of a connection without a label.
    public: OnceLock<Version>,
    /// The service keeps no state per connection: the connection outlives a restart of the software.
    carried: AtomicBool,
    /// The start of the software that the connection's first call met.
    first_generation: Mutex<Option<u64>>,
    /// Who recorded the service when the connection began.
    recorder: Option<Arc<Recorder>>,
    /// What was decided last, and by which picture: most calls meet the same one.
    decided: Mutex<Option<(Arc<Picture>, LastDecision)>>,
}

/// A decision that holds as long as its picture does.
#[derive(Clone)]
enum LastDecision {
    Direct(Upstream),
    Translate(Arc<Chain>, Upstream),
}

enum CallLeave {
    Direct(Upstream, RunningCall),
    Translate(Arc<Chain>, Upstream, RunningCall),
    Session(Arc<SessionChain>, Upstream),
    Closed(ResetReason),
}

impl CallGate {
    pub(super) fn new(
        traffic: Arc<LiveTraffic>,
        tally: Arc<Tally>,
        service: Arc<str>,
        label: Option<Version>,
        recorder: Option<Arc<Recorder>>,
    ) -> Self {
        Self {
            traffic,
            tally,
            service,
            label,
            public: OnceLock::new(),
            carried: AtomicBool::new(false),
            first_generation: Mutex::new(None),
            decided: Mutex::new(None),
            recorder,
        }
    }

    /// The version at which its calls are served, by this picture.
    fn version_in(&self, picture: &Picture) -> Option<Version> {
        let known = self.label.or_else(|| self.public.get().copied());
        known.or_else(|| picture.public_version(&self.service))
    }

    /// The version at which its calls are served.
    pub(super) fn version(&self) -> Option<Version> {
        self.version_in(&self.traffic.picture())
    }

    /// The chain of one call, with what passes it written down if somebody asks for it.
    fn recorded(&self, chain: Arc<Chain>) -> Arc<Chain> {
        match &self.recorder {
            Some(recorder) if recorder.is_on() => {
                let version = self.version().unwrap_or_default();
                Arc::new(recorder.record(&chain, &self.traffic, &self.service, version))
            }
            _ => chain,
        }
    }

    /// Says whether the connection may outlive a restart of the software.
    pub(super) fn carry(&self, carried: bool) {
        self.carried.store(carried, Ordering::Relaxed);
    }

    /// Whoever records the service now, and has since the connection began.
    pub(super) fn recorder(&self) -> Option<Arc<Recorder>> {
        self.recorder.clone().filter(|recorder| recorder.is_on())
    }

    /// Waits until it is clear who serves the connection.
    pub(super) async fn admit(&self) -> Admission {
        match self.leave().await {
            CallLeave::Direct(upstream, _) => Admission::Direct(upstream),
            CallLeave::Translate(..) => Admission::Translate,
            CallLeave::Session(chain, upstream) => Admission::Session(chain, upstream),
            CallLeave::Closed(why) => Admission::Closed(why),
        }
    }

    async fn leave(&self) -> CallLeave {
        match self.leave_as_before() {
            Some(leave) => leave,
            None => self.leave_anew().await,
        }
    }

    /// Leave by the picture that decided last, if it is still there.
    fn leave_as_before(&self) -> Option<CallLeave> {
        // Counted before the look, as below.
        let running = self.traffic.begin();
        let decided = self.decided.lock();
        let (picture, known) = decided.as_ref()?;
        if !self.traffic.is_current(picture) {
            return None;
        }
        Some(match known.clone() {
            LastDecision::Direct(to) => CallLeave::Direct(to, running),
            LastDecision::Translate(chain, to) => CallLeave::Translate(chain, to, running),
        })
    }

    fn remember(&self, picture: Arc<Picture>, known: LastDecision) {
        let mut decided = self.decided.lock();
        *decided = Some((picture, known));
    }

    async fn leave_anew(&self) -> CallLeave {
        let mut pictures = self.traffic.watch();
        let begun = Instant::now();
        let mut held = None;
        loop {
            // Counted before the look, so that whoever holds calls and then waits for quiet sees this one.
            let running = self.traffic.begin();
            let picture = pictures.borrow_and_update().clone();
            // Of a call that was held it counts what is public now.
            let Some(version) = self.version_in(&picture) else {
                return CallLeave::Closed(ResetReason::NoPublicVersion);
            };
            let decision = picture.decide(&self.service, version);
            if !matches!(decision, Decision::Wait(_)) {
                self.public.get_or_init(|| version);
            }
            let waiting = match decision {
                Decision::Direct(to) => {
                    self.remember(picture, LastDecision::Direct(to));
                    return CallLeave::Direct(to, running);
                }
                Decision::Translate(chain, to) => {
                    self.remember(picture, LastDecision::Translate(chain.clone(), to));
                    return CallLeave::Translate(chain, to, running);
                }
                Decision::Session(chain, to) => return CallLeave::Session(chain, to),
                Decision::Reset(why) => return CallLeave::Closed(why),
                Decision::Wait(waiting) => waiting,
            };
            drop(running);
            if waiting == HoldReason::NotStaged {
                self.traffic.wake.notify_one();
            }
            if held.is_none() {
                match HeldCall::one_more(picture.held_calls_max) {
                    Some(place) => held = Some(place),
                    None => return CallLeave::Closed(ResetReason::TooManyHeld),
                }
            }
            let deadline = begun + picture.hold_limit;
            drop(picture);
            match tokio::time::timeout_at(deadline, pictures.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return CallLeave::Closed(ResetReason::HeldTooLong),
            }
        }
    }

    /// A connection that may carry state ends with the software that it spoke to.
    fn outlived(&self, generation: u64) -> bool {
        if self.carried.load(Ordering::Relaxed) {
            return false;
        }
        let mut first = self.first_generation.lock();
        *first.get_or_insert(generation) != generation
    }
}

impl Gate for CallGate {
    fn caller(&self) -> Option<(u32, Arc<str>)> {
        Some((self.version()?.0, self.service.clone()))
    }

    fn codec(&self) -> Option<Arc<Codec>> {
        let picture = self.traffic.picture();
        picture.codec(&self.service, picture.standing.version)
    }

    fn replaced(&self, upstream: Upstream) -> Pending<'_, ()> {
        Box::pin(async move {
            let mut pictures = self.traffic.watch();
            let replaced = pictures.wait_for(|picture| {
                picture.hold || picture.upstream(&self.service) != Some(upstream)
            });
            // The node ends: the process does so too.
            if replaced.await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }

    fn enter(&self) -> Pending<'_, Result<Lease, Closed>> {
        Box::pin(async move {
            let (chain, upstream, give_back, running) = match self.leave().await {
                CallLeave::Direct(upstream, running) => {
                    (Arc::new(Chain::empty()), upstream, true, running)
                }
                CallLeave::Translate(chain, upstream, running) => {
                    (self.recorded(chain), upstream, false, running)
                }
                CallLeave::Session(..) => {
                    // It was one of calls when the connection began.
                    self.tally.reset(ResetReason::ProtocolChanged);
                    return Err(Closed);
                }
                CallLeave::Closed(why) => {
                    self.tally.reset(why);
                    return Err(Closed);
                }
            };
            if self.outlived(upstream.generation) {
                self.tally.reset(ResetReason::ConnectionState);
                return Err(Closed);
            }
            Ok(Lease {
                chain,
                upstream,
                give_back,
                guard: Some(Box::new(running)),
            })
        })
    }
}

/// The upgrades whose adapters stand between a caller's version and the node's, nearest to the caller first.
pub(super) fn steps_of(traffic: &LiveTraffic, service: &str, caller: Version) -> Vec<Version> {
    let picture = traffic.picture();
    match picture.catalog.route(service, picture.standing, caller) {
        Route::Chain(steps) => steps.iter().map(|step| step.upgrade).collect(),
        _ => Vec::new(),
    }
}

/// How many calls wait now.
pub(crate) fn held_calls() -> usize {
    HELD.load(Ordering::Relaxed)
}

/// A place among the calls that wait.
struct HeldCall;

impl HeldCall {
    fn one_more(limit: usize) -> Option<Self> {
        if HELD.fetch_add(1, Ordering::Relaxed) < limit {
            return Some(Self);
        }
        HELD.fetch_sub(1, Ordering::Relaxed);
        None
    }
}

impl Drop for HeldCall {
    fn drop(&mut self) {
        HELD.fetch_sub(1, Ordering::Relaxed);
    }
}
