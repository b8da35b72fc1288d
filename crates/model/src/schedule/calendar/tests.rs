//! What a calendar says, clocks that are set among it.

use super::*;
use proptest::prelude::*;

fn calendar(text: &str) -> Calendar {
    #[derive(Deserialize)]
    struct Written {
        #[serde(default)]
        windows: Vec<Window>,
        #[serde(default)]
        freeze: Vec<Freeze>,
        deadline: Option<Deadline>,
    }
    let written: Written = toml::from_str(text).expect("a calendar");
    Calendar {
        windows: written.windows,
        freezes: written.freeze,
        deadline: written.deadline,
    }
}

fn nowhere() -> SiteZone {
    SiteZone::of(&BTreeMap::new())
}

fn at(text: &str) -> Timestamp {
    text.parse().expect("a moment")
}

/// Until when it is closed at a moment; none where it is open.
fn closed(calendar: &Calendar, now: &str) -> Option<String> {
    match calendar.at(at(now), &nowhere()) {
        CalendarAnswer::Open => None,
        CalendarAnswer::Closed { until, .. } => Some(until.to_string()),
        other @ CalendarAnswer::NoZone { .. } => panic!("{other:?}"),
    }
}

#[test]
fn from_the_deadline_on_windows_are_not_waited_for_and_freezes_are() {
    let late = calendar(
        r#"
        windows = [{ days = ["mon"], start = "22:00", length = "6h", zone = "UTC" }]
        freeze = [{ from = "2026-12-10", until = "2026-12-11", zone = "UTC" }]
        deadline = { at = "2026-12-09T12:00", zone = "Europe/Berlin" }
        "#,
    );
    // A Tuesday: the next window would be on Monday, and the deadline comes first.
    let until = closed(&late, "2026-12-08T12:00:00Z");
    assert_eq!(until.as_deref(), Some("2026-12-09T11:00:00Z"));
    assert_eq!(closed(&late, "2026-12-09T11:00:00Z"), None);
    let until = closed(&late, "2026-12-10T00:00:00Z");
    assert_eq!(until.as_deref(), Some("2026-12-11T00:00:00Z"));
    assert_eq!(closed(&late, "2026-12-12T12:00:00Z"), None);
}

#[test]
fn a_window_is_open_from_its_start_for_its_length() {
    let nights = calendar(
        r#"windows = [{ days = ["mon", "fri"], start = "22:00", length = "6h", zone = "Europe/Berlin" }]"#,
    );
    // A Monday in winter: Berlin is an hour ahead.
    assert_eq!(
        closed(&nights, "2026-11-30T20:59:59.999Z").as_deref(),
        Some("2026-11-30T21:00:00Z")
    );
    assert_eq!(closed(&nights, "2026-11-30T21:00:00Z"), None);
    assert_eq!(closed(&nights, "2026-12-01T02:59:59.999Z"), None);
    assert_eq!(
        closed(&nights, "2026-12-01T03:00:00Z").as_deref(),
        Some("2026-12-04T21:00:00Z")
    );
}

#[test]
fn a_start_that_the_clock_leaves_out_is_later_and_one_that_it_shows_twice_is_the_first() {
    let early = calendar(
        r#"windows = [{ days = ["sun"], start = "02:30", length = "30m", zone = "Europe/Berlin" }]"#,
    );
    // Forward from 2:00 to 3:00 on the 29th of March 2026; back from 3:00 to 2:00 on the 25th of October.
    assert_eq!(
        closed(&early, "2026-03-29T00:59:00Z").as_deref(),
        Some("2026-03-29T01:30:00Z"),
        "at 3:30 on the new clock"
    );
    assert_eq!(
        closed(&early, "2026-03-29T02:00:00Z").as_deref(),
        Some("2026-04-05T00:30:00Z")
    );
    assert_eq!(closed(&early, "2026-10-25T00:30:00Z"), None);
    assert_eq!(
        closed(&early, "2026-10-25T01:30:00Z").as_deref(),
        Some("2026-11-01T01:30:00Z"),
        "the second 2:30 begins no window"
    );
}

