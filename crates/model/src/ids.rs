//! Names of things: versions, revisions, nodes, permits.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $inner:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = std::num::ParseIntError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map($name)
            }
        }
    };
}

number!(
    /// The number of the whole system's version: 1, 2, 3, ... Zero means "none yet".
    Version,
    u32
);
number!(
    /// The number of an upgrade's revision, from 1: same versions and interfaces, mended contents.
    Revision,
    u32
);
number!(
    /// A node's number, given by the server when the node enrols; never reused.
    NodeId,
    u32
);
number!(
    /// A permit's number; later permits have higher numbers (fencing).
    PermitId,
    u64
);

impl Version {
    /// The first version of every system.
    pub const FIRST: Self = Self(1);
}

/// A version's revision: what folders below `<data>/versions` are named by (`<version>.<revision>`).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Place {
    /// The version.
    pub version: Version,
    /// The revision of its upgrade.
    pub revision: Revision,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.version, self.revision)
    }
}
