//! How a change that was decided alters the state in memory.

use super::{PublishedRevision, SystemState};
use crate::udb::{
    Change, FORGOTTEN_KEPT, HeardNode, HeldPermit, KeyRecord, LIVES_KEPT, LoggedCommit,
    SignedLabels, WebhookChange,
};
use model::api::{IdentityFact, NodeFact, Principal, PrincipalKind};
use model::ids::NodeId;
use std::sync::Arc;

impl SystemState {
    /// Takes the changes of one decision; the view's number is raised by the state writer, once per batch.
    pub(crate) fn apply(&mut self, changes: &[Change]) {
        let mut upgrades_changed = false;
        for change in changes {
            upgrades_changed |= matches!(change, Change::Publish { .. } | Change::Withdraw(_));
            if change.is_told_to_all() {
                self.told.all_changed(self.view + 1);
            }
            self.apply_one(change);
        }
        if upgrades_changed {
            match self.history_with(None, None) {
                Ok(history) => {
                    self.history = Arc::new(history);
                    self.count_all();
                    self.compare_all();
                }
                // The rules have built this very history before they agreed.
                Err(error) => tracing::error!(%error, "the history does not follow"),
            }
        }
    }

    /// Takes a commit of another server, as that one did when it was durable.
    pub(crate) fn take(&mut self, commit: &LoggedCommit) {
        self.apply(&commit.changes);
        self.view = commit.view;
        self.generation = commit.generation;
    }

    fn apply_one(&mut self, change: &Change) {
        match change {
            Change::System { name, id } => self.system = Some((name.clone(), *id)),
            Change::Life(life) => {
                self.lives.push(life.clone());
                let kept = life.number.saturating_sub(LIVES_KEPT);
                self.lives.retain(|life| life.number > kept);
            }
            Change::Publish { summary, proved } => {
                let published = PublishedRevision {
                    summary: summary.clone(),
                    upgrade: Arc::clone(proved),
                };
                let number = (summary.version, summary.revision);
                self.revisions.insert(number, published);
            }
            Change::Withdraw(version) => {
                self.withdrawn.insert(*version);
            }
            Change::Public(service, Some(version)) => {
                self.public.insert(service.clone(), *version);
            }
            Change::Public(service, None) => {
                self.public.remove(service);
            }
            Change::Pause(pause) => self.paused.clone_from(pause),
            Change::Once(_) | Change::Role(..) | Change::Stopped(_) => self.note(change),
            Change::Labels(labels) => self.put_labels(labels.as_ref()),
            Change::Approve(approval) => self.approvals.push(approval.clone()),
            Change::Node(fact) | Change::NodeQuietly(fact) | Change::NodeHeard(fact) => {
                self.put_node(fact);
            }
            Change::Heard(nodes) => nodes.iter().for_each(|heard| self.hear(heard)),
            Change::Forget(node, _) => self.forget(*node),
            Change::Permit(held) => self.put_permit(held),
            Change::EndPermit(permit) => {
                if let Some(held) = self.permits.remove(permit) {
                    self.holders.remove(&held.fact.node);
                    self.count(held.fact.node, true);
                }
            }
            Change::Queue(queued) => self.queue.put(queued),
            Change::Unqueue(node) => self.queue.remove(*node),
            Change::Retiring(version) => self.retiring_through = *version,
            Change::Retired(version) => {
                self.retired_through = *version;
                self.count_all();
            }
            Change::Identity(fact) => self.put_identity(fact),
            Change::Invitation(fact) => {
                self.invitations
                    .insert(fact.digest.clone(), Arc::clone(fact));
            }
            Change::EndInvitation(digest) => {
                self.invitations.remove(digest);
            }
            Change::Webhook(change) => self.apply_to_webhook(change),
            Change::Event(event) => self.last_event = event.sequence,
            Change::Text(_) | Change::ForgetEventsBefore(_) => {}
            Change::Key(record) => self.put_key(record),
            Change::ForgetKeysBefore(at_ms) => self.keys.retain(|_, record| record.at_ms >= *at_ms),
        }
    }

