//! What the upgrade under way leads to.

use super::node::{At, JoinAt, NodeMachine, State};
use super::recover::settled_after;
use super::{ProbeMode, Settled};
use crate::ids::Version;

impl NodeMachine {
    pub(super) fn settled_ahead(&self) -> Option<Settled> {
        let State::Upgrading(upgrade) = &self.state else {
            return None;
        };
        let old = self.settled.as_ref()?;
        Some(settled_after(old, &upgrade.path, upgrade.to))
    }

    pub(super) fn joined_probe(&self) -> bool {
        let ahead = self.settled_ahead();
        ahead.is_some_and(|settled| settled.probe == ProbeMode::Joined)
    }

    pub(super) fn old_probe_alone(&self) -> bool {
        let old = self.settled.as_ref();
        old.is_some_and(|settled| settled.probe == ProbeMode::Alone)
    }

    pub(super) fn target_version(&self) -> Option<Version> {
        match &self.state {
            State::Upgrading(upgrade) => Some(upgrade.to.version),
            State::Blocked { on, .. } => Some(on.version),
            _ => None,
        }
    }

    pub(super) fn upgrade_at(&self) -> Option<At> {
        match &self.state {
            State::Upgrading(upgrade) => Some(upgrade.at),
            _ => None,
        }
    }

    pub(super) fn set_upgrade_at(&mut self, next: At) {
        if let State::Upgrading(upgrade) = &mut self.state {
            upgrade.at = next;
        }
    }

    pub(super) fn joining_at(&mut self, next: JoinAt) {
        // With a restart due, another revision was fetched meanwhile: it begins at its beginning.
        if let State::Joining { step: Some(_), at } = &mut self.state
            && !self.restart_due
        {
            *at = next;
        }
    }
}
