//! Leave to upgrade: the schedule's word, and permits.

use crate::error_chain::chain;
use crate::node::Node;
use crate::node::catalog_updates::CatalogUpdate;
use crate::node::held_listeners::HeldListeners;
use crate::node::state_directory::StateDirectory;
use crate::node::surroundings::{NothingHeard, Surroundings};
use crate::relay::LiveTraffic;
use crate::sync::HeardByServer;
use client::ClientError;
use model::api::{NodeFact, PermitRequest};
use model::expression::NodeScope;
use model::ids::{PermitId, Revision, Version};
use model::machine::{Outcome, Place, Serving, Work};
use model::schedule::{Facts, Verdict, evaluate, leap};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long a permit is tried to be confirmed while no server answers: about as long as it is valid unconfirmed.
const CONFIRM_LIMIT: Duration = Duration::from_secs(20);

/// How long the report of a new version is waited for before giving a permit back counts as failed, and is tried again.
const HEARD_LIMIT: Duration = Duration::from_secs(1);

/// The pause between two attempts.
const CONFIRM_PAUSE: Duration = Duration::from_millis(300);

/// What leave to upgrade depends on.
pub(super) struct Leave<'n> {
    surroundings: &'n Surroundings,
    traffic: &'n LiveTraffic,
    listeners: &'n HeldListeners,
    state: &'n StateDirectory,
}

/// Why a schedule has nothing to say.
#[derive(Debug, thiserror::Error)]
enum NotAsked {
    /// It is not known yet.
    #[error(transparent)]
    NothingHeard(#[from] NothingHeard),
    /// Another revision has come.
    #[error("revision {revision} is not the newest any more")]
    Outdated {
        /// Which was to be asked for.
        revision: Place,
    },
    /// There is nowhere to go.
    #[error("no version is staged")]
    NothingStaged,
}

impl<'n> Leave<'n> {
    pub(super) fn of(node: &'n Node) -> Self {
        Self {
            surroundings: &node.surroundings,
            traffic: &node.relay.traffic,
            listeners: &node.listeners,
            state: &node.state,
        }
    }

    /// Asks the schedule of the version to go to; where that waits, or there is none, that of a revision of what runs.
    pub(super) async fn ask(
        &self,
        chain: &[Place],
        mend: Option<Place>,
        fetching: Option<Version>,
    ) -> Outcome {
        let Some(mend) = mend else {
            return self.ask_ahead(chain, fetching).await;
        };
        let ahead = match chain.is_empty() {
            true => None,
            false => Some(self.ask_ahead(chain, fetching).await),
        };
        let ahead_reason = match ahead {
            Some(Outcome::Scheduled {
                verdict: Verdict::Wait { reason, .. },
                ..
            }) => Some(reason),
            Some(leave) => return leave,
            None => None,
        };
        let mut verdict = match self.scheduled_mend(mend) {
            Ok(verdict) => verdict,
            Err(why) => wait(why.to_string()),
        };
        if !matches!(verdict, Verdict::Wait { .. })
            && let Some(reason) = self.state.lacks_room(mend).await
        {
            verdict = wait(reason);
        }
        if let (Verdict::Wait { reason, until_ms }, Some(ahead)) = (&mut verdict, ahead_reason) {
            *reason = format!("{ahead}; {reason}");
            *until_ms = None;
        }
        Outcome::Scheduled {
            verdict,
            to: mend.version,
        }
    }

    /// The schedule's word on a revision of what runs.
    fn scheduled_mend(&self, mend: Place) -> Result<Verdict, NotAsked> {
        let update = self.surroundings.catalog_update()?;
        if update.catalog.newest_place(mend.version) != Some(mend) {
            return Err(NotAsked::Outdated { revision: mend });
        }
        let Some(class) = update.catalog.class_at(mend.version) else {
            return Ok(Verdict::Go);
        };
        let class_of = class_of(&update);
        let facts = Facts {
            view: &update.view,
            node: self.surroundings.identity.node,
            version: mend.version,
            revision: mend.revision,
            mends: true,
            // Its interfaces are those of the revision that runs.
            require_staged: false,
            now_ms: self.servers_now_ms(),
            class_of: &class_of,
        };
        Ok(evaluate(&class.schedule, &facts))
    }

    fn servers_now_ms(&self) -> u64 {
        let ahead_ms = self.surroundings.link.ahead_ms.load(Ordering::Relaxed);
        self.surroundings
            .clock
            .now_ms()
            .saturating_add_signed(ahead_ms)
    }

    async fn ask_ahead(&self, chain: &[Place], fetching: Option<Version>) -> Outcome {
        let next = chain.first().map_or(Version(0), |place| place.version);
        let wait = |reason, to| Outcome::Scheduled {
            verdict: wait(reason),
            to,
        };
        let (verdict, to) = match self.scheduled(chain, fetching) {
            Ok(answer) => answer,
            Err(why) => return wait(why.to_string(), next),
        };
        if !matches!(verdict, Verdict::Wait { .. })
            && let Some(reason) = self.lacks_room_for(chain, to).await
        {
            return wait(reason, to);
        }
        Outcome::Scheduled { verdict, to }
    }

