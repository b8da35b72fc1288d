//! A commit as rows: of several changes of one thing the last stays, so that a commit is a handful of statements however many
//! changes it has. Everything is JSON, which has a way to write every character; PostgreSQL's own text has none for NUL.

use super::trouble::PostgresTrouble;
use crate::udb::{
    Change, ChangeSet, HeldPermit, KeyRecord, LIVES_KEPT, ServerLife, UdbError, WebhookChange,
};
use model::api::{NodeFact, UpgradeSummary};
use serde::Serialize;
use std::collections::BTreeMap;

/// What is upserted (`Some`) and deleted, by kind and name.
pub(super) type FactRows = BTreeMap<(&'static str, String), Option<String>>;

/// A commit as rows.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) facts: FactRows,
    pub(super) events: BTreeMap<i64, String>,
    pub(super) keys: BTreeMap<String, (i64, String)>,
    pub(super) forget_keys_before: Option<i64>,
    pub(super) forget_events_before: Option<i64>,
    pub(super) last_node: i64,
    pub(super) last_permit: i64,
    /// The changes for the other servers; `None` where they have to read everything.
    pub(super) log: Option<String>,
    /// Somebody may wait for it.
    pub(super) is_news: bool,
}

impl Rows {
    pub(super) fn of(commit: &ChangeSet) -> Result<Self, PostgresTrouble> {
        let mut rows = Self::default();
        for (place, change) in commit.changes.iter().enumerate() {
            rows.put(commit.generation, place, change)?;
        }
        rows.is_news = commit.changes.iter().any(is_news);
        // What was published is proved from the repository, not from here.
        let told = !(commit.changes.iter()).any(|change| matches!(change, Change::Publish { .. }));
        let changes = commit.changes.iter();
        let changes: Vec<&Change> = changes
            .filter(|it| !matches!(it, Change::Text(_)))
            .collect();
        rows.log = told.then(|| text(&changes)).transpose()?;
        Ok(rows)
    }

    fn put(
        &mut self,
        generation: u64,
        place: usize,
        change: &Change,
    ) -> Result<(), PostgresTrouble> {
        match change {
            Change::System { name, id } => self.set("system", Some(&(name, id)))?,
            Change::Life(life) => self.life(life)?,
            Change::Publish { summary, .. } => self.upgrade(summary)?,
            Change::Text(kept) => self.fact("text", kept.sha256.clone(), Some(&kept.text))?,
            Change::Withdraw(version) => {
                self.fact("withdrawn", version.to_string(), Some(version))?;
            }
            Change::Public(service, version) => {
                self.fact("public", service.clone(), version.as_ref())?;
            }
            Change::Pause(pause) => self.set("paused", pause.as_ref())?,
            Change::Labels(labels) => self.set("labels", labels.as_ref())?,
            Change::Approve(approval) => {
                let name = format!("{generation:020}.{place:06}");
                self.fact("approval", name, Some(approval))?;
            }
            Change::Node(fact) | Change::NodeQuietly(fact) | Change::NodeHeard(fact) => {
                self.node(fact)?;
            }
            Change::Forget(node, name) => {
                self.fact::<()>("node", node.to_string(), None)?;
                self.fact("forgotten", node.to_string(), Some(name))?;
            }
            Change::Permit(held) => self.permit(held)?,
            Change::EndPermit(permit) => self.fact::<()>("permit", permit.to_string(), None)?,
            Change::Retiring(version) => self.set("retiring_through", Some(version))?,
            Change::Retired(version) => self.set("retired_through", Some(version))?,
            Change::Identity(fact) => {
                self.fact("identity", fact.principal.to_string(), Some(fact.as_ref()))?;
            }
            Change::Invitation(fact) => {
                self.fact("invitation", fact.digest.clone(), Some(fact.as_ref()))?;
            }
            Change::EndInvitation(digest) => {
                self.fact::<()>("invitation", digest.clone(), None)?;
            }
            Change::Webhook(webhook) => self.webhook(webhook)?,
            Change::Event(event) => {
                self.events.insert(number(event.sequence), text(event)?);
            }
            Change::Key(record) => self.key(record)?,
            Change::ForgetEventsBefore(sequence) => {
                self.forget_events_before = Some(number(*sequence));
            }
            Change::ForgetKeysBefore(at_ms) => self.forget_keys_before = Some(number(*at_ms)),
            // The other servers hear of it; whoever starts later does without.
            Change::Once(once) => {
                self.set("once", Some(once).filter(|once| !once.is_empty()))?;
            }
            Change::Stopped(stopped) => {
                self.set(
                    "stopped",
                    Some(stopped).filter(|stopped| !stopped.is_empty()),
                )?;
            }
            Change::Heard(_) | Change::Queue(_) | Change::Unqueue(_) | Change::Role(..) => {}
        }
        Ok(())
    }

