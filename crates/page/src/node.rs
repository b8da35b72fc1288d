//! One node: where it stands, why it waits and until when, what it serves, and its life.

use crate::act::button;
use crate::history::events_table;
use crate::user::PageUser;
use crate::view::version_link;
use crate::waits::{WaitKind, wait_kinds};
use crate::words::{ago, child, counted, encoded, grouped, heard, not_before, percent, with_code};
use maud::{Markup, html};
use model::api::{Event, NodeFact, PermitFact, Phase, WaitCode};
use model::ids::Version;

/// What a node's page is made from.
#[derive(Clone, Debug)]
pub struct NodePageView<'a> {
    /// The node.
    pub fact: &'a NodeFact,
    /// Its class at its version.
    pub class: &'a str,
    /// The permit that it holds.
    pub permit: Option<PermitFact>,
    /// Its entries of the history, newest first.
    pub events: Vec<Event>,
    /// How many entries of the history were looked through for its own.
    pub looked_through: u64,
    /// Whether its own may lie further back.
    pub may_be_more: bool,
    /// Who looks.
    pub user: &'a PageUser,
    /// The server's time.
    pub now_ms: u64,
}

/// The page.
#[must_use]
pub fn node_page(view: &NodePageView<'_>) -> Markup {
    html! {
        (standing(view))
        (permit(view))
        (life(view))
        (calls(view.fact))
        (about(view))
        (counters(view.fact))
    }
}

/// A version, with its revision where that is not the first.
fn place(version: Version, revision: u32) -> Markup {
    html! {
        (version_link(version))
        @if revision > 1 { "." (revision) }
    }
}

fn standing(view: &NodePageView<'_>) -> Markup {
    let (fact, status) = (view.fact, &view.fact.report.status);
    let is_blocked = status.phase == Phase::Blocked;
    html! {
        section .card aria-label="Where it stands" {
            p .figure {
                b { (status.phase.words()) }
                " at version " (place(status.version, status.revision.0))
                @if let Some(target) = status.target {
                    " \u{2192} " (place(target, status.tried_revision().0))
                }
            }
            p {
                "Software: " b .alarm[child(fact) != "running"] { (child(fact)) } ". "
                @if fact.reachable { "Heard " } @else { b .alarm { "Not heard" } " since " }
                (heard(view.now_ms, fact.seen_at_ms)) ". "
                @if fact.settled_at_ms > 0 { "Settled " (ago(view.now_ms, fact.settled_at_ms)) "." }
            }
            @if let Some(reason) = &status.reason {
                h2 { @if is_blocked { "Why it is blocked" } @else { "Why" } }
                p .reason { (with_code(reason)) }
            }
            @if let Some(until_ms) = status.until_ms.filter(|at| *at > view.now_ms) {
                p { "It goes on " b { (not_before(view.now_ms, until_ms)) } "." }
            } @else if status.phase == Phase::Staged {
                p .hint { "Until when is not known: it asks again by itself." }
            }
            @if let Some(progress) = &status.progress {
                p {
                    (progress.what)
                    @match progress.total {
                        Some(total) if total > 0 => {
                            ": " (percent(progress.done, total)) "% of " (grouped(total)) " " (progress.unit) " "
                            progress value=(progress.done.min(total)) max=(total) aria-label=(progress.what) {}
                        },
                        _ => { @if !progress.unit.is_empty() { ": " (grouped(progress.done)) " " (progress.unit) } },
                    }
                }
            }
            @for remark in &fact.report.remarks { p .reason .alarm { (remark) } }
            @if view.user.may_operate() {
                p .buttons {
                    @if let Some(version) = approves(fact) { (button("approve", &[("version", &version.to_string()), ("node", &fact.name)], "Approve for this node\u{2026}")) }
                    @if is_blocked { (button("retry", &[("node", &fact.name)], "Try again\u{2026}")) }
                    @if !fact.reachable || is_blocked { (button("forget", &[("node", &fact.name)], "Forget\u{2026}")) }
                }
            }
        }
    }
}

