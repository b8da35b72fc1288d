//! The fleet on one page, and never as a list: how many are where, why they wait, what has failed.

use crate::act::button;
use crate::census::{CourseCensus, FailureTally, FleetCensus, NamedCount, WaitTally};
use crate::chart::{BarPart, bar, colour, legend};
use crate::held::{permits, public, retirement};
use crate::history::events_table;
use crate::published::published;
use crate::user::PageUser;
use crate::view::{FleetPageView, names, newest, there, version_link};
use crate::words::{
    PHASES, counted, duration, encoded, grouped, node_link, not_before, percent, shortened,
    with_code,
};
use maud::{Markup, html};
use model::api::{SystemView, UpgradeSummary};
use model::ids::Version;

/// How many nodes are shown one by one that do not follow the server.
const NODES_SHOWN: usize = 20;

/// How much of a reason stands in a list.
const REASON_CHARACTERS: usize = 300;

/// How many shades a cell of the grid may have.
const SHADES: u64 = 5;

/// The page.
#[must_use]
pub fn fleet_page(view: &FleetPageView<'_>) -> Markup {
    if view.system.upgrades.is_empty() {
        return html! {
            p { "Nothing is published yet: " code { "upstart publish DIR" } " with version 1 defines the system." }
        };
    }
    html! {
        (troubles(view.system))
        (courses(view))
        @if view.user.may_operate() && view.system.paused.is_none() {
            p .buttons { (button("pause", &[], "Pause the system\u{2026}")) }
        }
        (waits(view))
        (failures("What has failed", &view.census.failures, view.user))
        (failures("What nodes remark", &view.census.remarks, view.user))
        (grid(view.census))
        (versions(view.census))
        (calls(view.census))
        (retirement(view))
        (public(view))
        (permits(view))
        (published(view))
        section aria-labelledby="lately" {
            h2 #lately { "Lately" }
            (events_table(&view.events, None, view.now_ms))
            p { a href="/history" { "The whole history" } }
        }
    }
}

/// What the server has to say of itself and of nodes that do not follow it.
fn troubles(system: &SystemView) -> Markup {
    html! {
        @for problem in &system.damaged {
            p .banner .bad { "The repository is not whole: " (problem) "." }
        }
        @for (name, why) in &system.failing_webhooks {
            p .banner .bad { "The receiver of the webhook " (name) " takes nothing (" (why) "): see " code { "upstart webhooks list" } "." }
        }
        @for found in system.disagreeing.iter().take(NODES_SHOWN) {
            p .banner .bad {
                "Node " (node_link(&found.node)) " has upgrade " (found.disagreement.place())
                @if found.disagreement.differs() { " with other contents than the one published here. Nobody upgrades until that is settled." }
                @else { ", which is not published here: the database is older than that." }
            }
        }
        @if !system.revoked.is_empty() {
            p .banner .warn {
                (counted(system.revoked.len() as u64, "node has a key that is", "nodes have keys that are"))
                " revoked: they serve on, and hear of no upgrade. "
                (names(&NamedCount { count: system.revoked.len() as u64, names: system.revoked.iter().take(5).cloned().collect() }))
            }
        }
    }
}

/// The upgrades that are under way: published, and not everybody is there.
fn courses(view: &FleetPageView<'_>) -> Markup {
    let system = view.system;
    let offered = |upgrade: &&UpgradeSummary| {
        !upgrade.withdrawn && upgrade.version > system.retired_through && upgrade.from > Version(0)
    };
    let open: Vec<&UpgradeSummary> = (system.upgrades.iter().rev())
        .filter(offered)
        .filter(|upgrade| there(view.census, upgrade.version) < view.census.nodes)
        .collect();
    html! {
        section aria-labelledby="course" {
            h2 #course { "Upgrades" }
            @if view.census.nodes == 0 {
                p { "No nodes yet: " code { "upstart agent --data DIR --name NAME --class CLASS" } " runs one." }
            } @else if open.is_empty() {
                p .calm {
                    @if let Some(newest) = newest(system) {
                        "All " (counted(view.census.nodes, "node is", "nodes are")) " at version " (version_link(newest.version)) "."
                    }
                }
            }
            @if view.census.nodes > 0 {
                @for upgrade in open { (course(view, upgrade)) }
            }
        }
    }
}

