//! The page on events and reasons says what the code says.

use model::api::{EventKind, EventSeverity, WaitCode};
use std::fmt::Write;
use std::path::Path;

fn table(head: &str, rows: impl Iterator<Item = (&'static str, &'static str)>) -> String {
    let mut table = format!("| {head} | means |\n|---|---|\n");
    for (name, meaning) in rows {
        let _ = writeln!(table, "| `{name}` | {} |", meaning.trim_end_matches('.'));
    }
    table
}

#[test]
fn the_reference_lists_every_event_and_every_reason_to_wait() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/events.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let events = EventKind::ALL.iter();
    let events = table("event", events.map(|kind| (kind.name(), kind.meaning())));
    let codes = WaitCode::ALL.iter();
    let codes = table("code", codes.map(|code| (code.name(), code.meaning())));
    let mut severities = "| severity | events |\n|---|---|\n".to_owned();
    for severity in [EventSeverity::Error, EventSeverity::Warning] {
        let kinds = EventKind::ALL.iter();
        let kinds = kinds.filter(|kind| kind.severity() == severity);
        let kinds: Vec<String> = kinds.map(|kind| format!("`{kind}`")).collect();
        let _ = writeln!(
            severities,
            "| `{}` | {} |",
            severity.name(),
            kinds.join(", ")
        );
    }
    for table in [events, codes, severities] {
        assert!(
            page.contains(&table),
            "docs/reference/events.md must have:\n{table}"
        );
    }
}
