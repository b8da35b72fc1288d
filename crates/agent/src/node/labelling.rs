//! Signed labels: what the server orders is kept, put in force for the agent, the holder and the software's hooks, and acknowledged.
//!
//! The keys come with the members' list, and lie in the node's data directory, readable by the agent's user alone: an agent that starts without
//! the server goes on with them. The hooks are told by the table that labels are signed, after the holder has the keys.

use super::child::ChildKeeper;
use super::hook_table::HookTable;
use super::surroundings::Surroundings;
use crate::cached;
use crate::relay::Relay;
use intercept::keyring::{Keyring, LabelKey, OwnEndpoint};
use model::api::{LabelOrder, LabelSecret, LabelsHeld};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};

/// What the node does about labels.
pub(super) struct Labelling {
    surroundings: Arc<Surroundings>,
    relay: Arc<Relay>,
    hook_table: Arc<HookTable>,
    child: Arc<ChildKeeper>,
    /// The last order that a server gave; none before the first, nor of servers that know of no signed labels.
    order: Mutex<Option<LabelOrder>>,
    /// One order at a time is put in force.
    turn: tokio::sync::Mutex<()>,
}

impl Labelling {
    /// What an earlier agent was told.
    pub(super) fn load(
        surroundings: &Arc<Surroundings>,
        relay: &Arc<Relay>,
        hook_table: &Arc<HookTable>,
        child: &Arc<ChildKeeper>,
    ) -> Arc<Self> {
        Arc::new(Self {
            order: Mutex::new(cached::load(&surroundings.layout.label_keys())),
            surroundings: surroundings.clone(),
            relay: relay.clone(),
            hook_table: hook_table.clone(),
            child: child.clone(),
            turn: tokio::sync::Mutex::default(),
        })
    }

    fn order(&self) -> Option<LabelOrder> {
        self.order.lock().clone()
    }

    /// What the server is told.
    pub(super) fn held(&self) -> Option<LabelsHeld> {
        let seen = self.order()?.id;
        // Of software that an earlier build has started nobody knows that all its processes sign.
        let signs = self.child.present().is_none_or(|child| child.signs);
        let in_force = self.hook_table.labels_in_force().borrow().clone();
        Some(LabelsHeld {
            seen,
            in_force: if signs { in_force } else { String::new() },
            clock_ms: interpose::kernel::now_unix_s() * 1000,
        })
    }

    /// Takes the server's order. A server that gives none is of an earlier build: what was ordered stays.
    pub(super) async fn take(&self, ordered: Option<LabelOrder>) {
        let Some(ordered) = ordered else { return };
        if self.order().is_some_and(|known| known == ordered) {
            return;
        }
        self.keep(ordered.clone()).await;
        tracing::info!(
            demanded = ordered.demanded,
            signing = ordered.signing,
            "the server orders what is done about labels"
        );
        *self.order.lock() = Some(ordered);
        self.put_in_force().await;
    }

    /// On disk before it is in force: the next agent must not go back behind what others build on.
    async fn keep(&self, order: LabelOrder) {
        let file = self.surroundings.layout.label_keys();
        let kept =
            tokio::task::spawn_blocking(move || cached::save_secret_durably(&file, &order)).await;
        match kept {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the keys for labels cannot be kept"),
            Err(error) => tracing::warn!(%error, "the keys for labels were not kept"),
        }
    }

    /// Puts the last order in force: for the agent, then for the holder, then for the hooks. Taken back, too, in an order in which no hook
    /// looks for keys that are not there.
    pub(super) async fn put_in_force(&self) {
        let _turn = self.turn.lock().await;
        let Some(order) = self.order() else { return };
        let keyring = Keyring {
            demanded: order.demanded,
            signing: order.signing,
            keys: order.keys.iter().filter_map(label_key).collect(),
            endpoints: self.endpoints(),
        };
        let signs = !keyring.keys.is_empty();
        self.relay.identity.label_keys.publish(keyring.clone());
        if !signs {
            self.hook_table.set_labels(order.id.clone(), false);
            self.hook_table.publish();
        }
        let given = self.surroundings.holder.give_keyring(keyring).await;
        match given {
            Ok(()) if signs => {
                self.hook_table.set_labels(order.id, true);
                self.hook_table.publish();
            }
            Ok(()) => {}
            Err(error) if signs => tracing::warn!(
                %error,
                "the software does not sign its labels: its holder does not take the keys; `upstart stop` the node once, and start it again"
            ),
            Err(error) => tracing::debug!(%error, "the holder keeps keys that have ended"),
        }
    }

    /// Where callers dial that come to this node, beside the addresses at which it accepts: at every version, since an agent that starts
    /// does not know at once at which one the node stands.
    fn endpoints(&self) -> Vec<OwnEndpoint> {
        let picture = self.relay.traffic.picture();
        let catalog = &picture.catalog;
        let endpoints = catalog.endpoints(&catalog.every_version()).into_iter();
        let own: BTreeSet<OwnEndpoint> = endpoints
            .filter_map(|endpoint| {
                let port = *catalog.ports(endpoint.version).get(&endpoint.service)?;
                let at = SocketAddr::new(endpoint.address, endpoint.port);
                Some(OwnEndpoint { at, port })
            })
            .collect();
        own.into_iter().collect()
    }

    fn has_moved(&self) -> bool {
        let published = self.relay.identity.label_keys.published();
        !published.keys.is_empty() && published.endpoints != self.endpoints()
    }
}

fn label_key(secret: &LabelSecret) -> Option<LabelKey> {
    let mut key = [0; 32];
    let generation = secret.generation;
    if let Err(error) = hex::decode_to_slice(&secret.key, &mut key) {
        tracing::error!(%error, generation, "the server gave a key for labels that is none");
        return None;
    }
    Some(LabelKey { generation, key })
}

/// Follows the node's addresses for as long as it lives: what is dialled is a part of what is signed.
pub(super) async fn follow(labelling: Weak<Labelling>) {
    let Some(mut pictures) = labelling.upgrade().map(|here| here.relay.traffic.watch()) else {
        return;
    };
    while pictures.changed().await.is_ok() {
        pictures.mark_unchanged();
        let Some(here) = labelling.upgrade() else {
            return;
        };
        if here.has_moved() {
            here.put_in_force().await;
        }
    }
}
