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
fn a_freeze_between_windows_tells_both_with_their_own_moments() {
    let both = schedule(
        r#"
        windows = [{ days = ["fri"], start = "13:00", length = "2h", zone = "UTC" }]
        freeze = [{ from = "2026-11-30", until = "2026-12-01", zone = "UTC", reason = "month end" }]
        "#,
    );
    let all = system(vec![node(1, "a", 1)]);
    let (reason, until) = waits(ask(&both, &all, MONDAY_NOON_MS));
    assert_eq!(
        reason,
        "frozen: month end; until Tue 2026-12-01 00:00 (UTC); waits for the window that opens Fri 2026-12-04 13:00 (UTC)"
    );
    assert_eq!(until, Some(MONDAY_NOON_MS + 97 * HOUR_MS));
}

#[test]
fn who_passes_a_version_begins_within_its_times_too() {
    let mut all = system(vec![node(1, "a", 1)]);
    all.passed = vec![
        schedule(r#"windows = [{ start = "14:00", length = "3h", zone = "UTC" }]"#),
        schedule(r#"freeze = [{ from = "2026-11-30", until = "2026-11-30T16:00", zone = "UTC" }]"#),
    ];
    let (reason, until) = waits(ask(&Schedule::default(), &all, MONDAY_NOON_MS));
    assert!(
        reason.contains("frozen") && reason.contains("window"),
        "{reason}"
    );
    assert_eq!(until, Some(MONDAY_NOON_MS + 4 * HOUR_MS));
    // The window closes before the freeze of the version that it goes to is over: the next one.
    let late =
        schedule(r#"freeze = [{ from = "2026-11-30", until = "2026-11-30T18:00", zone = "UTC" }]"#);
    let (_, until) = waits(ask(&late, &all, MONDAY_NOON_MS));
    assert_eq!(until, Some(MONDAY_NOON_MS + 26 * HOUR_MS));
    let nowhere = BTreeMap::new();
    let closed = |hours: u64| late.closed(&all.passed, &nowhere, MONDAY_NOON_MS + hours * HOUR_MS);
    assert!(closed(25).is_some());
    assert_eq!(closed(26), None);
}

#[test]
fn what_is_no_time_is_refused_and_never_left_out() {
    let freeze = |from: &str, until: &str, zone: &str| {
        format!(r#"freeze = [{{ from = "{from}", until = "{until}", zone = "{zone}" }}]"#)
    };
    let window = |length: &str, zone: &str| {
        format!(r#"windows = [{{ start = "09:00", length = "{length}", zone = "{zone}" }}]"#)
    };
    for (text, why) in [
        (freeze("2026-01-01", "9999-12-31", "UTC"), "too far away"),
        (freeze("-009999-01-01", "2026-01-01", "UTC"), "too far away"),
        (
            freeze("2026-12-02T00:00-05:00", "2026-12-03", "UTC"),
            "without an offset",
        ),
        (
            freeze("2026-12-02", "2026-12-02", "UTC"),
            "`until` is the first moment",
        ),
        (
            freeze("2026-12-02", "2026-12-03", "localtime"),
            "is no zone",
        ),
        (window("8d", "UTC"), "a week at most"),
        (window("soon", "UTC"), "in days, hours and minutes"),
        (window("1h", "Factory"), "is no zone"),
        ("windows = []".to_owned(), "leave it out"),
        ("freeze = []".to_owned(), "leave it out"),
        ("waves = []".to_owned(), "leave it out"),
        ("soak_ms = 99999999999".to_owned(), "longer than a year"),
        (
            "after_soak_ms = 99999999999\nafter = ['b']".to_owned(),
            "longer than a year",
        ),
    ] {
        let refused = toml::from_str::<Schedule>(&text)
            .expect_err(&text)
            .to_string();
        assert!(refused.contains(why), "{refused}");
    }
    schedule(&window("7d", "UTC"));
    // The last day that can be written holds until then.
    let for_good = schedule(&freeze("2026-01-01", "9000-12-31", "Pacific/Apia"));
    let all = system(vec![node(1, "a", 1)]);
    let (reason, _) = waits(ask(&for_good, &all, MONDAY_NOON_MS));
    assert!(reason.contains("frozen"), "{reason}");
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
        "frozen: the shop is full; until Wed 2026-12-02 06:00 (Europe/Berlin)"
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
