//! Upgrades as folders: `upgrade.toml` as written, and the [`Upgrade`] that it is proved to be.

mod definition;
mod error;
pub mod folder;
mod framing;
mod proof;
mod reader;
mod remarks;
mod revision;
mod service;
mod upgrade;

pub use definition::*;
pub use error::BundleError;
pub use folder::{Folder, FolderError, read_directory};
pub use framing::*;
pub use proof::UpgradeFile;
pub use remarks::{Remark, remarks};
pub use revision::Shipped;
pub use service::*;
pub use upgrade::{OnceCommand, *};

pub use crate::expression::Template;
pub use crate::manifest::{BundleFiles, FileInfo};
pub use crate::schedule::Schedule;
