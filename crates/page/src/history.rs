//! The history, newest first, a page of it.

use crate::words::{ago, encoded, node_link, with_code};
use maud::{Markup, html};
use model::api::{Event, EventKind};

/// Which entries somebody looks for. What is empty asks for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryFilter {
    /// What the kind begins with: `node.settled`, or `node.`.
    pub kind: String,
    /// The node that it is about.
    pub node: String,
    /// The version that it is about.
    pub version: String,
}

impl HistoryFilter {
    /// Whether it asks for nothing in particular.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether an entry is looked for.
    #[must_use]
    pub fn takes(&self, event: &Event) -> bool {
        let version = event.version.map(|version| version.to_string());
        event.kind.starts_with(self.kind.trim())
            && (self.node.is_empty() || event.node.as_deref() == Some(self.node.trim()))
            && (self.version.is_empty() || version.as_deref() == Some(self.version.trim()))
    }

    fn query(&self) -> String {
        let values = [
            ("kind", &self.kind),
            ("node", &self.node),
            ("version", &self.version),
        ];
        let set = values.iter().filter(|(_, value)| !value.is_empty());
        let set = set.map(|(name, value)| format!("{name}={}", encoded(value)));
        set.collect::<Vec<_>>().join("&")
    }
}

/// What a page of the history is made from.
#[derive(Clone, Debug)]
pub struct HistoryPageView<'a> {
    /// The entries, newest first.
    pub events: Vec<Event>,
    /// Which are looked for.
    pub filter: &'a HistoryFilter,
    /// Before which entry the next page begins, if there is one.
    pub next: Option<u64>,
    /// Whether this is the first page.
    pub is_first: bool,
    /// How many entries were looked through.
    pub looked_through: u64,
    /// The server's time.
    pub now_ms: u64,
}

/// The page.
#[must_use]
pub fn history_page(view: &HistoryPageView<'_>) -> Markup {
    let filter = view.filter;
    let query = filter.query();
    let joined = if query.is_empty() { "" } else { "&" };
    html! {
        form .filters method="get" action="/history" {
            label { "Kind "
                input type="search" name="kind" value=(filter.kind) list="kinds" autocomplete="off" spellcheck="false";
                datalist #kinds { @for kind in EventKind::ALL { option value=(kind.name()) {} } }
            }
            label { "Node " input type="search" name="node" value=(filter.node) autocomplete="off" spellcheck="false"; }
            label { "Version " input .short type="text" inputmode="numeric" name="version" value=(filter.version) autocomplete="off"; }
            button type="submit" { "Show" }
            @if !filter.is_empty() { a href="/history" { "All" } }
        }
        @if view.events.is_empty() {
            p {
                @if filter.is_empty() { "Nothing has happened yet." }
                @else { "None of the " (view.looked_through) " entries that were looked through is so." }
            }
        }
        (events_table(&view.events, None, view.now_ms))
        nav .pages aria-label="Pages of the history" {
            @if !view.is_first { a href={ "/history?" (query) } { "Newest" } }
            @if let Some(next) = view.next {
                a rel="next" href={ "/history?" (query) (joined) "before=" (next) } { "Older" }
            }
        }
    }
}

/// Entries of the history; `of` is the node on whose page they stand.
pub(crate) fn events_table(events: &[Event], of: Option<&str>, now_ms: u64) -> Markup {
    html! {
        @if !events.is_empty() {
            div .wide { table .events {
                thead { tr {
                    th scope="col" { "When" }
                    th scope="col" { "What" }
                    th scope="col" { "About" }
                    th scope="col" { "Message" }
                    th scope="col" { "By" }
                } }
                tbody { @for event in events {
                    tr {
                        td data-label="When" { (ago(now_ms, event.at_ms)) }
                        td data-label="What" { code { (event.kind) } }
                        td data-label="About" {
                            @if let Some(node) = event.node.as_ref().filter(|node| of != Some(node)) { (node_link(node)) " " }
                            @if let Some(version) = event.version { "[" (version) "]" }
                        }
                        td data-label="Message" .reason { (with_code(&event.message)) }
                        td data-label="By" { @if event.node.as_ref() != Some(&event.author) { (event.author) } }
                    }
                } }
            } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::ids::Version;

    const NASTY: &str = "</td><script>alert(1)</script>";

    fn event() -> Event {
        Event {
            sequence: 7,
            at_ms: 0,
            author: NASTY.to_owned(),
            proven: None,
            node: Some(NASTY.to_owned()),
            kind: NASTY.to_owned(),
            version: Some(Version(2)),
            message: format!("{NASTY} javascript:alert(1)"),
        }
    }

    #[test]
    fn what_nodes_tell_is_text() {
        let page = events_table(&[event()], None, 5).into_string();
        assert!(!page.contains("<script"), "{page}");
        assert!(!page.contains("href=\"javascript"), "{page}");
    }

    #[test]
    fn a_filter_takes_what_it_names() {
        let mut filter = HistoryFilter::default();
        assert!(filter.is_empty() && filter.takes(&event()));
        filter.version = "2".to_owned();
        assert!(filter.takes(&event()));
        filter.node = "other".to_owned();
        assert!(!filter.takes(&event()));
        filter = HistoryFilter {
            kind: "node.".to_owned(),
            ..HistoryFilter::default()
        };
        assert!(!filter.takes(&event()));
    }
}
