//! One upgrade: what it brings, how far the nodes are, and who is where.

use crate::act::button;
use crate::census::FleetCensus;
use crate::chart::{area, colour};
use crate::fleet::{pace, progress};
use crate::user::PageUser;
use crate::view::{names, newest, there, version_link};
use crate::words::{ago, counted, duration, encoded, grouped, percent};
use maud::{Markup, html};
use model::api::{Approval, SystemView, UpgradeSummary};
use model::ids::Version;

/// What an upgrade's page is made from.
#[derive(Clone, Debug)]
pub struct UpgradePageView<'a> {
    /// Its newest revision.
    pub upgrade: &'a UpgradeSummary,
    /// The system, without its nodes.
    pub system: &'a SystemView,
    /// Its nodes, counted.
    pub census: &'a FleetCensus,
    /// Who looks.
    pub user: &'a PageUser,
    /// The server's time.
    pub now_ms: u64,
}

/// The page.
#[must_use]
pub fn upgrade_page(view: &UpgradePageView<'_>) -> Markup {
    let (upgrade, census) = (view.upgrade, view.census);
    let there = there(census, upgrade.version);
    html! {
        section .card aria-label="How far it is" {
            p .figure {
                b { (grouped(there)) } " of " (grouped(census.nodes)) " nodes are there or beyond"
                span .share { " " (percent(there, census.nodes)) "%" }
            }
            (progress(census, upgrade.version))
            (pace(census.courses.get(&upgrade.version), view.system.paused.is_some()))
        }
        (about(view))
        (curve(view))
        (places(census))
        (approvals(&view.system.approvals, upgrade.version, view.now_ms))
        p .hint {
            a href={ "/history?version=" (upgrade.version) } { "What the history says of it" }
        }
        (actions(view))
    }
}

/// How an upgrade stands.
fn state(view: &UpgradePageView<'_>) -> &'static str {
    match view.upgrade {
        upgrade if upgrade.withdrawn => "withdrawn: nobody goes there",
        upgrade if upgrade.version <= view.system.retired_through => "retired",
        upgrade if upgrade.version <= view.system.retiring_through => "being retired",
        _ => "published",
    }
}

fn about(view: &UpgradePageView<'_>) -> Markup {
    let upgrade = view.upgrade;
    html! {
        dl .pairs {
            @if !upgrade.description.is_empty() { dt { "What it brings" } dd { (upgrade.description) } }
            dt { "State" } dd { (state(view)) }
            @if upgrade.from > Version(0) { dt { "From version" } dd { (version_link(upgrade.from)) } }
            dt { "Newest revision" } dd { (upgrade.revision) }
            dt { "Published" } dd { (ago(view.now_ms, upgrade.published_at_ms)) " by " (upgrade.author) }
            dt { "Manifest" } dd { code .digest { (upgrade.manifest_sha256) } }
        }
    }
}

/// When the nodes that are at this version settled there.
fn curve(view: &UpgradePageView<'_>) -> Markup {
    let course = view.census.courses.get(&view.upgrade.version);
    let drawn = course.filter(|course| !course.curve.is_empty());
    html! {
        @if let Some((course, (first, last))) = drawn.and_then(|course| Some((course, course.settled_ms?))) {
            section aria-labelledby="curve" {
                h2 #curve { "Settled over time" }
                @let at = course.curve.last().copied().unwrap_or(0);
                @let what = format!("{} of {} nodes settled at version {} within {}", grouped(at), grouped(view.census.nodes), view.upgrade.version, duration(last - first));
                p .hint { (counted(view.census.nodes, "node", "nodes")) }
                (area(&course.curve, view.census.nodes, &colour(view.upgrade.version.0), &what))
                p .hint .ends {
                    span { "0 nodes, " (ago(view.now_ms, first)) }
                    span { @if course.curve_end_ms >= view.census.at_ms { "now" } @else { (ago(view.now_ms, course.curve_end_ms)) } }
                }
                p .hint { "The nodes that are at this version now, by when they settled there; the last one did " (ago(view.now_ms, last)) "." }
            }
        }
    }
}

fn places(census: &FleetCensus) -> Markup {
    html! {
        section aria-labelledby="where" {
            h2 #where { "Where the nodes are" }
            ul { @for (version, nodes) in &census.versions {
                li {
                    a href={ "/nodes?version=" (encoded(&version.to_string())) } { (counted(nodes.count, "node", "nodes")) }
                    @if *version == Version(0) { " not started yet: " } @else { " at version " (version) ": " }
                    (names(nodes))
                }
            } }
        }
    }
}

fn approvals(approvals: &[Approval], version: Version, now_ms: u64) -> Markup {
    let given: Vec<&Approval> = (approvals.iter())
        .filter(|approval| approval.version == version)
        .collect();
    html! {
        @if !given.is_empty() {
            section aria-labelledby="approvals" {
                h2 #approvals { "Approved" }
                ul { @for approval in given {
                    li {
                        @match (&approval.class, &approval.node) {
                            (_, Some(node)) => { "for node " (node) },
                            (Some(class), None) => { "for class " (class) },
                            (None, None) => "for all",
                        }
                        " by " (approval.author) ", " (ago(now_ms, approval.at_ms))
                    }
                } }
            }
        }
    }
}

fn actions(view: &UpgradePageView<'_>) -> Markup {
    let upgrade = view.upgrade;
    let version = upgrade.version.to_string();
    let is_newest = newest(view.system).is_some_and(|newest| newest.version == upgrade.version);
    // Nothing is left to be approved where everybody may go.
    let is_approved = view.system.approvals.iter().any(|given| {
        (given.version, given.revision) == (upgrade.version, upgrade.revision)
            && given.class.is_none()
            && given.node.is_none()
    });
    let is_open = !upgrade.withdrawn && upgrade.version > view.system.retiring_through;
    html! {
        @if is_open && !is_approved && view.user.may_operate() && there(view.census, upgrade.version) < view.census.nodes {
            p .buttons { (button("approve", &[("version", &version)], "Approve\u{2026}")) }
        }
        @if is_open && is_newest && upgrade.from > Version(0) && there(view.census, upgrade.version) == 0 {
            p .hint {
                "To take it back, its publishers sign that: " code { "upstart withdraw " (version) }
                ", while no node has settled at it. A browser has no publisher\u{2019}s key."
            }
        }
    }
}
