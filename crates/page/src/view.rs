//! What the page of the fleet is made from, and what several pages show of it.

use crate::census::{FleetCensus, NamedCount};
use crate::user::PageUser;
use crate::words::{grouped, node_link};
use maud::{Markup, html};
use model::api::{Event, PermitFact, SystemView, UpgradeSummary};
use model::ids::Version;

/// What the page of the fleet is made from.
#[derive(Clone, Debug)]
pub struct FleetPageView<'a> {
    /// The system, without its nodes.
    pub system: &'a SystemView,
    /// Its nodes, counted.
    pub census: &'a FleetCensus,
    /// The first permits held, each with its node's name.
    pub permits: Vec<(PermitFact, String)>,
    /// The newest entries of the history.
    pub events: Vec<Event>,
    /// Who looks.
    pub user: &'a PageUser,
    /// The server's time.
    pub now_ms: u64,
}

/// The newest version that nodes are to reach.
pub(crate) fn newest(system: &SystemView) -> Option<&UpgradeSummary> {
    let offered = system.upgrades.iter().filter(|upgrade| !upgrade.withdrawn);
    offered.max_by_key(|upgrade| upgrade.version)
}

/// How many nodes have settled at a version or beyond.
pub(crate) fn there(census: &FleetCensus, version: Version) -> u64 {
    let beyond = census.versions.range(version..);
    beyond.map(|(_, nodes)| nodes.count).sum()
}

/// The page of a version.
pub(crate) fn version_link(version: Version) -> Markup {
    html! { a href={ "/upgrades/" (version) } { (version) } }
}

/// A few of some nodes, and how many more.
pub(crate) fn names(nodes: &NamedCount) -> Markup {
    let more = nodes.count.saturating_sub(nodes.names.len() as u64);
    html! {
        @for (at, name) in nodes.names.iter().enumerate() {
            @if at > 0 { ", " }
            (node_link(name))
        }
        @if more > 0 { " and " (grouped(more)) " more" }
    }
}
