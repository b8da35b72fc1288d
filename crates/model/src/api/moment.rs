//! Which history of which database a server's answer comes from; and what agents tell a server that may have lost a part of it.

use crate::ids::Version;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
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
    /// The digest of what a node was to remember of the system then.
    #[serde(default)]
    pub memory: u64,
    /// What only a server of this system could have added: nobody else can make a moment up.
    #[serde(default)]
    pub proof: u64,
}

impl Moment {
    /// What a proof is of.
    #[must_use]
    pub fn to_prove(&self) -> [u64; 6] {
        [
            self.epoch,
            self.start,
            self.life,
            self.commit,
            self.event,
            self.memory,
        ]
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
    #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, String>))]
    pub withdrawn: BTreeMap<Version, String>,
    /// The public version of each service, keyed `class/service`.
    pub public: BTreeMap<String, Version>,
    /// Every version up to this one was being retired.
    pub retiring_through: Version,
}

impl RememberedSystem {
    /// By which it is known: 53 bits, which every reader of JSON keeps. A moment has that of what was so then: a node tells what it was
    /// told, and neither makes anything up nor tells what was so before.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let said = (
            &self.system,
            &self.withdrawn,
            &self.public,
            self.retiring_through,
        );
        let said = serde_json::to_vec(&said).unwrap_or_default();
        let mut first = [0; 8];
        first.copy_from_slice(&Sha256::digest(said)[..8]);
        u64::from_be_bytes(first) >> 11
    }
}