    /// What schedules know besides the nodes.
    fn note(&mut self, change: &Change) {
        match change {
            Change::Once(once) => self.once.clone_from(once),
            Change::Role(node, role) => {
                self.roles.insert(*node, Arc::from(role.as_str()));
                self.count(*node, true);
            }
            Change::Stopped(stopped) => self.stopped.clone_from(stopped),
            _ => {}
        }
    }

    fn apply_to_webhook(&mut self, change: &WebhookChange) {
        match change {
            WebhookChange::Set(webhook) => {
                self.webhooks
                    .insert(webhook.name.clone(), Arc::clone(webhook));
            }
            WebhookChange::End(name) => {
                self.webhooks.remove(name);
                self.webhook_places.remove(name);
            }
            WebhookChange::Place(place) => {
                self.webhook_places
                    .insert(place.name.clone(), place.clone());
            }
        }
    }

    fn put_permit(&mut self, held: &HeldPermit) {
        self.last_permit = self.last_permit.max(held.fact.permit);
        self.permits.insert(held.fact.permit, held.clone());
        self.holders.insert(held.fact.node, held.fact.permit);
        self.queue.remove(held.fact.node);
        self.count(held.fact.node, true);
    }

    fn forget(&mut self, node: NodeId) {
        let Some(fact) = self.nodes.remove(&node) else {
            return;
        };
        self.members.forget(&fact, self.view + 1);
        self.servers_of.change(Some(&fact), None);
        self.names.remove(&fact.name);
        self.told.forget(node);
        self.queue.remove(node);
        self.roles.remove(&node);
        self.disagreeing.remove(&node);
        let kept = node.0.saturating_sub(FORGOTTEN_KEPT);
        self.forgotten.insert(node, fact.name.clone());
        self.forgotten.retain(|node, _| node.0 > kept);
        self.count(node, true);
        self.untally_node(node);
    }

    fn put_node(&mut self, fact: &Arc<NodeFact>) {
        let before = self.nodes.get(&fact.node).map(AsRef::as_ref);
        self.members.put(before, fact, self.view + 1);
        self.servers_of.change(before, Some(fact));
        if before.is_none_or(|before| before.retry != fact.retry) {
            self.told.own_changed(fact.node, self.view + 1);
        }
        let before_has_name = before.is_some_and(|before| before.name == fact.name);
        let same_seats = before.is_some_and(|before| {
            (&before.class, &before.attributes) == (&fact.class, &fact.attributes)
        });
        self.last_node = self.last_node.max(fact.node);
        self.forgotten.remove(&fact.node);
        self.compare(fact);
        if !before_has_name {
            self.names.insert(fact.name.clone(), fact.node);
        }
        let before = self.nodes.insert(fact.node, Arc::clone(fact));
        self.count(fact.node, same_seats);
        self.tally_node(before.as_deref(), fact);
    }

    /// A node was heard by another server.
    fn hear(&mut self, heard: &HeardNode) {
        let known = self.nodes.get(&heard.node);
        let Some(known) = known.filter(|known| known.seen_at_ms < heard.seen_at_ms) else {
            return;
        };
        let mut fact = NodeFact::clone(known);
        fact.seen_at_ms = heard.seen_at_ms;
        if let Some(now) = heard.taken {
            match fact.taken.iter_mut().find(|taken| taken.life == now.life) {
                Some(taken) => taken.number = taken.number.max(now.number),
                None => fact.taken.push(now),
            }
        }
        self.nodes.insert(heard.node, Arc::new(fact));
    }

    fn put_identity(&mut self, fact: &Arc<IdentityFact>) {
        let Principal { kind, name } = &fact.principal;
        if *kind == PrincipalKind::Node {
            match fact.revoked_at_ms {
                Some(_) => drop(self.revoked.insert(name.clone())),
                None => drop(self.revoked.remove(name)),
            }
        }
        let before = self
            .identities
            .insert(fact.principal.clone(), Arc::clone(fact));
        self.ended_keys.replace(before.as_deref(), fact);
    }

    fn put_labels(&mut self, labels: Option<&SignedLabels>) {
        self.labels = labels.cloned();
        // Agents that wait for news of members are told with it.
        self.members.acks += 1;
    }

    fn put_key(&mut self, record: &KeyRecord) {
        self.keys
            .insert(record.key.clone(), Arc::new(record.clone()));
    }
}
