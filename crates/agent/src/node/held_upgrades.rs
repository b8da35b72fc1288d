//! What lies at the node by digest; and what is to be said where a server does not have it.

use crate::layout::Layout;
use model::api::{Disagreement, EventKind, HeldUpgrade};
use model::machine::{NodeMachine, Place};
use model::manifest::{Digest, Manifest};
use std::collections::BTreeMap;

/// The digests of manifests that were read: what lies under a place is not replaced.
#[derive(Debug, Default)]
pub(super) struct HeldUpgrades {
    digests: BTreeMap<Place, Digest>,
}

impl HeldUpgrades {
    /// What the journal says that the node has, each by the manifest that lies beside it.
    pub(super) fn of(&mut self, layout: &Layout, machine: &NodeMachine) -> Vec<HeldUpgrade> {
        let places = machine.places();
        self.digests.retain(|place, _| places.contains(place));
        for place in &places {
            if !self.digests.contains_key(place)
                && let Some(digest) = digest(layout, *place)
            {
                self.digests.insert(*place, digest);
            }
        }
        let held = self.digests.iter();
        held.map(|(place, digest)| HeldUpgrade {
            version: place.version,
            revision: place.revision,
            manifest_sha256: digest.to_string(),
            in_use: machine.uses(*place),
        })
        .collect()
    }
}

/// One that cannot be read is mended elsewhere; until then it says nothing.
fn digest(layout: &Layout, place: Place) -> Option<Digest> {
    let text = std::fs::read_to_string(layout.manifest(place)).ok()?;
    let manifest = Manifest::parse(&text).ok()?;
    Some(manifest.digest())
}

/// What the node's report says of a disagreement.
pub(super) fn reason(found: &Disagreement) -> String {
    let place = found.place();
    if found.differs() {
        format!(
            "the server has another upgrade {place} than the one that this node has, which stays as it is: put the server's database back once more and publish what the node has (it lies in versions/{place}/bundle of its data directory), then the other one as the next version; or begin the node with an empty data directory"
        )
    } else {
        format!(
            "the server does not know upgrade {place}, which this node has and goes on with: publish it again, from the same folder (a copy lies in versions/{place}/bundle of the node's data directory)"
        )
    }
}

/// What happened when the disagreement became this.
pub(super) fn event(found: Option<&Disagreement>) -> (EventKind, String) {
    match found {
        Some(found) if found.differs() => (EventKind::NodeServerDiffers, reason(found)),
        Some(found) => (EventKind::NodeServerLags, reason(found)),
        None => (
            EventKind::NodeServerAgrees,
            "the server has what this node runs again".to_owned(),
        ),
    }
}