fn course(view: &FleetPageView<'_>, upgrade: &UpgradeSummary) -> Markup {
    let census = view.census;
    let there = there(census, upgrade.version);
    html! {
        article .card {
            h3 {
                "To version " (version_link(upgrade.version))
                @if upgrade.revision.0 > 1 { ", revision " (upgrade.revision) }
            }
            @if !upgrade.description.is_empty() { p .hint { (shortened(&upgrade.description, REASON_CHARACTERS)) } }
            p .figure {
                b { (grouped(there)) } " of " (grouped(census.nodes)) " nodes"
                span .share { " " (percent(there, census.nodes)) "%" }
            }
            (progress(census, upgrade.version))
            (pace(census.courses.get(&upgrade.version), view.system.paused.is_some()))
        }
    }
}

/// How far the nodes are, as a bar.
pub(crate) fn progress(census: &FleetCensus, version: Version) -> Markup {
    let course = census.courses.get(&version).cloned().unwrap_or_default();
    let part = |colour: &str, what: &str, number| BarPart {
        colour: colour.to_owned(),
        what: what.to_owned(),
        number,
    };
    let there = there(census, version);
    let parts = [
        part(&colour(version.0), "there", there),
        part("bad", "blocked", course.blocked),
        part("mute", "not heard", course.unheard),
    ];
    html! { (bar(&parts, census.nodes)) (legend(&parts)) }
}

/// How long the rest takes, where that can be said honestly.
pub(crate) fn pace(course: Option<&CourseCensus>, is_paused: bool) -> Markup {
    let Some(course) = course.filter(|course| course.moving > 0) else {
        return html! {};
    };
    let others = counted(course.moving, "node is", "nodes are");
    html! {
        p .hint {
            @match course.rest_ms().filter(|_| !is_paused) {
                Some(rest_ms) => {
                    (grouped(course.recent)) " have settled in the last " (duration(course.pace_ms.max(1_000)))
                    ". At that pace the other " (grouped(course.moving)) " take about " b { (duration(rest_ms)) } "."
                },
                None => {
                    (others) " on the way. How long they take cannot be said: " (course.why_no_rest(is_paused)) "."
                },
            }
        }
    }
}

/// Why nodes wait, the most frequent reason first.
fn waits(view: &FleetPageView<'_>) -> Markup {
    let census = view.census;
    html! {
        @if !census.waits.is_empty() {
            section aria-labelledby="waits" {
                h2 #waits { "Why nodes wait" }
                p .hint { (counted(census.waiting, "node waits", "nodes wait")) "; one may have several reasons." }
                ol .ranked { @for wait in &census.waits { (wait_line(view, wait)) } }
            }
        }
    }
}

fn wait_line(view: &FleetPageView<'_>, wait: &WaitTally) -> Markup {
    let name = wait.kind.name();
    let approves = name == "not_approved" && view.user.may_operate();
    let waiting = newest(view.system).filter(|_| approves);
    html! {
        li {
            div .what {
                a .number href={ "/nodes?reason=" (encoded(name)) } { (grouped(wait.nodes.count)) }
                span {
                    @match wait.kind.meaning() { Some(meaning) => (with_code(meaning)), None => (name) }
                    @if let Some(until_ms) = wait.until_ms.filter(|at| *at > view.now_ms) {
                        " They go on " (not_before(view.now_ms, until_ms)) "."
                    }
                }
                @if let Some(upgrade) = waiting {
                    (button("approve", &[("version", &upgrade.version.to_string())], "Approve\u{2026}"))
                }
            }
            p .reason {
                span .hint { (wait.nodes.names.first().map_or("", String::as_str)) ": " }
                (with_code(&shortened(&wait.example, REASON_CHARACTERS)))
            }
        }
    }
}

