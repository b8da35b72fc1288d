//! Leave to upgrade: the server's word on it, and permits. The node adds what only it knows: its ports, its disk.

use super::beforehand::Beforehand;
use crate::error_chain::chain;
use crate::node::Node;
use crate::node::held_listeners::HeldListeners;
use crate::node::state_directory::StateDirectory;
use crate::node::surroundings::Surroundings;
use crate::relay::LiveTraffic;
use crate::sync::{HeardByServer, TELL_EVERYTHING};
use client::ClientError;
use model::api::{VerdictAnswer, VerdictRequest};
use model::ids::{PermitId, Version};
use model::machine::{Outcome, Place, Serving, Work};
use std::time::{Duration, Instant};

/// How long an answer is waited for: nothing else is begun meanwhile, not even a start of crashed software.
const JUDGE_LIMIT: Duration = Duration::from_secs(3);

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
    beforehand: Beforehand<'n>,
}

impl<'n> Leave<'n> {
    pub(super) fn of(node: &'n Node) -> Self {
        Self {
            surroundings: &node.surroundings,
            traffic: &node.relay.traffic,
            listeners: &node.listeners,
            state: &node.state,
            beforehand: Beforehand::of(node),
        }
    }

    /// Asks for leave to the version to go to; where that waits, or there is none, to a revision of what runs.
    pub(super) async fn ask(
        &self,
        chain: &[Place],
        mend: Option<Place>,
        fetching: Option<Version>,
    ) -> Outcome {
        let Some(mend) = mend else {
            return self.ask_ahead(chain, fetching).await;
        };
        if chain.is_empty() {
            return self.ask_to_mend(mend).await;
        }
        let ahead = match self.ask_ahead(chain, fetching).await {
            Outcome::Waits { reason, .. } => reason,
            answered => return answered,
        };
        match self.ask_to_mend(mend).await {
            Outcome::Waits {
                reason,
                kind,
                ask_again_ms,
                ..
            } => Outcome::Waits {
                reason: format!("{ahead}; {reason}"),
                kind,
                until_ms: None,
                ask_again_ms,
            },
            answered => answered,
        }
    }

    /// Asks for leave to a revision of what runs.
    async fn ask_to_mend(&self, mend: Place) -> Outcome {
        if let Some(reason) = self.state.lacks_room(mend).await {
            return waits(reason);
        }
        let says = match self.beforehand.ask(mend).await {
            Ok(says) => says,
            Err(waits) => return waits,
        };
        let request = VerdictRequest {
            ahead: vec![mend],
            coming: None,
            mends: true,
            role: says.role.clone(),
            moment: *self.surroundings.link.moment.borrow(),
        };
        let answered = says.pace(self.judged(&request).await);
        let Outcome::Permit { permit, .. } = answered else {
            return answered;
        };
        self.state.space.forget_look();
        if let Some(reason) = self.state.lacks_room(mend).await {
            return self.give_back(permit, reason).await;
        }
        match self.beforehand.hand_over(&says).await {
            Err(reason) => says.pace(self.give_back(permit, reason).await),
            Ok(()) => answered,
        }
    }

    /// Waits without a permit, which would expire: others need not wait for that.
    async fn give_back(&self, permit: PermitId, reason: String) -> Outcome {
        let _ = self.surroundings.client.end_permit(permit).await;
        waits(reason)
    }

    /// Asks for leave to versions whose ports are open: others call them there as soon as the node is at one.
    async fn ask_ahead(&self, chain: &[Place], fetching: Option<Version>) -> Outcome {
        let opened = self.listeners.opened();
        let (open, rest): (Vec<Place>, Vec<Place>) =
            (chain.iter()).partition(|place| place.version <= opened);
        let (Some(first), Some(newest)) = (open.first(), open.last().copied()) else {
            return waits("makes the new version's ports known to the other nodes".to_owned());
        };
        let first = first.version;
        if let Some(reason) = self.lacks_room_for(chain, first).await {
            return waits(reason);
        }
        let says = match self.beforehand.ask(newest).await {
            Ok(says) => says,
            Err(waits) => return waits,
        };
        let request = VerdictRequest {
            ahead: open,
            coming: rest.first().map(|place| place.version).or(fetching),
            mends: false,
            role: says.role.clone(),
            moment: *self.surroundings.link.moment.borrow(),
        };
        let answered = says.pace(self.judged(&request).await);
        let Outcome::Permit { permit, to } = answered else {
            return answered;
        };
        self.state.space.forget_look();
        if let Some(reason) = self.lacks_room_for(chain, to).await {
            return self.give_back(permit, reason).await;
        }
        match self.beforehand.hand_over(&says).await {
            Err(reason) => says.pace(self.give_back(permit, reason).await),
            Ok(()) => answered,
        }
    }

    /// What the server says.
    async fn judged(&self, request: &VerdictRequest) -> Outcome {
        let node = self.surroundings.identity.node;
        let asked = self.surroundings.client.verdict(node, request);
        let Ok(answer) = tokio::time::timeout(JUDGE_LIMIT, asked).await else {
            return waits("the server does not say whether this node may go".to_owned());
        };
        match answer {
            Ok(VerdictAnswer::Go { to, permit, .. }) => Outcome::Permit { permit, to },
            Ok(VerdictAnswer::Wait {
                reasons,
                until_ms,
                ask_again_ms,
                ..
            }) => {
                let kinds: Vec<&str> = reasons.iter().map(|cause| &*cause.code).collect();
                let texts: Vec<&str> = reasons.iter().map(|cause| &*cause.text).collect();
                Outcome::Waits {
                    reason: texts.join("; "),
                    kind: kinds.join(" "),
                    until_ms,
                    ask_again_ms: Some(ask_again_ms),
                }
            }
            Err(ClientError::Problem(problem)) => {
                if problem.kind == TELL_EVERYTHING {
                    self.surroundings.link.wake.notify_one();
                }
                waits(problem.detail)
            }
            Err(error) => waits(format!(
                "the server does not say whether this node may go: {}",
                chain(&error)
            )),
        }
    }

    /// Why there is no room for the way to `to`, if anything is copied on it.
    async fn lacks_room_for(&self, chain: &[Place], to: Version) -> Option<String> {
        let catalog = self.traffic.catalog();
        let lineage = catalog.lineage()?;
        let mut way = chain.iter().filter(|place| place.version <= to);
        let copies = way.any(|place| lineage.work(place.version) == Work::Restart);
        let end = chain.iter().find(|place| place.version == to)?;
        if copies {
            self.state.lacks_room(*end).await
        } else {
            None
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
fn waits(reason: String) -> Outcome {
    Outcome::Waits {
        kind: reason.clone(),
        reason,
        until_ms: None,
        ask_again_ms: None,
    }
}

fn refused(error: &ClientError) -> Outcome {
    let reason = match error {
        ClientError::Problem(problem) => problem.detail.clone(),
        other => chain(other),
    };
    Outcome::Refused { reason }
}
