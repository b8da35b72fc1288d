//! One node: what its parts share, how it starts, and how it goes.

mod actions;
mod adapters;
mod catalog_updates;
mod child;
mod clock;
mod fault;
mod files;
mod kept;
mod known;
mod listeners;
mod main_loop;
mod observed;
mod render;
mod report;
mod revisions;
mod room;
mod stage;
mod start;
mod table;
mod unreachable;

pub use start::{AgentError, Claimed, Runner, claim, run, runner, stop};

use crate::config::Config;
use crate::dial::FastOpen;
use crate::holder_client::HolderClient;
use crate::household::Household;
use crate::layout::Layout;
use crate::node_catalog::NodeCatalog;
use crate::relay::{Identity, LiveTraffic, Relay, Tally};
use crate::shared::Shared;
use crate::sync::{self, Link};
use crate::unpoisoned::Unpoisoned as _;
use catalog_updates::CatalogUpdate;
use client::Client;
use clock::Clock;
use intercept::stats::StatsFile;
use intercept::table::TableFile;
use known::Members;
use model::api::{NewEvent, Progress};
use model::bundle::{Protocol, Settings};
use model::ids::Version;
use model::machine;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex as AsyncMutex, Notify, watch};

/// What the parts of an agent share.
pub(crate) struct Node {
    config: Config,
    layout: Layout,
    /// This program, started again for the holder, the launcher and the transform runner.
    binary: PathBuf,
    /// The copy of the preloaded library that new children get.
    library: PathBuf,
    /// The holder's socket for hooks.
    hook_socket: String,
    identity: Identity,
    join_version: AtomicU32,
    client: Arc<Client>,
    holder: HolderClient,
    traffic: Arc<LiveTraffic>,
    relay: Arc<Relay>,
    tally: Arc<Tally>,
    link: Link,
    clock: Clock,
    stats: StatsFile,
    /// Where table and counters lie.
    shared: Shared,
    table: Mutex<TableFile>,
    members: Members,
    flags: Mutex<Flags>,
    progress: Mutex<Option<Progress>>,
    child: watch::Sender<Option<child::Running>>,
    /// What keeps the node from what it should do.
    hindered: Mutex<report::Hindered>,
    /// Whose processes the software's are.
    household: Household,
    /// Why the software that runs can never be healthy, when that is certain.
    unfit: watch::Sender<Option<String>>,
    /// What had to be killed of the last child, until it is told.
    killed: Mutex<Option<String>>,
    /// Whose state the software is to find at its path.
    state_in_force: Mutex<Option<machine::Place>>,
    room: room::Room,
    connections_look: Mutex<unreachable::ConnectionsLook>,
    /// The kernel's settings that the published table goes by.
    fast_open: Mutex<Option<FastOpen>>,
    adapters: adapters::Loader,
    revisions: revisions::Revisions,
    /// Files of versions that were looked at.
    looked: crate::fetch::Looked,
    listeners: Mutex<listeners::Listeners>,
    /// Through which version the ports of every live version are open.
    opened: AtomicU32,
    /// The node waits in the background until it is known.
    announcing: AtomicBool,
    /// Rung when more can be served than when ports were aligned last.
    align_wanted: Notify,
    /// One change of the kept listeners at a time.
    listening: AsyncMutex<()>,
    catalog_updates: watch::Receiver<Option<Arc<CatalogUpdate>>>,
}

/// What the hooks are told beside the table's contents, and since when calls are held.
#[derive(Clone, Copy, Debug, Default)]
struct Flags {
    /// The machine has said how traffic is treated; before, the table of the earlier agent stays in force.
    told: bool,
    probing: bool,
    refuse_members: bool,
    /// The child is about to be stopped or being stopped.
    stopping_until_ms: u64,
    held_since: Option<Instant>,
    /// Since when nothing but the release holds them any more.
    releasing_since: Option<Instant>,
}

impl Node {
    /// What the repository says.
    fn catalog(&self) -> Arc<NodeCatalog> {
        self.traffic.picture().catalog.clone()
    }

    /// The node's data directory.
    pub(crate) fn data(&self) -> &std::path::Path {
        self.layout.root()
    }

    /// Who serves the connections that come to the agent.
    pub(crate) fn relay(&self) -> &Relay {
        &self.relay
    }

    /// The version that the node serves at.
    pub(crate) fn version(&self) -> Version {
        self.traffic.picture().standing.version
    }

    /// The node's class and what its services speak, at its present version.
    pub(crate) fn services(&self) -> (String, Vec<(String, Protocol)>) {
        let picture = self.traffic.picture();
        let Some(class) = picture.catalog.class_at(picture.standing.version) else {
            return (String::new(), Vec::new());
        };
        let services = class.definition.services.iter();
        let services = services.map(|(name, service)| (name.clone(), service.protocol));
        (class.name.clone(), services.collect())
    }

    /// What holds for the upgrade under way, or for the last one.
    fn settings(&self) -> Settings {
        let picture = self.traffic.picture();
        let newest = picture.standing.staged.max(picture.standing.version);
        picture.catalog.settings(newest)
    }

    fn join_version(&self) -> Version {
        Version(self.join_version.load(Ordering::Relaxed))
    }

    fn progress(&self) -> Option<Progress> {
        self.progress.lock().unpoisoned().clone()
    }

