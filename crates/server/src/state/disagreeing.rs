//! Which nodes run what is not published here, or is published here with other contents.

use super::SystemState;
use model::api::{DisagreeingNode, Disagreement, HeldUpgrade, NodeFact, disagreement};
use model::ids::{Revision, Version};
use std::collections::BTreeMap;

impl SystemState {
    fn digest(&self, version: Version, revision: Revision) -> Option<&str> {
        let published = self.revisions.get(&(version, revision))?;
        Some(&published.summary.manifest_sha256)
    }

    /// Whether this is the digest of something that is published here.
    pub(crate) fn is_published(&self, digest: &str) -> bool {
        let mut published = self.revisions.values();
        published.any(|revision| revision.summary.manifest_sha256 == digest)
    }

    /// The digests of every version, from revision 1 on.
    pub(super) fn digests(&self) -> BTreeMap<Version, Vec<String>> {
        let mut digests: BTreeMap<Version, Vec<String>> = BTreeMap::new();
        for ((version, _), published) in &self.revisions {
            let digest = published.summary.manifest_sha256.clone();
            digests.entry(*version).or_default().push(digest);
        }
        digests
    }

    /// What of these is not as it is published here.
    pub(crate) fn disagreement_of(&self, holds: &[HeldUpgrade]) -> Option<Disagreement> {
        disagreement(holds, |version, revision| self.digest(version, revision))
    }

    /// Compares what a node has with what is published.
    pub(super) fn compare(&mut self, fact: &NodeFact) {
        match self.disagreement_of(&fact.report.holds) {
            Some(found) => drop(self.disagreeing.insert(fact.node, found)),
            None => drop(self.disagreeing.remove(&fact.node)),
        }
    }

    /// The same for every node.
    pub(super) fn compare_all(&mut self) {
        let nodes: Vec<_> = self.nodes.values().cloned().collect();
        for fact in nodes {
            self.compare(&fact);
        }
    }

    /// Who disagrees, for people.
    pub(super) fn disagreeing_nodes(&self) -> Vec<DisagreeingNode> {
        let named = self.disagreeing.iter().filter_map(|(node, found)| {
            Some(DisagreeingNode {
                node: self.nodes.get(node)?.name.clone(),
                disagreement: found.clone(),
            })
        });
        named.collect()
    }

    /// Whether another node has what is published here under a number under which this one has other contents. Nobody can tell
    /// in whose words the two would speak: the second is no member then. While nobody has it, the server may be what is wrong.
    pub(crate) fn is_contradicted(&self, fact: &NodeFact) -> bool {
        let found = self.disagreement_of(&fact.report.holds);
        let Some(found) = found.filter(|found| found.differs()) else {
            return false;
        };
        let mut others = self.nodes.values().filter(|other| other.node != fact.node);
        others.any(|other| {
            let mut holds = other.report.holds.iter();
            holds.any(|held| {
                held.version == found.version
                    && Some(&held.manifest_sha256) == found.published.as_ref()
            })
        })
    }
}