/// The version for which a node waits for a person's yes.
fn approves(fact: &NodeFact) -> Option<Version> {
    let status = &fact.report.status;
    let reason = status
        .reason
        .as_deref()
        .filter(|_| status.phase == Phase::Staged)?;
    let waits = wait_kinds(reason).contains(&WaitKind::Code(WaitCode::NotApproved));
    status.target.filter(|_| waits)
}

fn permit(view: &NodePageView<'_>) -> Markup {
    html! {
        @if let Some(permit) = &view.permit {
            p .banner .warn {
                "It holds permit " (permit.permit) " for version " (permit.version) " in " (permit.group) " since " (ago(view.now_ms, permit.since_ms))
                @if !permit.confirmed { ", not confirmed yet" }
                ": it may be unavailable. "
                @if view.user.may_operate() {
                    (button("break-permit", &[("permit", &permit.permit.to_string())], "Break\u{2026}"))
                }
            }
        }
    }
}

/// Its life, newest first.
fn life(view: &NodePageView<'_>) -> Markup {
    html! {
        section aria-labelledby="life" {
            h2 #life { "Its life" }
            (events_table(&view.events, Some(&view.fact.name), view.now_ms))
            @if view.events.is_empty() { p { "The history says nothing of it." } }
            @if view.may_be_more {
                p .hint {
                    "These are of the newest " (grouped(view.looked_through)) " entries of the history. "
                    a href={ "/history?node=" (encoded(&view.fact.name)) } { "Look further back" }
                }
            }
        }
    }
}

fn calls(fact: &NodeFact) -> Markup {
    let report = &fact.report;
    html! {
        @if !report.endpoints.is_empty() {
            section aria-labelledby="endpoints" {
                h2 #endpoints { "Where it is reached" }
                div .wide { table {
                    thead { tr { th scope="col" { "Service" } th scope="col" { "Version" } th scope="col" { "Address" } } }
                    tbody { @for endpoint in &report.endpoints {
                        tr { th scope="row" { (endpoint.service) } td { (endpoint.version) } td { code { (endpoint.address) " port " (endpoint.port) } } }
                    } }
                } }
            }
        }
        @if !report.connections.is_empty() {
            section aria-labelledby="connections" {
                h2 #connections { "Open connections in the agent" }
                ul { @for (version, count) in &report.connections { li { (counted(*count, "connection", "connections")) " of callers at version " (version) } } }
            }
        }
        @if !report.holds.is_empty() {
            section aria-labelledby="holds" {
                h2 #holds { "What lies there" }
                div .wide { table {
                    thead { tr { th scope="col" { "Upgrade" } th scope="col" { "Manifest" } th scope="col" { "In use" } } }
                    tbody { @for held in &report.holds {
                        tr { th scope="row" { (held.version) "." (held.revision) } td { code .digest { (held.manifest_sha256) } } td { @if held.in_use { "yes" } @else { "staged" } } }
                    } }
                } }
            }
        }
    }
}

fn about(view: &NodePageView<'_>) -> Markup {
    let fact = view.fact;
    html! {
        section aria-labelledby="about" {
            h2 #about { "About it" }
            dl .pairs {
                dt { "Class" } dd { (view.class) @if fact.class != view.class { " (enrolled as " (fact.class) ")" } }
                dt { "Number" } dd { (fact.node) }
                dt { "Host" } dd { (fact.host) }
                dt { "Data directory" } dd { code { (fact.data_directory) } }
                @for (name, value) in &fact.attributes { dt { (name) } dd { (value) } }
                dt { "Answers callers up to version" } dd { (fact.report.status.staged) }
                dt { "Asks every" } dd { (fact.report.poll_ms) " ms" }
            }
        }
    }
}

fn counters(fact: &NodeFact) -> Markup {
    html! {
        @if !fact.report.counters.is_empty() {
            details #counters {
                summary { "Counters" }
                table { tbody { @for (name, number) in &fact.report.counters {
                    tr { th scope="row" { code { (name) } } td .right { (grouped(*number)) } }
                } } }
            }
        }
    }
}