#[test]
fn a_freeze_closes_windows_and_one_that_opens_in_it_is_open_after_it() {
    let text = r#"
        windows = [{ start = "22:00", length = "4h", zone = "UTC" }]
        freeze = [
            { from = "2026-12-20", until = "2026-12-27T23:00", zone = "UTC", reason = "the shop is full" },
            { from = "2026-12-27T12:00", until = "2026-12-28", zone = "UTC" },
        ]
    "#;
    let frozen = calendar(text);
    assert_eq!(closed(&frozen, "2026-12-19T23:59:59Z"), None);
    let told = frozen.at(at("2026-12-20T00:00:00Z"), &nowhere());
    let CalendarAnswer::Closed { until, frozen, .. } = told else {
        panic!("{told:?}");
    };
    assert_eq!(until, at("2026-12-28T00:00:00Z"));
    let frozen = frozen.map(|freeze| freeze.reason);
    assert_eq!(frozen.as_deref(), Some("the shop is full"));
    let ends_by_day = calendar(
        &text
            .replace("T23:00", "T09:00")
            .replace("2026-12-28", "2026-12-27T13:00"),
    );
    assert_eq!(
        closed(&ends_by_day, "2026-12-20T00:00:00Z").as_deref(),
        Some("2026-12-27T22:00:00Z")
    );
}

#[test]
fn the_sites_zone_is_what_the_nodes_attribute_names() {
    let office = calendar(
        r#"windows = [{ days = ["mon"], start = "09:00", length = "1h", zone = "site" }]"#,
    );
    let site = |name: &str| SiteZone::of(&[("zone".to_owned(), name.to_owned())].into());
    let now = at("2026-11-30T00:30:00Z");
    assert_eq!(office.at(now, &site("Asia/Tokyo")), CalendarAnswer::Open);
    assert!(matches!(
        office.at(now, &site("America/New_York")),
        CalendarAnswer::Closed { .. }
    ));
    let found = |answer| match answer {
        CalendarAnswer::NoZone { found } => found,
        other => panic!("{other:?}"),
    };
    assert_eq!(found(office.at(now, &nowhere())), None);
    let wrong = found(office.at(now, &site("Mars/Olympus")));
    assert_eq!(wrong.as_deref(), Some("Mars/Olympus"));
}