    fn webhook(&mut self, change: &WebhookChange) -> Result<(), PostgresTrouble> {
        match change {
            WebhookChange::Set(webhook) => {
                self.fact("webhook", webhook.name.clone(), Some(webhook.as_ref()))
            }
            WebhookChange::End(name) => {
                self.fact::<()>("webhook", name.clone(), None)?;
                self.fact::<()>("webhook_place", name.clone(), None)
            }
            WebhookChange::Place(place) => {
                self.fact("webhook_place", place.name.clone(), Some(place))
            }
        }
    }

    /// A revision that is listed.
    pub(super) fn upgrade(&mut self, summary: &UpgradeSummary) -> Result<(), PostgresTrouble> {
        let name = format!("{}.{}", summary.version, summary.revision);
        self.fact("upgrade", name, Some(summary))
    }

    fn set<T: Serialize>(&mut self, name: &str, value: Option<&T>) -> Result<(), PostgresTrouble> {
        self.fact("setting", name.to_owned(), value)
    }

    fn fact<T: Serialize>(
        &mut self,
        kind: &'static str,
        name: String,
        value: Option<&T>,
    ) -> Result<(), PostgresTrouble> {
        let fact = value.map(text).transpose()?;
        self.facts.insert((kind, name), fact);
        Ok(())
    }

    fn node(&mut self, fact: &NodeFact) -> Result<(), PostgresTrouble> {
        self.last_node = self.last_node.max(i64::from(fact.node.0));
        self.fact::<()>("forgotten", fact.node.to_string(), None)?;
        self.fact("node", fact.node.to_string(), Some(fact))
    }

    fn life(&mut self, life: &ServerLife) -> Result<(), PostgresTrouble> {
        // In the order of numbers; one at a time comes, and one at a time goes.
        let name = |number: u64| format!("{number:020}");
        let old = life.number.saturating_sub(LIVES_KEPT);
        self.fact::<()>("life", name(old), None)?;
        self.fact("life", name(life.number), Some(life))
    }

    fn permit(&mut self, held: &HeldPermit) -> Result<(), PostgresTrouble> {
        let permit = held.fact.permit;
        self.last_permit = self.last_permit.max(number(permit.0));
        self.fact("permit", permit.to_string(), Some(held))
    }

    fn key(&mut self, record: &KeyRecord) -> Result<(), PostgresTrouble> {
        let row = (number(record.at_ms), text(record)?);
        self.keys.insert(record.key.clone(), row);
        Ok(())
    }
}

/// Whether the other servers are told at once: not of what only says that somebody is still there.
fn is_news(change: &Change) -> bool {
    !matches!(
        change,
        Change::NodeHeard(_)
            | Change::Heard(_)
            | Change::Queue(_)
            | Change::Unqueue(_)
            | Change::Role(..)
            | Change::Webhook(WebhookChange::Place(_))
    )
}

/// A number as PostgreSQL has them; what is larger is the largest.
pub(super) fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn text<T: Serialize + ?Sized>(value: &T) -> Result<String, PostgresTrouble> {
    let failed =
        |error: serde_json::Error| PostgresTrouble::Refused(UdbError::Failed(error.to_string()));
    serde_json::to_string(value).map_err(failed)
}
