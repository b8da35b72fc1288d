//! Which history of which database a server's answer comes from; and what agents tell a server that may have lost a part of it.

use crate::ids::Version;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A moment in the history of an upgrade database. Agents keep the newest that they have seen: a server that does not have it
/// in its history was set back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Moment {
    /// A random number of this history: another one where the database was made, or was found to be set back.
    pub epoch: u64,
    /// How often a server has begun to write in it.
    pub start: u64,
    /// A random number of that start.
    pub life: u64,
    /// How many changes the database had taken.
    pub commit: u64,
    /// The last entry of the history of events.
    pub event: u64,
    /// What only a server of this system could have added: nobody else can make a moment up.
    #[serde(default)]
    pub proof: u64,
}

impl Moment {
    /// What a proof is of.
    #[must_use]
    pub fn to_prove(&self) -> [u64; 5] {
        [self.epoch, self.start, self.life, self.commit, self.event]
    }

    /// Whether the same server has said both, with the same history before it.
    pub fn is_of_the_life_of(&self, other: &Self) -> bool {
        (self.epoch, self.start, self.life) == (other.epoch, other.start, other.life)
    }
}

/// What an agent remembers of the system, for a server whose database may have been set back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RememberedSystem {
    /// The system's name.
    pub system: String,
    /// The withdrawn versions, each with the digest of its last revision's manifest.
    pub withdrawn: BTreeMap<Version, String>,
    /// The public version of each service, keyed `class/service`.
    pub public: BTreeMap<String, Version>,
    /// Every version up to this one was being retired.
    pub retiring_through: Version,
    /// What only a server of this system could have added to the rest: a node tells what it was told, and makes nothing up.
    #[serde(default)]
    pub proof: u64,
}

impl RememberedSystem {
    /// What a proof is of.
    #[must_use]
    pub fn to_prove(&self) -> String {
        let said = (
            &self.system,
            &self.withdrawn,
            &self.public,
            self.retiring_through,
        );
        serde_json::to_string(&said).unwrap_or_default()
    }
}