    /// Why there is no room for the way to `to`, if anything is copied on it.
    async fn lacks_room_for(&self, chain: &[Place], to: Version) -> Option<String> {
        let catalog = self.traffic.catalog();
        let lineage = catalog.lineage()?;
        let mut way = chain.iter().filter(|place| place.version <= to);
        let copies = way.any(|place| lineage.work(place.version) == Work::Restart);
        let end = chain.iter().find(|place| place.version == to)?;
        match copies {
            true => self.state.lacks_room(*end).await,
            false => None,
        }
    }

    fn scheduled(
        &self,
        chain: &[Place],
        fetching: Option<Version>,
    ) -> Result<(Verdict, Version), NotAsked> {
        let update = self.surroundings.catalog_update()?;
        let class_of = class_of(&update);
        let ahead: Vec<Version> = chain.iter().map(|place| place.version).collect();
        let mut facts = Facts {
            view: &update.view,
            node: self.surroundings.identity.node,
            version: *ahead.first().ok_or(NotAsked::NothingStaged)?,
            revision: Revision::default(),
            mends: false,
            require_staged: true,
            now_ms: self.servers_now_ms(),
            class_of: &class_of,
        };
        let to = leap(&facts, &ahead).unwrap_or(facts.version);
        if let Some(further) = fetching
            && leap(&facts, &[&ahead[..], &[further]].concat()) == Some(further)
        {
            let reason = format!("fetches version {further}, which the others of its class run");
            let until_ms = None;
            return Ok((Verdict::Wait { reason, until_ms }, to));
        }
        if self.listeners.opened() < to {
            let reason = "makes the new version's ports known to the other nodes".to_owned();
            let until_ms = None;
            return Ok((Verdict::Wait { reason, until_ms }, to));
        }
        facts.version = to;
        facts.revision = (chain.iter().find(|place| place.version == to))
            .map_or(Revision::default(), |place| place.revision);
        facts.require_staged = update.catalog.settings(to).require_staged;
        let schedule = match update.catalog.class_at(to) {
            Some(class) => class.schedule.clone(),
            None => return Ok((Verdict::Go, to)),
        };
        Ok((evaluate(&schedule, &facts), to))
    }

    /// Asks for a permit.
    pub(super) async fn acquire(&self, request: &PermitRequest) -> Outcome {
        match self.surroundings.client.acquire_permit(request).await {
            Ok(permit) => Outcome::Permit(permit.permit),
            Err(error) => refused(&error),
        }
    }

    /// Confirms a permit, for as long as it may still be valid.
    pub(super) async fn confirm(&self, permit: PermitId) -> Outcome {
        let begun = Instant::now();
        loop {
            match self.surroundings.client.confirm_permit(permit).await {
                Ok(_) => return Outcome::Done,
                Err(error @ ClientError::Problem(_)) => return refused(&error),
                Err(error) if begun.elapsed() > CONFIRM_LIMIT => return refused(&error),
                Err(_) => tokio::time::sleep(CONFIRM_PAUSE).await,
            }
        }
    }

    /// Gives a permit back, once the server knows what the node runs.
    pub(super) async fn end(&self, permit: PermitId, at: Serving, blocked: bool) -> Outcome {
        let mut heard = self.surroundings.link.heard.clone();
        let is_that = |heard: HeardByServer| {
            heard.version == at.version
                && heard.bundle.is_none_or(|bundle| bundle == at.bundle)
                && (heard.blocked || !blocked)
        };
        let known = heard.wait_for(|heard| heard.is_some_and(is_that));
        if tokio::time::timeout(HEARD_LIMIT, known).await.is_err() {
            let reason = format!(
                "the server has not yet heard that this node is at version {}, with the software of {}",
                at.version, at.bundle
            );
            return Outcome::Failed { reason };
        }
        match self.surroundings.client.end_permit(permit).await {
            Ok(()) => Outcome::Done,
            Err(ClientError::Problem(problem)) if matches!(problem.status, 404 | 409 | 410) => {
                Outcome::Done
            }
            Err(error) => Outcome::Failed {
                reason: chain(&error),
            },
        }
    }
}

/// A wait whose end nobody knows.
fn wait(reason: String) -> Verdict {
    Verdict::Wait {
        reason,
        until_ms: None,
    }
}

/// Follows a node's class through the versions.
fn class_of(update: &CatalogUpdate) -> impl Fn(&NodeFact, Version) -> Option<String> {
    let history = update.catalog.history();
    |fact: &NodeFact, version: Version| {
        let scope = NodeScope {
            name: fact.name.clone(),
            class: fact.class.clone(),
            attributes: fact.attributes.clone(),
        };
        history.class_at(&scope, None, version).ok().flatten()
    }
}

fn refused(error: &ClientError) -> Outcome {
    let reason = match error {
        ClientError::Problem(problem) => problem.detail.clone(),
        other => chain(other),
    };
    Outcome::Refused { reason }
}