#[test]
fn what_cannot_be_read_says_what_would_be() {
    let told = |key: &str| {
        let text = r#"days = ["mon"], start = "22:00", length = "6h", zone = "UTC""#;
        let (name, _) = key.split_once(" = ").expect("a key");
        let kept = text
            .split(", ")
            .filter(|part| !part.starts_with(&format!("{name} ")));
        let parts: Vec<&str> = kept.chain([key]).collect();
        let text = format!("window = {{ {} }}", parts.join(", "));
        let read: Result<BTreeMap<String, Window>, _> = toml::from_str(&text);
        read.expect_err(key).message().to_owned()
    };
    for (key, words) in [
        (r#"days = ["monday"]"#, "days are mon, tue"),
        (r#"days = []"#, "leave it out for every day"),
        (r#"start = "25:00""#, r#"start = "22:00""#),
        (r#"length = "0s""#, r#"length = "6h 30m""#),
        (r#"length = "8d""#, "a week at most"),
        (r#"zone = "Berlin""#, "Europe/Berlin"),
    ] {
        let message = told(key);
        assert!(message.contains(words), "{key}: {message}");
    }
    for (from, until, words) in [
        (
            "2026-12-20T00:00Z",
            "2026-12-21",
            "on the clock of the zone",
        ),
        ("tomorrow", "2026-12-21", "2026-12-20T18:00"),
        ("2026-12-21", "2026-12-20", "holds at no moment"),
    ] {
        let text = format!(r#"freeze = {{ from = "{from}", until = "{until}", zone = "UTC" }}"#);
        let read: Result<BTreeMap<String, Freeze>, _> = toml::from_str(&text);
        let message = read.expect_err(from).message().to_owned();
        assert!(message.contains(words), "{message}");
    }
}

const ZONES: [&str; 6] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    // Half an hour of daylight saving time.
    "Australia/Lord_Howe",
    // Has left out a whole day, the 30th of December 2011.
    "Pacific/Apia",
    "Asia/Kathmandu",
];

prop_compose! {
    fn any_window()(
        days in proptest::sample::subsequence(DAYS.to_vec(), 1..=7),
        (hour, minute) in (0_i8..24, 0_i8..60),
        minutes in 1_i64..=7 * 24 * 60,
        zone in proptest::sample::select(ZONES.to_vec()),
    ) -> Window {
        Window {
            days: days.into_iter().map(|(_, day)| day).collect(),
            start: Time::constant(hour, minute, 0, 0),
            length: SignedDuration::from_mins(minutes),
            zone: Zone::read(zone).expect("a zone"),
        }
    }
}

prop_compose! {
    fn any_freeze(around: DateTime)(
        from in -20_000_i64..20_000,
        minutes in 1_i64..10_000,
        zone in proptest::sample::select(ZONES.to_vec()),
    ) -> Freeze {
        let from = around.checked_add(SignedDuration::from_mins(from)).expect("a time");
        Freeze {
            from,
            until: from.checked_add(SignedDuration::from_mins(minutes)).expect("a time"),
            zone: Zone::read(zone).expect("a zone"),
            reason: String::new(),
        }
    }
}

/// Whether a node may begin, by looking at every day of three weeks.
fn is_open_by_looking(calendar: &Calendar, now: Timestamp) -> bool {
    let zone = |zone: &Zone| match zone {
        Zone::Named(zone) => zone.clone(),
        Zone::Site => unreachable!("none was made"),
    };
    let within = |window: &Window| {
        let zone = zone(&window.zone);
        let today = now.to_zoned(zone.clone()).date();
        let first = today.checked_sub(Span::new().days(20)).expect("a day");
        first.series(Span::new().days(1)).take(40).any(|day| {
            let begins = day.to_datetime(window.start).to_zoned(zone.clone());
            let begins = begins.expect("a moment").timestamp();
            let ends = begins.checked_add(window.length).expect("a moment");
            window.days.contains(&day.weekday()) && begins <= now && now < ends
        })
    };
    let frozen = |freeze: &Freeze| {
        let moment = |shown: DateTime| {
            let shown = shown.to_zoned(zone(&freeze.zone)).expect("a moment");
            shown.timestamp()
        };
        moment(freeze.from) <= now && now < moment(freeze.until)
    };
    let is_late = |deadline: &Deadline| {
        let shown = deadline.at.to_zoned(zone(&deadline.zone));
        shown.expect("a moment").timestamp() <= now
    };
    let open = calendar.windows.is_empty()
        || calendar.windows.iter().any(within)
        || calendar.deadline.iter().any(is_late);
    open && !calendar.freezes.iter().any(frozen)
}

/// Moments around which clocks are set, and one around which none is.
const MOMENTS: [&str; 7] = [
    "2026-03-29T01:00:00Z",
    "2026-10-25T01:00:00Z",
    "2026-03-08T07:00:00Z",
    "2026-11-01T06:00:00Z",
    "2026-04-04T15:00:00Z",
    "2011-12-30T10:00:00Z",
    "2026-07-01T00:00:00Z",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Open is what looking finds open, and what is promised is the first moment of that kind: to the minute, as windows are written.
    #[test]
    fn what_is_promised_is_the_first_moment_at_which_a_node_may_begin(
        windows in proptest::collection::vec(any_window(), 0..3),
        (moment, minutes, freezes, deadline) in proptest::sample::select(MOMENTS.to_vec())
            .prop_flat_map(|moment| {
                let shown = at(moment).to_zoned(TimeZone::UTC).datetime();
                let freezes = proptest::collection::vec(any_freeze(shown), 0..3);
                let deadline = any_freeze(shown).prop_map(|Freeze { from: at, zone, .. }| Deadline { at, zone });
                (Just(moment), -3_000_i64..3_000, freezes, proptest::option::of(deadline))
            }),
    ) {
        let calendar = Calendar { windows, freezes, deadline };
        let now = at(moment).checked_add(SignedDuration::from_mins(minutes)).expect("a moment");
        match calendar.at(now, &nowhere()) {
            CalendarAnswer::Open => prop_assert!(is_open_by_looking(&calendar, now)),
            CalendarAnswer::NoZone { found } => prop_assert!(false, "{found:?}"),
            CalendarAnswer::Closed { until, .. } => {
                prop_assert!(is_open_by_looking(&calendar, until));
                let minute = SignedDuration::from_mins(1);
                let before = until.checked_sub(minute).expect("a moment");
                prop_assert!(!is_open_by_looking(&calendar, before.max(now)));
                // Every moment between is closed: looked at in steps that no window is shorter than is too dear, so in some.
                let between = until.duration_since(now);
                for part in 0..40 {
                    let at = now.checked_add(between * part / 40).expect("a moment");
                    prop_assert!(!is_open_by_looking(&calendar, at), "open at {at}");
                }
            }
        }
    }

    #[test]
    fn a_calendar_reads_as_it_was_written(
        windows in proptest::collection::vec(any_window(), 0..3),
        freezes in proptest::collection::vec(any_freeze(DateTime::constant(2026, 12, 1, 0, 0, 0, 0)), 0..3),
    ) {
        for window in windows {
            let text = toml::to_string(&window).expect("written");
            prop_assert_eq!(toml::from_str::<Window>(&text).expect("read"), window);
        }
        for freeze in freezes {
            let text = toml::to_string(&freeze).expect("written");
            prop_assert_eq!(toml::from_str::<Freeze>(&text).expect("read"), freeze);
        }
    }
}
