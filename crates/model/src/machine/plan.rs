//! The part of the node's view that decides where a node goes.

use crate::api::NodeView;
use crate::ids::{Revision, Version};
use std::collections::BTreeMap;

/// An upgrade that is not withdrawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// The version that it starts from.
    pub from: Version,
    /// Its newest revision.
    pub revision: Revision,
}

/// Where a node may go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The upgrades that are not withdrawn, by the version that they lead to.
    pub upgrades: BTreeMap<Version, Planned>,
    /// Every version up to this one is retired.
    pub retired_through: Version,
    /// No node begins an upgrade.
    pub paused: bool,
    /// The operator's `retry` count for this node.
    pub retry: u64,
    /// The version at which this node joins if it has no state, as its enrolment said.
    pub join_version: Option<Version>,
}

impl Plan {
    /// The plan that a view holds.
    pub fn of(view: &NodeView, join_version: Option<Version>) -> Self {
        let live = view.upgrades.iter().filter(|upgrade| !upgrade.withdrawn);
        Self {
            upgrades: live
                .map(|upgrade| {
                    let planned = Planned {
                        from: upgrade.from,
                        revision: upgrade.revision,
                    };
                    (upgrade.version, planned)
                })
                .collect(),
            retired_through: view.retired_through,
            paused: view.paused.is_some(),
            retry: view.retry,
            join_version,
        }
    }

    /// The upgrade that starts from `version`.
    pub fn next(&self, version: Version) -> Option<(Version, Planned)> {
        let mut live = self.upgrades.iter();
        live.find(|(_, planned)| planned.from == version)
            .map(|(to, planned)| (*to, *planned))
    }
}
