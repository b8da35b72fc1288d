//! Every version that was published, the newest first.

use crate::view::{FleetPageView, version_link};
use crate::words::{ago, encoded, grouped, shortened};
use maud::{Markup, html};
use model::api::{SystemView, UpgradeSummary};

/// How many are shown: older ones are at their own addresses, and in `upstart status`.
const VERSIONS_SHOWN: usize = 50;

/// How much of a description stands there.
const DESCRIPTION_CHARACTERS: usize = 120;

/// How an upgrade stands.
pub(crate) fn state(system: &SystemView, upgrade: &UpgradeSummary) -> &'static str {
    match upgrade {
        upgrade if upgrade.withdrawn => "withdrawn",
        upgrade if upgrade.version <= system.retired_through => "retired",
        upgrade if upgrade.version <= system.retiring_through => "being retired",
        _ => "published",
    }
}

/// The list.
pub(crate) fn published(view: &FleetPageView<'_>) -> Markup {
    let upgrades = view.system.upgrades.iter().rev().take(VERSIONS_SHOWN);
    let nodes = |upgrade: &UpgradeSummary| {
        let here = view.census.versions.get(&upgrade.version);
        here.map_or(0, |here| here.count)
    };
    html! {
        details #published {
            summary { "All versions" }
            div .wide { table {
                thead { tr {
                    th scope="col" { "Version" }
                    th scope="col" { "State" }
                    th scope="col" .right { "Nodes" }
                    th scope="col" { "Published" }
                    th scope="col" { "What it brings" }
                } }
                tbody { @for upgrade in upgrades {
                    tr {
                        th scope="row" {
                            (version_link(upgrade.version))
                            @if upgrade.revision.0 > 1 { ", revision " (upgrade.revision) }
                        }
                        td { (state(view.system, upgrade)) }
                        td .right {
                            @if nodes(upgrade) > 0 {
                                a href={ "/nodes?version=" (encoded(&upgrade.version.to_string())) } { (grouped(nodes(upgrade))) }
                            } @else { span .nothing { "0" } }
                        }
                        td { (ago(view.now_ms, upgrade.published_at_ms)) }
                        td { (shortened(&upgrade.description, DESCRIPTION_CHARACTERS)) }
                    }
                } }
            } }
        }
    }
}
