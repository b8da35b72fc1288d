//! The fleet's web page: from what a server knows of a system to markup. Pure functions: who may see what, and where the facts come from,
//! is the server's business.
//!
//! A page is one document without a script or a style in it. Every text is escaped where it is put in, by the type of what it is put
//! into (`maud`): names, reasons and messages come from nodes and people.

mod act;
mod act_about;
mod assets;
mod census;
mod chart;
mod fleet;
mod frame;
mod held;
mod history;
mod node;
mod nodes;
mod published;
mod upgrade;
mod user;
mod view;
mod waits;
mod words;

pub use act::{ActionAbout, PageAction, confirmation};
pub use act_about::{ActionPlace, about};
pub use assets::{FAVICON, PageAsset, SCRIPT, STYLE};
pub use census::{
    CallCensus, ClassCensus, CourseCensus, FailureTally, FleetCensus, NamedCount, WaitTally,
};
pub use fleet::fleet_page;
pub use frame::{PageFrame, code_page, document, login_page, refusal_page};
pub use history::{HistoryFilter, HistoryPageView, history_page};
pub use node::{NodePageView, node_page};
pub use nodes::{NodeFilter, NodesPageView, nodes_page};
pub use upgrade::{UpgradePageView, upgrade_page};
pub use user::PageUser;
pub use view::FleetPageView;
pub use waits::{WaitKind, wait_kinds};
pub use words::encoded;

/// Markup whose texts are escaped.
pub use maud::Markup;
