//! Which nodes serve which bundle to the other nodes of their site, found without a walk over all.

use model::api::{NodeFact, SITE};
use model::ids::NodeId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The nodes that serve a bundle, by the site and by the digest of the bundle's manifest.
#[derive(Clone, Debug, Default)]
pub(crate) struct BundleServers(BTreeMap<(String, String), BTreeSet<NodeId>>);

/// Where a node is: nodes that do not say so are at one site.
pub(crate) fn site(fact: &NodeFact) -> &str {
    fact.attributes.get(SITE).map_or("", String::as_str)
}

impl BundleServers {
    pub(super) fn of<'a>(nodes: impl Iterator<Item = &'a Arc<NodeFact>>) -> Self {
        let mut all = Self::default();
        nodes.for_each(|fact| all.change(None, Some(fact)));
        all
    }

    /// A node has changed, come or gone.
    pub(super) fn change(&mut self, before: Option<&NodeFact>, after: Option<&NodeFact>) {
        if is_alike(before, after) {
            return;
        }
        for (fact, digest) in before.into_iter().flat_map(served) {
            let key = (site(fact).to_owned(), digest.to_owned());
            if let Some(nodes) = self.0.get_mut(&key) {
                nodes.remove(&fact.node);
                if nodes.is_empty() {
                    self.0.remove(&key);
                }
            }
        }
        for (fact, digest) in after.into_iter().flat_map(served) {
            let key = (site(fact).to_owned(), digest.to_owned());
            self.0.entry(key).or_default().insert(fact.node);
        }
    }

    /// Some of those that serve a bundle at a site: the first at or behind each of these points of their numbers, from 0 to 1.
    pub(crate) fn some(&self, what: &(String, String), points: &[f64]) -> BTreeSet<NodeId> {
        let Some(nodes) = self.0.get(what) else {
            return BTreeSet::new();
        };
        let (Some(first), Some(last)) = (nodes.first(), nodes.last()) else {
            return BTreeSet::new();
        };
        let at = |point: &f64| {
            let behind = f64::from(last.0 - first.0) * point.clamp(0.0, 1.0);
            nodes.range(NodeId(first.0 + behind as u32)..).next()
        };
        points.iter().filter_map(at).copied().collect()
    }

    /// Whether a node serves a bundle at a site.
    pub(crate) fn has(&self, what: &(String, String), node: NodeId) -> bool {
        self.0.get(what).is_some_and(|nodes| nodes.contains(&node))
    }
}

/// The digests that a node serves.
fn served(fact: &NodeFact) -> impl Iterator<Item = (&NodeFact, &str)> {
    let serves = fact.report.artifacts_at.is_some() && fact.reachable;
    let holds = fact.report.holds.iter().filter(move |_| serves);
    holds.map(move |held| (fact, held.manifest_sha256.as_str()))
}

fn is_alike(before: Option<&NodeFact>, after: Option<&NodeFact>) -> bool {
    let served_by = |fact: &NodeFact| fact.report.artifacts_at.is_some() && fact.reachable;
    match (before, after) {
        (Some(before), Some(after)) => {
            served_by(before) == served_by(after)
                && site(before) == site(after)
                && before.report.holds == after.report.holds
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::api::{HeldUpgrade, NodeReport};
    use model::ids::{Revision, Version};

    fn serving(node: u32, at: &str, digest: &str) -> NodeFact {
        NodeFact {
            node: NodeId(node),
            name: format!("n{node}"),
            class: "c".to_owned(),
            attributes: BTreeMap::from([(SITE.to_owned(), at.to_owned())]),
            report: NodeReport {
                artifacts_at: Some(([127, 0, 0, 1], 7000).into()),
                holds: vec![HeldUpgrade {
                    version: Version(1),
                    revision: Revision(1),
                    manifest_sha256: digest.to_owned(),
                    in_use: true,
                }],
                ..NodeReport::default()
            },
            reachable: true,
            ..NodeFact::default()
        }
    }

    fn what(at: &str, digest: &str) -> (String, String) {
        (at.to_owned(), digest.to_owned())
    }

    #[test]
    fn nodes_are_found_by_site_and_bundle_as_long_as_they_serve_it() {
        let one = serving(1, "here", "a");
        let mut all = BundleServers::default();
        all.change(None, Some(&one));
        all.change(None, Some(&serving(2, "there", "a")));
        assert!(all.has(&what("here", "a"), NodeId(1)));
        assert!(!all.has(&what("there", "a"), NodeId(1)));
        let newer = serving(1, "here", "b");
        all.change(Some(&one), Some(&newer));
        assert!(!all.has(&what("here", "a"), NodeId(1)));
        assert!(all.has(&what("here", "b"), NodeId(1)));
        let silent = NodeFact {
            reachable: false,
            ..newer.clone()
        };
        all.change(Some(&newer), Some(&silent));
        assert!(all.some(&what("here", "b"), &[0.0]).is_empty());
        all.change(Some(&silent), Some(&newer));
        all.change(Some(&newer), None);
        assert!(all.some(&what("here", "b"), &[0.0]).is_empty());
        assert_eq!(all.0.len(), 1);
    }

    #[test]
    fn every_node_can_be_found() {
        let mut all = BundleServers::default();
        for node in [3, 8, 1_000_000] {
            all.change(None, Some(&serving(node, "", "a")));
        }
        let found = all.some(&what("", "a"), &[0.0, 0.000_005, 1.0]);
        assert_eq!(found, BTreeSet::from([3, 8, 1_000_000].map(NodeId)));
    }
}
