//! What is held: permits, public versions, and old versions that somebody still needs.

use crate::act::button;
use crate::census::NamedCount;
use crate::view::{FleetPageView, names, newest, version_link};
use crate::words::{ago, counted, node_link};
use maud::{Markup, html};
use model::ids::Version;

/// How many permits are shown one by one.
const PERMITS_SHOWN: usize = 20;

/// Who holds the oldest version up.
pub(crate) fn retirement(view: &FleetPageView<'_>) -> Markup {
    let (system, census) = (view.system, view.census);
    let oldest = system
        .upgrades
        .iter()
        .filter(|upgrade| !upgrade.withdrawn && upgrade.version > system.retiring_through);
    let alive: Vec<Version> = oldest.map(|upgrade| upgrade.version).collect();
    let is_retiring = system.retiring_through > system.retired_through;
    html! {
        @if is_retiring || alive.len() > 1 {
            section aria-labelledby="retirement" {
                h2 #retirement { "Retirement" }
                @if is_retiring {
                    p {
                        "Versions up to " (system.retiring_through) " are being retired. "
                        @if census.unacknowledged.count > 0 {
                            (counted(census.unacknowledged.count, "node has", "nodes have")) " not acknowledged yet: " (names(&census.unacknowledged)) "."
                        }
                    }
                }
                @if let [oldest, _, ..] = alive[..] { (held_up(view, oldest)) }
            }
        }
    }
}

fn held_up(view: &FleetPageView<'_>, oldest: Version) -> Markup {
    let census = view.census;
    let nodes = census
        .versions
        .range(..=oldest)
        .filter(|(_, nodes)| nodes.count > 0);
    let nodes: Vec<&NamedCount> = nodes.map(|(_, nodes)| nodes).collect();
    let open = census
        .connections
        .range(..=oldest)
        .filter(|(_, (count, _))| *count > 0);
    let open: Vec<&(u64, NamedCount)> = open.map(|(_, open)| open).collect();
    let public = view.system.public.iter().filter(|(_, at)| **at <= oldest);
    let public: Vec<&String> = public.map(|(service, _)| service).collect();
    let is_free = nodes.is_empty() && open.is_empty() && public.is_empty();
    html! {
        p { "Version " (version_link(oldest)) " is the oldest in use." }
        @if is_free {
            p { "Nobody needs it any more." }
            @if view.user.may_operate() {
                p .buttons { (button("retire", &[("version", &oldest.to_string())], "Retire it\u{2026}")) }
            }
        } @else {
            ul {
                @for some in nodes { li { (counted(some.count, "node is", "nodes are")) " still there: " (names(some)) } }
                @for (count, at) in open { li { (counted(*count, "connection is", "connections are")) " open at " (names(at)) } }
                @if !public.is_empty() {
                    li { "Callers without a label are served at it: " @for (at, service) in public.iter().enumerate() { @if at > 0 { ", " } (service) } }
                }
            }
        }
    }
}

pub(crate) fn public(view: &FleetPageView<'_>) -> Markup {
    html! {
        @if !view.system.public.is_empty() {
            section aria-labelledby="public" {
                h2 #public { "Public versions" }
                p .hint { "At which version callers without a label are served." }
                div .wide { table { tbody { @for (service, version) in &view.system.public {
                    tr {
                        th scope="row" { (service) }
                        td .right { (version) }
                        @if view.user.may_operate() {
                            td {
                                @for next in offered(view, service, *version) {
                                    (button("public", &[("service", service), ("version", &next.to_string())], &format!("Move to {next}\u{2026}"))) " "
                                }
                            }
                        }
                    }
                } } } }
            }
        }
    }
}

/// To which versions a service's public version is moved: the last one at which all nodes of its class are, and the newest that some are at.
fn offered(view: &FleetPageView<'_>, service: &str, now: Version) -> Vec<Version> {
    let class = service.split('/').next().unwrap_or(service);
    let classes = &view.census.classes;
    let Some(at) = classes.get(class).map(|class| &class.versions) else {
        // None of its class is there: nobody is in the way.
        let newest = newest(view.system).map(|upgrade| upgrade.version);
        return newest.into_iter().filter(|newest| *newest > now).collect();
    };
    let nodes = at.iter().filter(|(_, nodes)| **nodes > 0);
    let there: Vec<Version> = nodes.map(|(version, _)| *version).collect();
    let mut offered: Vec<Version> = [there.first(), there.last()]
        .into_iter()
        .flatten()
        .copied()
        .filter(|version| *version > now)
        .collect();
    offered.dedup();
    offered
}

pub(crate) fn permits(view: &FleetPageView<'_>) -> Markup {
    let held = view.system.permits.len();
    html! {
        @if held > 0 {
            section aria-labelledby="permits" {
                h2 #permits { "Permits held" }
                p .hint { (counted(held as u64, "node", "nodes")) " may be unavailable now." }
                div .wide { table {
                    thead { tr { th scope="col" { "Node" } th scope="col" { "To" } th scope="col" { "Group" } th scope="col" { "Since" } @if view.user.may_operate() { th scope="col" { "" } } } }
                    tbody { @for (permit, node) in view.permits.iter().take(PERMITS_SHOWN) {
                        tr {
                            th scope="row" { (node_link(node)) }
                            td { (permit.version) }
                            td { (permit.group) }
                            td { (ago(view.now_ms, permit.since_ms)) @if !permit.confirmed { " (not confirmed)" } }
                            @if view.user.may_operate() { td { (button("break-permit", &[("permit", &permit.permit.to_string())], "Break\u{2026}")) } }
                        }
                    } }
                } }
                @if held > PERMITS_SHOWN { p .hint { "These are the first; " code { "upstart permit list" } " lists all." } }
            }
        }
    }
}
