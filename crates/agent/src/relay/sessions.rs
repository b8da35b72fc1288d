//! Sessions: foreign connections whose protocol has no request and reply, each with a connection of its own to the software.

use super::serving::AdmittedCaller;
use super::{Picture, Relay, ResetReason, reset_std};
use call::{Dial, SessionCaller, Sessions, Upstream};
use model::api::EventKind;
use model::ids::Version;
use model::routing::{AdapterDirection, RouteStep};
use serve::{SessionChain, SessionEnd, SessionError, serve_session};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use wire::framing::Codec;

/// Adapters of sessions by the upgrade and the service that they belong to, and their direction.
pub(crate) type LoadedSessions = BTreeMap<(Version, String, AdapterDirection), Arc<dyn Sessions>>;

/// The number of the next session of this process.
static NEXT: AtomicU64 = AtomicU64::new(1);

impl Picture {
    /// The adapters of a service where they are of sessions, and the framing on both sides of each.
    pub(super) fn session_chain(&self, service: &str, steps: &[RouteStep]) -> Option<SessionChain> {
        let first = steps.first()?;
        let (caller, _) = self.versions_around(*first)?;
        let adapters = steps.iter().map(|step| {
            let key = (step.upgrade, service.to_owned(), step.direction);
            let adapter = self.adapters.sessions.get(&key)?.clone();
            let (_, behind) = self.versions_around(*step)?;
            Some((adapter, self.codec(service, behind)?))
        });
        let adapters = adapters.collect::<Option<Vec<_>>>()?;
        let direction = match first.direction {
            AdapterDirection::Past => call::Direction::Past,
            AdapterDirection::Future => call::Direction::Future,
        };
        let caller = self.codec(service, caller)?;
        Some(SessionChain::new(direction, caller, adapters))
    }

    /// The versions before and behind an adapter, as a caller's messages pass it.
    fn versions_around(&self, step: RouteStep) -> Option<(Version, Version)> {
        let release = self.catalog.history().release(step.upgrade)?;
        Some(match step.direction {
            AdapterDirection::Past => (release.from, step.upgrade),
            AdapterDirection::Future => (step.upgrade, release.from),
        })
    }

    /// The framing of a service at a version: versions of one interface have the same.
    pub(super) fn codec(&self, service: &str, version: Version) -> Option<Arc<Codec>> {
        let class = self.catalog.class_at(version)?;
        let framing = class.definition.services.get(service)?.framing.clone()?;
        Some(Arc::new(Codec::new(framing)))
    }
}

impl Relay {
    /// Serves a session until one of its sides ends it, or the node flips.
    pub(super) async fn session(
        &self,
        caller: AdmittedCaller,
        chain: Arc<SessionChain>,
        upstream: Upstream,
    ) -> io::Result<()> {
        let dial = self.labelled_dial(caller.ends);
        let software = match dial.dial(upstream, caller.ends.peer).await {
            Ok(software) => software,
            Err(error) => {
                reset_std(caller.stream.into_std()?);
                return Err(error);
            }
        };
        for stream in [&caller.stream, &software] {
            // Messages are complete as they are; waiting would only delay.
            let _ = stream.set_nodelay(true);
        }
        let who = SessionCaller {
            version: caller.version.0,
            address: caller.ends.peer,
            service: caller.service,
        };
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        self.tally.count("sessions.opened");
        let limits = self.limits();
        let over = self.flipped(upstream.generation, caller.version);
        let end = serve_session(caller.stream, software, chain, &who, id, &limits, over);
        // Away from this task's own state: thousands of them wait.
        let (counter, why) = match Box::pin(end).await {
            SessionEnd::Finished => ("sessions.finished", None),
            SessionEnd::Over => (ResetReason::SessionFlipped.counter(), None),
            SessionEnd::Closed(why) => ("sessions.closed_by_adapter", Some(why)),
            SessionEnd::Reset(error) => {
                let why = with_causes(&error);
                // That a connection breaks is the way of the world; that an adapter does is not.
                if !matches!(error, SessionError::Connection(_)) {
                    let text = format!("sessions of `{}` are reset: {why}", who.service);
                    let remarks = &self.tally.remarks;
                    remarks.note(
                        Instant::now(),
                        EventKind::SessionsFailed,
                        &who.service,
                        text,
                    );
                }
                (ResetReason::SessionFailed.counter(), Some(why))
            }
        };
        self.tally.count(counter);
        if let Some(why) = why {
            tracing::info!(peer = %who.address, service = %who.service, %why, "a session was ended");
        }
        Ok(())
    }

    /// Waits until sessions of this start of the software, or of callers at this version, must end: what has been agreed on a
    /// connection is lost with the software that agreed. They live as long as its process does: software that is told to stop may
    /// need them to take leave.
    async fn flipped(&self, generation: u64, version: Version) {
        let mut pictures = self.traffic.watch();
        let flipped = pictures.wait_for(|picture| {
            let runs = picture.child.as_ref();
            let is_same = runs.is_some_and(|child| child.generation == generation);
            !is_same || picture.standing.retired_through >= version
        });
        // The node ends: the process does so too.
        if flipped.await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// An error with what caused it, in one line.
fn with_causes(error: &serve::SessionError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}
