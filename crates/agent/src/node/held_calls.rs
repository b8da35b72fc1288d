//! How calls are treated: the machine's wishes are put into force, and since when calls are held is kept, and told when they go on.

use super::adapters::AdapterLoader;
use super::child::ChildKeeper;
use super::held_listeners::HeldListeners;
use super::hook_table::HookTable;
use super::surroundings::Surroundings;
use crate::cached;
use crate::error_chain::chain;
use crate::relay::Relay;
use model::api::EventKind;
use model::ids::Version;
use model::machine;
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Since when calls are held.
pub(super) struct HeldCalls {
    surroundings: Arc<Surroundings>,
    relay: Arc<Relay>,
    hook_table: Arc<HookTable>,
    listeners: Arc<HeldListeners>,
    child: Arc<ChildKeeper>,
    adapters: Arc<AdapterLoader>,
    since: Mutex<Since>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Since {
    held: Option<Instant>,
    /// Since when nothing but the release holds them any more.
    releasing: Option<Instant>,
}

impl HeldCalls {
    pub(super) fn new(
        surroundings: &Arc<Surroundings>,
        relay: &Arc<Relay>,
        hook_table: &Arc<HookTable>,
        listeners: &Arc<HeldListeners>,
        child: &Arc<ChildKeeper>,
        adapters: &Arc<AdapterLoader>,
    ) -> Arc<Self> {
        Arc::new(Self {
            surroundings: surroundings.clone(),
            relay: relay.clone(),
            hook_table: hook_table.clone(),
            listeners: listeners.clone(),
            child: child.clone(),
            adapters: adapters.clone(),
            since: Mutex::default(),
        })
    }

    /// Puts the machine's wishes for traffic into force.
    pub(super) fn apply(self: &Arc<Self>, wished: machine::Traffic) {
        self.hook_table
            .set_wishes(wished.probing, wished.refuse_members);
        let begins = self.note_wish(wished.hold_calls);
        if wished.serving_version != self.relay.traffic.picture().standing.version {
            self.listeners.leave_ports(wished.serving_version);
        }
        if !wished.hold_calls {
            // Before the first held call goes on.
            self.adapters.stores().thaw();
        }
        self.relay.traffic.change(|picture| {
            picture.hold = wished.hold_calls;
            picture.given_up &= wished.hold_calls;
            picture.standing.version = wished.serving_version;
            picture.standing.staged = picture.standing.staged.max(wished.serving_version);
            picture.set_bounds();
        });
        self.hook_table.publish();
        if begins {
            self.note_hold();
            self.watch_patience();
        }
        if !wished.hold_calls {
            self.end_unavailability(wished.serving_version);
        }
    }

    /// Whether calls begin to be held.
    fn note_wish(&self, hold_calls: bool) -> bool {
        let mut since = self.since.lock();
        let begins = hold_calls && since.held.is_none();
        if begins {
            since.held = Some(Instant::now());
        }
        if !hold_calls {
            since.held = None;
        }
        begins
    }

    /// Past the bound a node refuses like a dead process: kept listeners go, and what is held fails.
    fn watch_patience(self: &Arc<Self>) {
        let calls = self.clone();
        let limit = self.relay.traffic.picture().hold_limit;
        tokio::spawn(async move {
            tokio::time::sleep(limit).await;
            let since = calls.since.lock().held;
            if since.is_none_or(|since| since.elapsed() < limit) {
                return;
            }
            tracing::warn!(
                limit_ms = limit.as_millis(),
                "calls have been held for too long: they fail as in a crash"
            );
            let traffic = &calls.relay.traffic;
            traffic.change(|picture| picture.given_up = picture.hold);
            if let Err(error) = calls.listeners.abandon_kept().await {
                let reason = chain(&error);
                tracing::warn!(reason, "kept listeners cannot be closed");
            }
        });
    }

    /// Nothing but the release holds calls from here on.
    pub(super) fn release_begins(&self) {
        let mut since = self.since.lock();
        since.releasing.get_or_insert_with(Instant::now);
    }

    /// Calls go on: says how long they were held, and how much of it the release took.
    fn end_unavailability(&self, version: Version) {
        let since = self.since.lock().releasing.take();
        let Some(since_ms) = cached::load::<u64>(&self.held_file()) else {
            return;
        };
        let ms = self.surroundings.clock.now_ms().saturating_sub(since_ms);
        let tally = &self.relay.tally;
        tally.add(&format!("unavailable_ms.{version}"), ms);
        let release = since.map_or(Duration::ZERO, |since| since.elapsed());
        let release_ms = u64::try_from(release.as_millis()).unwrap_or(u64::MAX);
        tally.add(&format!("release_ms.{version}"), release_ms);
        let message =
            format!("calls were held for {ms} ms, the release took {release_ms} ms of that");
        self.surroundings
            .tell(EventKind::NodeReleased, Some(version), message);
        if let Err(error) = std::fs::remove_file(self.held_file()) {
            tracing::warn!(%error, "the next time that calls are held will look too long");
        }
    }

    /// Since when calls are held, kept for the agent that ends it: this one may die before.
    fn note_hold(&self) {
        let joined = self.child.last_start().is_some();
        if joined && !self.held_file().exists() {
            cached::save(&self.held_file(), &self.surroundings.clock.now_ms());
        }
    }

    fn held_file(&self) -> PathBuf {
        self.surroundings.layout.heard().join("held.json")
    }
}