    fn set_progress(&self, progress: Option<Progress>) {
        *self.progress.lock().unpoisoned() = progress;
    }

    fn note_state(&self, place: Option<machine::Place>) {
        *(self.state_in_force.lock()).unpoisoned() = place;
    }

    /// Whose state the software is to find at its path; `None` while that is about to change.
    fn state_in_force(&self) -> Option<machine::Place> {
        *(self.state_in_force.lock()).unpoisoned()
    }

    /// Takes in what was learned: routes and public versions follow.
    fn take_in(&self, update: &CatalogUpdate) {
        let view = &update.view;
        self.traffic.change(|picture| {
            picture.catalog = update.catalog.clone();
            picture.public = Arc::new(view.public.clone());
            let standing = &mut picture.standing;
            standing.retired_through = standing
                .retired_through
                .max(view.retiring_through)
                .max(view.retired_through);
            picture.set_bounds();
        });
        self.publish_table();
    }

    /// Puts the machine's wishes for traffic into force.
    fn apply_traffic(self: &Arc<Self>, wished: machine::Traffic) {
        let began = {
            let mut flags = self.flags.lock().unpoisoned();
            flags.told = true;
            flags.probing = wished.probing;
            flags.refuse_members = wished.refuse_members;
            let begins = wished.hold_calls && flags.held_since.is_none();
            if begins {
                flags.held_since = Some(Instant::now());
            }
            if !wished.hold_calls {
                flags.held_since = None;
            }
            begins
        };
        if wished.serving_version != self.traffic.picture().standing.version {
            self.leave_ports(wished.serving_version);
        }
        if !wished.hold_calls {
            // Before the first held call goes on.
            self.adapters.stores().thaw();
        }
        self.traffic.change(|picture| {
            picture.hold = wished.hold_calls;
            picture.given_up &= wished.hold_calls;
            picture.standing.version = wished.serving_version;
            picture.standing.staged = picture.standing.staged.max(wished.serving_version);
            picture.set_bounds();
        });
        self.publish_table();
        if began {
            self.note_hold();
            self.watch_patience();
        }
        if !wished.hold_calls {
            self.end_unavailability(wished.serving_version);
        }
    }

    /// The software is started to be probed, in an upgrade.
    fn probing(&self) -> bool {
        self.flags.lock().unpoisoned().probing
    }

    /// Tells the hooks that the software is being stopped, for so long at most; zero: that it is not.
    fn set_stopping(&self, at_most: Duration) {
        let until_ms = match u64::try_from(at_most.as_millis()) {
            Ok(0) => 0,
            ms => interpose::kernel::now_ms().saturating_add(ms.unwrap_or(u64::MAX)),
        };
        (self.flags.lock().unpoisoned()).stopping_until_ms = until_ms;
        self.publish_table();
    }

    /// Past the bound a node refuses like a dead process: kept listeners go, and what is held fails.
    fn watch_patience(self: &Arc<Self>) {
        let node = self.clone();
        let limit = self.traffic.picture().hold_limit;
        tokio::spawn(async move {
            tokio::time::sleep(limit).await;
            let since = node.flags.lock().unpoisoned().held_since;
            if since.is_none_or(|since| since.elapsed() < limit) {
                return;
            }
            tracing::warn!(
                limit_ms = limit.as_millis(),
                "calls have been held for too long: they fail as in a crash"
            );
            node.traffic
                .change(|picture| picture.given_up = picture.hold);
            if let Err(reason) = node.abandon_kept().await {
                tracing::warn!(reason, "kept listeners cannot be closed");
            }
        });
    }

    /// Nothing but the release holds calls from here on.
    fn release_begins(&self) {
        let mut flags = self.flags.lock().unpoisoned();
        flags.releasing_since.get_or_insert_with(Instant::now);
    }

    /// Calls go on: says how long they were held, and how much of it the release took.
    fn end_unavailability(&self, version: Version) {
        let since = (self.flags.lock().unpoisoned()).releasing_since.take();
        let Some(since_ms) = sync::load::<u64>(&self.held_file()) else {
            return;
        };
        let ms = self.clock.now_ms().saturating_sub(since_ms);
        self.tally.add(&format!("unavailable_ms.{version}"), ms);
        let release = since.map_or(Duration::ZERO, |since| since.elapsed());
        let release_ms = u64::try_from(release.as_millis()).unwrap_or(u64::MAX);
        self.tally.add(&format!("release_ms.{version}"), release_ms);
        self.link.tell(NewEvent {
            kind: "node.released".to_owned(),
            version: Some(version),
            message: format!(
                "calls were held for {ms} ms, {release_ms} of them by the release itself"
            ),
            node_at_ms: self.clock.now_ms(),
        });
        if let Err(error) = std::fs::remove_file(self.held_file()) {
            tracing::warn!(%error, "the next time that calls are held will look too long");
        }
    }

    /// Since when calls are held, kept for the agent that ends it: this one may die before.
    fn note_hold(&self) {
        let joined = self.last_start().is_some();
        if joined && !self.held_file().exists() {
            sync::save(&self.held_file(), &self.clock.now_ms());
        }
    }

    fn held_file(&self) -> PathBuf {
        self.layout.cache().join("held.json")
    }
}
