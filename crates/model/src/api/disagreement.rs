//! What a node runs by digest, against what a server has published: a server that was set back lags, or has other contents
//! under the same number.

use crate::ids::{Place, Revision, Version};
use serde::{Deserialize, Serialize};

/// An upgrade that lies at a node, staged or settled, by digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct HeldUpgrade {
    /// The version.
    pub version: Version,
    /// The revision of it.
    pub revision: Revision,
    /// The SHA-256 of its manifest, lower-case hex.
    pub manifest_sha256: String,
    /// The node runs it, has run it, or is on its way to it: it cannot drop it. What is only staged it can.
    #[serde(default)]
    pub in_use: bool,
}

/// A version and revision that a node has and a server does not have, or has with other contents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Disagreement {
    /// The version.
    pub version: Version,
    /// The revision of it.
    pub revision: Revision,
    /// The digest of the manifest that the node has.
    pub held: String,
    /// The digest of the one that the server has published under this number; none where it has published nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<String>,
}

impl Disagreement {
    /// Which version and revision.
    pub fn place(&self) -> Place {
        Place {
            version: self.version,
            revision: self.revision,
        }
    }

    /// The server has other contents under this number.
    pub fn differs(&self) -> bool {
        self.published.is_some()
    }
}

/// What a node and a server do not agree on, if anything: other contents before what is only missing. Where what is only staged has
/// other contents, the node drops it ([`replaced`]).
pub fn disagreement<'a>(
    holds: &[HeldUpgrade],
    published: impl Fn(Version, Revision) -> Option<&'a str>,
) -> Option<Disagreement> {
    let mut missing = None;
    for held in holds {
        let there = published(held.version, held.revision);
        if there == Some(&held.manifest_sha256) {
            continue;
        }
        let found = Disagreement {
            version: held.version,
            revision: held.revision,
            held: held.manifest_sha256.clone(),
            published: there.map(str::to_owned),
        };
        match (found.differs(), held.in_use) {
            (true, true) => return Some(found),
            (true, false) => {}
            (false, _) => missing = missing.or(Some(found)),
        }
    }
    missing
}

/// The first version that is only staged at a node, and that a server has published with other contents.
pub fn replaced<'a>(
    holds: &[HeldUpgrade],
    published: impl Fn(Version, Revision) -> Option<&'a str>,
) -> Option<Version> {
    let staged = holds.iter().filter(|held| !held.in_use);
    let other = staged.filter(|held| {
        let there = published(held.version, held.revision);
        there.is_some_and(|there| there != held.manifest_sha256)
    });
    other.map(|held| held.version).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(version: u32, digest: &str) -> HeldUpgrade {
        HeldUpgrade {
            version: Version(version),
            revision: Revision(1),
            manifest_sha256: digest.to_owned(),
            in_use: true,
        }
    }

    /// A server with version 1 as `a` and version 2 as `b`.
    fn published(version: Version, revision: Revision) -> Option<&'static str> {
        match (version.0, revision.0) {
            (1, 1) => Some("a"),
            (2, 1) => Some("b"),
            _ => None,
        }
    }

    #[test]
    fn other_contents_count_before_what_is_missing() {
        assert_eq!(disagreement(&[], published), None);
        assert_eq!(disagreement(&[held(1, "a"), held(2, "b")], published), None);
        let lags = disagreement(&[held(2, "b"), held(3, "c")], published).expect("lags");
        assert_eq!((lags.version, lags.differs()), (Version(3), false));
        let differs = disagreement(&[held(3, "c"), held(2, "x")], published).expect("differs");
        assert_eq!(differs.published.as_deref(), Some("b"));
        assert_eq!(differs.held, "x");
    }

    #[test]
    fn what_is_only_staged_gives_way() {
        let staged = HeldUpgrade {
            in_use: false,
            ..held(2, "x")
        };
        let holds = [held(1, "a"), staged];
        assert_eq!(disagreement(&holds, published), None);
        assert_eq!(replaced(&holds, published), Some(Version(2)));
        assert_eq!(replaced(&[held(2, "x")], published), None);
    }
}
