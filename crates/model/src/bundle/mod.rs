//! Upgrades as folders: `upgrade.toml` as written, and the [`Upgrade`] that it is proved to be.

mod error;
mod upgrade;

pub use error::BundleError;
pub(crate) use error::nearest;
pub use upgrade::*;
