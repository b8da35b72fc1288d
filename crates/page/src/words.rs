//! Numbers, times and names as people read them.

use jiff::Timestamp;
use maud::{Markup, PreEscaped, html};
use model::api::{ChildState, NodeFact, Phase};
use model::visible::{is_order, visible};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// A second, a minute, an hour and a day.
const UNITS_MS: [(u64, &str); 4] = [
    (86_400_000, "d"),
    (3_600_000, "h"),
    (60_000, "min"),
    (1_000, "s"),
];

/// Every phase, in the order of a node's life through an upgrade.
pub(crate) const PHASES: [Phase; 10] = [
    Phase::Joining,
    Phase::Settled,
    Phase::Fetching,
    Phase::Staged,
    Phase::Stopping,
    Phase::Transforming,
    Phase::Committed,
    Phase::Probing,
    Phase::FlippingBack,
    Phase::Blocked,
];

/// A text as one part of a path or a query.
#[must_use]
pub fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// A number with its thousands apart.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// So many of something.
pub(crate) fn counted(number: u64, one: &str, many: &str) -> String {
    format!(
        "{} {}",
        grouped(number),
        if number == 1 { one } else { many }
    )
}

/// A duration in its two largest units.
pub(crate) fn duration(ms: u64) -> String {
    let first = UNITS_MS.iter().position(|(unit, _)| ms >= *unit);
    let Some(first) = first else {
        return "less than 1 s".to_owned();
    };
    let (unit, name) = UNITS_MS[first];
    let whole = format!("{} {name}", ms / unit);
    match UNITS_MS.get(first + 1) {
        Some((smaller, name)) if ms % unit >= *smaller => {
            format!("{whole} {} {name}", ms % unit / smaller)
        }
        _ => whole,
    }
}

/// A moment by the server's clock, in full.
pub(crate) fn moment(at_ms: u64) -> String {
    let at = i64::try_from(at_ms).ok();
    let at = at.and_then(|at| Timestamp::from_millisecond(at).ok());
    at.map_or_else(
        || format!("{at_ms} ms"),
        |at| at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
    )
}

/// A moment as a machine reads it; browsers with the script show it in their own zone.
fn stamp(at_ms: u64) -> String {
    moment(at_ms).replace(" UTC", "Z").replace(' ', "T")
}

/// How long ago it was; the script counts on.
pub(crate) fn ago(now_ms: u64, at_ms: u64) -> Markup {
    let since = duration(now_ms.saturating_sub(at_ms));
    html! { time datetime=(stamp(at_ms)) title=(moment(at_ms)) data-ago=(at_ms) { (since) " ago" } }
}

/// How long ago a node was heard: the next answer tells a newer moment, so that the script counts on only while none comes.
pub(crate) fn heard(now_ms: u64, at_ms: u64) -> Markup {
    let since = duration(now_ms.saturating_sub(at_ms));
    html! { time datetime=(stamp(at_ms)) title=(moment(at_ms)) data-heard=(at_ms) { (since) " ago" } }
}

/// The time of day at a moment, where that is today; else all of it.
fn clock(now_ms: u64, at_ms: u64) -> String {
    let (day, at) = (moment(now_ms), moment(at_ms));
    let parts = at.split_once(' ').zip(day.split_once(' '));
    match parts {
        Some(((at_day, time), (day, _))) if at_day == day => time.to_owned(),
        _ => at,
    }
}

/// Before which moment something does not happen.
pub(crate) fn not_before(now_ms: u64, at_ms: u64) -> Markup {
    html! { "not before " (clock(now_ms, at_ms)) " (" (until(now_ms, at_ms)) ")" }
}

/// When it is, and how long until then.
pub(crate) fn until(now_ms: u64, at_ms: u64) -> Markup {
    let left = at_ms.saturating_sub(now_ms);
    html! {
        time datetime=(stamp(at_ms)) title=(moment(at_ms)) data-until=(at_ms) {
            @if left == 0 { "now" } @else { "in " (duration(left)) }
        }
    }
}

/// A share in whole percent: never 100 before it is whole, never 0 once something is there.
pub(crate) fn percent(part: u64, of: u64) -> u64 {
    let exact = part.saturating_mul(100) / of.max(1);
    match part {
        0 => 0,
        part if part >= of => 100,
        _ => exact.clamp(1, 99),
    }
}

/// A phase by the name that filters have for it.
pub(crate) fn phase_of(name: &str) -> Option<Phase> {
    PHASES.into_iter().find(|known| known.words() == name)
}

