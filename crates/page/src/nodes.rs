//! The nodes that somebody looks for, a page of them.

use crate::waits::wait_kinds;
use crate::words::{
    PHASES, child, encoded, grouped, node_link, not_before, phase_of, shortened, with_code,
};
use maud::{Markup, html};
use model::api::{NodeFact, WaitCode};
use model::ids::Version;

/// How much of a reason stands in the list.
const REASON_CHARACTERS: usize = 160;

/// Which nodes somebody looks for. What is empty asks for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFilter {
    /// The class that a node has at its version.
    pub class: String,
    /// The version at which it has settled.
    pub version: String,
    /// What it does; `unheard` and `failing` besides.
    pub phase: String,
    /// The kind of reason for which it waits.
    pub reason: String,
    /// What its name begins with.
    pub name: String,
}

/// Those that are no phases: not heard for too long, and software that is not well.
const STATES: [&str; 2] = ["unheard", "failing"];

impl NodeFilter {
    /// Whether it asks for nothing in particular.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a node is looked for, which has this class at its version.
    #[must_use]
    pub fn takes(&self, fact: &NodeFact, class: &str) -> bool {
        let status = &fact.report.status;
        let says = |wanted: &str, is: bool| wanted.is_empty() || is;
        let version = self.version.trim().parse().map(Version);
        says(&self.class, class == self.class)
            && says(&self.version, version == Ok(status.version))
            && says(&self.phase, self.takes_phase(fact))
            && says(&self.name, fact.name.starts_with(self.name.trim()))
            && says(&self.reason, self.takes_reason(status.reason.as_deref()))
    }

    fn takes_phase(&self, fact: &NodeFact) -> bool {
        match self.phase.as_str() {
            "unheard" => !fact.reachable,
            "failing" => matches!(child(fact), "crashed" | "not answering"),
            name => phase_of(name) == Some(fact.report.status.phase),
        }
    }

    fn takes_reason(&self, reason: Option<&str>) -> bool {
        let kinds = reason.filter(|reason| !reason.is_empty()).map(wait_kinds);
        kinds.is_some_and(|kinds| kinds.iter().any(|kind| kind.name() == self.reason))
    }

    /// As a query, without the cursor.
    fn query(&self) -> String {
        let values = [
            ("class", &self.class),
            ("version", &self.version),
            ("phase", &self.phase),
            ("reason", &self.reason),
            ("name", &self.name),
        ];
        let set = values.iter().filter(|(_, value)| !value.is_empty());
        let set = set.map(|(name, value)| format!("{name}={}", encoded(value)));
        set.collect::<Vec<_>>().join("&")
    }
}

/// What a page of nodes is made from.
#[derive(Clone, Debug)]
pub struct NodesPageView<'a> {
    /// The nodes, each with its class at its version.
    pub nodes: Vec<(&'a NodeFact, &'a str)>,
    /// Which are looked for.
    pub filter: &'a NodeFilter,
    /// The classes that there are.
    pub classes: Vec<String>,
    /// Behind which name the next page begins, if there is one.
    pub next: Option<String>,
    /// Whether this is the first page.
    pub is_first: bool,
    /// The server's time.
    pub now_ms: u64,
}

/// The page.
#[must_use]
pub fn nodes_page(view: &NodesPageView<'_>) -> Markup {
    html! {
        (filters(view))
        @if view.nodes.is_empty() {
            p { @if view.filter.is_empty() && view.is_first { "No nodes yet." } @else { "No node is so." } }
        } @else {
            div .wide { table .nodes {
                thead { tr {
                    th scope="col" { "Node" }
                    th scope="col" { "Class" }
                    th scope="col" { "Version" }
                    th scope="col" { "Phase" }
                    th scope="col" { "Software" }
                    th scope="col" { "Why, and until when" }
                } }
                tbody { @for (fact, class) in &view.nodes { (row(fact, class, view.now_ms)) } }
            } }
        }
        (pages(view))
    }
}

fn row(fact: &NodeFact, class: &str, now_ms: u64) -> Markup {
    let status = &fact.report.status;
    html! {
        tr {
            th scope="row" { (node_link(&fact.name)) }
            td data-label="Class" { (class) }
            td data-label="Version" {
                (status.version)
                @if let Some(target) = status.target.filter(|target| *target != status.version) { " \u{2192} " (target) }
            }
            td data-label="Phase" { (status.phase.words()) }
            td data-label="Software" .alarm[child(fact) != "running"] { (child(fact)) }
            td data-label="Why" .reason {
                @if let Some(reason) = &status.reason { (with_code(&shortened(reason, REASON_CHARACTERS))) }
                @if let Some(until_ms) = status.until_ms.filter(|at| *at > now_ms) { "; " (not_before(now_ms, until_ms)) }
            }
        }
    }
}

fn filters(view: &NodesPageView<'_>) -> Markup {
    let filter = view.filter;
    let is_code = WaitCode::ALL
        .iter()
        .any(|code| code.name() == filter.reason);
    html! {
        form .filters method="get" action="/nodes" {
            label { "Name begins with " input type="search" name="name" value=(filter.name) autocomplete="off" spellcheck="false"; }
            label { "Class "
                select name="class" {
                    option value="" { "any" }
                    @for class in &view.classes { option value=(class) selected[*class == filter.class] { (class) } }
                }
            }
            label { "Version " input .short type="text" inputmode="numeric" name="version" value=(filter.version) autocomplete="off"; }
            label { "Phase "
                select name="phase" {
                    option value="" { "any" }
                    @for known in PHASES { option selected[known.words() == filter.phase] { (known.words()) } }
                    @for state in STATES { option selected[state == filter.phase] { (state) } }
                }
            }
            label { "Waits for "
                select name="reason" {
                    option value="" { "anything" }
                    @for code in WaitCode::ALL { option value=(code.name()) selected[code.name() == filter.reason] { (code.name()) } }
                    @if !is_code && !filter.reason.is_empty() { option selected { (filter.reason) } }
                }
            }
            button type="submit" { "Show" }
            @if !filter.is_empty() { a href="/nodes" { "All" } }
        }
    }
}

fn pages(view: &NodesPageView<'_>) -> Markup {
    let query = view.filter.query();
    let joined = if query.is_empty() { "" } else { "&" };
    html! {
        nav .pages aria-label="Pages of the list" {
            @if !view.is_first { a href={ "/nodes?" (query) } { "First page" } }
            span .hint { (grouped(view.nodes.len() as u64)) " on this page" }
            @if let Some(next) = &view.next {
                a rel="next" href={ "/nodes?" (query) (joined) "after=" (encoded(next)) } { "Next page" }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_a_query_whatever_stands_in_it() {
        let filter = NodeFilter {
            class: "\"><script>".to_owned(),
            reason: "a&b=c".to_owned(),
            ..NodeFilter::default()
        };
        let query = filter.query();
        assert_eq!(query, "class=%22%3E%3Cscript%3E&reason=a%26b%3Dc");
        let view = NodesPageView {
            nodes: Vec::new(),
            filter: &filter,
            classes: vec!["\"><script>".to_owned()],
            next: Some("\"><script>".to_owned()),
            is_first: false,
            now_ms: 0,
        };
        let page = nodes_page(&view).into_string();
        assert!(!page.contains("<script"), "{page}");
        assert!(page.contains("after=%22%3E%3Cscript%3E\""), "{page}");
    }
}
