//! At what times nodes begin, together with what else they wait for.

use super::*;

/// 2026-11-30 is a Monday.
const MONDAY_NOON_MS: u64 = 1_796_040_000_000;
const HOUR_MS: u64 = 3_600_000;

#[test]
fn a_wait_ends_at_the_earliest_at_a_time_at_which_a_node_may_begin() {
    let text = r#"
        soak_ms = 7200000
        windows = [{ start = "13:00", length = "2h", zone = "UTC" }]
    "#;
    let nightly = schedule(text);
    let mut there = node(2, "a", 2);
    there.steady_since_ms = MONDAY_NOON_MS - HOUR_MS;
    let mut all = system(vec![node(1, "a", 1), there.clone()]);
    let (reason, until) = waits(ask(&nightly, &all, MONDAY_NOON_MS));
    assert!(reason.contains("soak time"), "{reason}");
    let opens = "waits for the window that opens Mon 2026-11-30 13:00 (UTC)";
    assert!(reason.contains(opens), "{reason}");
    // The soak time ends when the window opens.
    assert_eq!(until, Some(MONDAY_NOON_MS + HOUR_MS));
    let at_one = MONDAY_NOON_MS + HOUR_MS;
    assert_eq!(ask(&nightly, &all, at_one), Verdict::Go);
    // It ends when the window has closed, so that the next one counts.
    all.nodes[1].steady_since_ms = at_one + HOUR_MS;
    let (reason, until) = waits(ask(&nightly, &all, at_one + HOUR_MS));
    assert!(!reason.contains("window"), "one is open: {reason}");
    assert_eq!(until, Some(at_one + 24 * HOUR_MS));
    // A person may be fast: not before the window opens, all the same.
    let asks = schedule(&text.replace("soak_ms = 7200000", "approval = true"));
    let (reason, until) = waits(ask(&asks, &all, MONDAY_NOON_MS));
    assert!(reason.contains("waits for approval"), "{reason}");
    assert_eq!(until, Some(at_one));
    assert_eq!(waits(ask(&asks, &all, at_one)).1, None);
}

#[test]
fn a_freeze_says_why_and_a_node_without_a_zone_what_to_do() {
    let frozen = schedule(
        r#"freeze = [{ from = "2026-11-30", until = "2026-12-02T06:00", zone = "Europe/Berlin", reason = "the shop is full" }]"#,
    );
    let mut all = system(vec![node(1, "a", 1)]);
    let (reason, until) = waits(ask(&frozen, &all, MONDAY_NOON_MS));
    assert_eq!(
        reason,
        "frozen: the shop is full; nodes may begin again Wed 2026-12-02 06:00 (Europe/Berlin)"
    );
    assert_eq!(until, Some(MONDAY_NOON_MS + 41 * HOUR_MS));
    let office = schedule(r#"windows = [{ start = "09:00", length = "1h", zone = "site" }]"#);
    let (reason, until) = waits(ask(&office, &all, MONDAY_NOON_MS));
    assert!(reason.contains("--attribute zone="), "{reason}");
    assert_eq!(until, None);
    let zone = |name: &str| [("zone".to_owned(), name.to_owned())].into();
    all.nodes[0].attributes = zone("Atlantic/Azores");
    let (reason, until) = waits(ask(&office, &all, MONDAY_NOON_MS));
    assert!(reason.contains("09:00 (Atlantic/Azores)"), "{reason}");
    assert_eq!(until, Some(MONDAY_NOON_MS + 22 * HOUR_MS));
    all.nodes[0].attributes = zone("America/Sao_Paulo");
    assert_eq!(ask(&office, &all, MONDAY_NOON_MS), Verdict::Go);
}