/// A node's software.
pub(crate) fn child(fact: &NodeFact) -> &'static str {
    if !fact.reachable {
        return "not known";
    }
    match fact.report.status.child {
        ChildState::Stopped => "stopped",
        ChildState::Starting => "starting",
        ChildState::Running => "running",
        ChildState::Silent => "not answering",
        ChildState::Crashed => "crashed",
    }
}

/// A text in which what stands between backticks is code, as reasons have commands in them.
pub(crate) fn with_code(text: &str) -> Markup {
    let is_paired = text.matches('`').count().is_multiple_of(2);
    html! {
        @if is_paired {
            @for (at, part) in text.split('`').enumerate() {
                @if at % 2 == 1 { code { (part) } } @else { (part) }
            }
        } @else { (text) }
    }
}

/// Markup in whose texts nothing is there that nobody sees, and nothing turns the direction of what follows: such characters are written
/// as `\u{202e}`, as on the command line. What stands in tags (addresses, values of forms) is as it was, and every `<` in a text is escaped
/// already.
pub(crate) fn visible_texts(markup: Markup) -> Markup {
    let text = markup.into_string();
    if !text.chars().any(is_order) {
        return PreEscaped(text);
    }
    let mut shown = String::with_capacity(text.len() + 64);
    for (at, part) in text.split('<').enumerate() {
        if at == 0 {
            shown.push_str(&visible(part));
            continue;
        }
        shown.push('<');
        match part.split_once('>') {
            Some((tag, text)) => {
                shown.push_str(tag);
                shown.push('>');
                shown.push_str(&visible(text));
            }
            None => shown.push_str(part),
        }
    }
    PreEscaped(shown)
}

/// The page of a node.
pub(crate) fn node_link(name: &str) -> Markup {
    html! { a href={ "/nodes/" (encoded(name)) } { (name) } }
}

/// As much of a text as stands in a table; the whole is on the node's own page.
pub(crate) fn shortened(text: &str, characters: usize) -> String {
    let text = text.trim();
    match text.char_indices().nth(characters) {
        Some((end, _)) => format!("{}\u{2026}", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_durations_read_well() {
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(counted(1, "node", "nodes"), "1 node");
        assert_eq!(counted(8_112, "node", "nodes"), "8,112 nodes");
        assert_eq!(duration(999), "less than 1 s");
        assert_eq!(duration(61_000), "1 min 1 s");
        assert_eq!(duration(7_200_000), "2 h");
        assert_eq!(duration(90_061_000), "1 d 1 h");
    }

    #[test]
    fn nothing_is_whole_before_it_is_nor_nothing_once_it_has_begun() {
        assert_eq!(percent(99_999, 100_000), 99);
        assert_eq!(percent(1, 100_000), 1);
        assert_eq!(
            (percent(0, 10), percent(10, 10), percent(0, 0)),
            (0, 100, 0)
        );
    }

    #[test]
    fn names_are_one_part_of_a_path() {
        assert_eq!(encoded("a.b"), "a%2Eb");
        assert_eq!(encoded("\"><x?#%"), "%22%3E%3Cx%3F%23%25");
    }

    #[test]
    fn commands_in_a_reason_are_code_and_nothing_in_it_is_markup() {
        let marked = |text| with_code(text).into_string();
        let expected = "waits: <code>upstart approve 2</code>, or not";
        assert_eq!(marked("waits: `upstart approve 2`, or not"), expected);
        assert_eq!(marked("`<b>`"), "<code>&lt;b&gt;</code>");
        assert_eq!(marked("a ` alone"), "a ` alone");
    }

    #[test]
    fn a_moment_of_another_day_is_told_with_its_day() {
        assert_eq!(clock(0, 60_000), "00:01:00 UTC");
        assert_eq!(clock(0, 86_400_000), "1970-01-02 00:00:00 UTC");
        let told = not_before(0, 60_000).into_string();
        assert!(
            told.starts_with("not before 00:01:00 UTC (<time "),
            "{told}"
        );
        assert!(told.ends_with(">in 1 min</time>)"), "{told}");
    }

    #[test]
    fn what_nobody_sees_is_shown_and_forms_carry_what_it_is() {
        let name = "z\u{200b}w\u{202e}";
        let markup = html! { p { (name) } input value=(name); };
        let expected = "<p>z\\u{200b}w\\u{202e}</p><input value=\"z\u{200b}w\u{202e}\">";
        assert_eq!(visible_texts(markup).into_string(), expected);
    }

    #[test]
    fn every_phase_is_found_by_its_name() {
        for known in PHASES {
            assert_eq!(phase_of(known.words()), Some(known));
        }
    }
}