fn failures(title: &str, failures: &[FailureTally], user: &PageUser) -> Markup {
    let id = title.to_lowercase().replace(' ', "-");
    html! {
        @if !failures.is_empty() {
            section aria-labelledby=(id) {
                h2 id=(id) { (title) }
                ol .ranked {
                    @for failure in failures {
                        li {
                            div .what {
                                span .number .alarm { (grouped(failure.nodes.count)) }
                                span { @if !failure.what.is_empty() { (failure.what) ": " } (names(&failure.nodes)) }
                                @if let ("blocked", [node], true) = (failure.what, failure.nodes.names.as_slice(), user.may_operate()) {
                                    (button("retry", &[("node", node)], "Try again\u{2026}"))
                                }
                            }
                            @if !failure.example.is_empty() {
                                p .reason { (with_code(&shortened(&failure.example, REASON_CHARACTERS))) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// How many nodes of each class do what.
fn grid(census: &FleetCensus) -> Markup {
    let used = PHASES.into_iter().filter(|phase| {
        let mut classes = census.classes.values();
        classes.any(|class| class.phases.contains_key(phase))
    });
    let used: Vec<_> = used.collect();
    html! {
        @if census.nodes > 0 {
            section aria-labelledby="grid" {
                h2 #grid { "What they do" }
                div .wide {
                    table .grid {
                        thead { tr {
                            th scope="col" { "Class" }
                            th scope="col" .right { "Nodes" }
                            @for phase in &used { th scope="col" .right { (phase.words()) } }
                            th scope="col" .right { "not heard" }
                            th scope="col" .right { "failing" }
                        } }
                        tbody {
                            @for (name, class) in &census.classes {
                                tr {
                                    th scope="row" { a href={ "/nodes?class=" (encoded(name)) } { (name) } }
                                    td .right { (grouped(class.nodes)) }
                                    @for phase in &used { (cell(name, *phase, class.phases.get(phase).copied().unwrap_or(0), class.nodes)) }
                                    td .right .alarm[class.unheard > 0] { (grouped(class.unheard)) }
                                    td .right .alarm[class.failing > 0] { (grouped(class.failing)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn cell(class: &str, at: model::api::Phase, number: u64, of: u64) -> Markup {
    let shade = (number * SHADES).div_ceil(of.max(1)).min(SHADES);
    let link = format!(
        "/nodes?class={}&phase={}",
        encoded(class),
        encoded(at.words())
    );
    html! {
        td .right .{ "shade" (shade) } {
            @if number > 0 { a href=(link) { (grouped(number)) } } @else { span .nothing { "0" } }
        }
    }
}

/// At which versions the nodes of each class are.
fn versions(census: &FleetCensus) -> Markup {
    let parts = |counts: &std::collections::BTreeMap<Version, u64>| -> Vec<BarPart> {
        let parts = counts.iter().map(|(version, number)| BarPart {
            colour: colour(version.0),
            what: match version.0 {
                0 => "not started".to_owned(),
                number => format!("version {number}"),
            },
            number: *number,
        });
        parts.collect()
    };
    html! {
        @if census.nodes > 0 {
            section aria-labelledby="versions" {
                h2 #versions { "Versions" }
                @for (name, class) in &census.classes {
                    @let parts = parts(&class.versions);
                    h3 { (name) }
                    (bar(&parts, class.nodes))
                    (legend(&parts))
                }
            }
        }
    }
}

/// Calls between versions, and what became of them.
fn calls(census: &FleetCensus) -> Markup {
    let calls = &census.calls;
    let is_any = calls.past + calls.future + calls.refused + calls.failed > 0;
    html! {
        @if is_any || !calls.resets.is_empty() {
            section aria-labelledby="calls" {
                h2 #calls { "Calls between versions" }
                p .hint { "Of all nodes, since their agents\u{2019} first starts." }
                dl .figures {
                    div { dt { "of older callers" } dd { (grouped(calls.past)) } }
                    div { dt { "of later callers" } dd { (grouped(calls.future)) } }
                    div { dt { "refused by adapters" } dd .alarm[calls.refused > 0] { (grouped(calls.refused)) } }
                    div { dt { "failed" } dd .alarm[calls.failed > 0] { (grouped(calls.failed)) } }
                }
                @for (title, why) in [("Refused, by why", &calls.refusals), ("Connections reset, by why", &calls.resets)] {
                    @if !why.is_empty() {
                        details id=(title.to_lowercase().replace([' ', ','], "-")) {
                            summary { (title) }
                            table { tbody { @for (name, number) in why {
                                tr { th scope="row" { code { (name) } } td .right { (grouped(*number)) } }
                            } } }
                        }
                    }
                }
            }
        }
    }
}
