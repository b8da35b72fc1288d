//! What is said before signed metadata ends.

use jiff::SignedDuration;

/// How many days before its end it is said that metadata ends, and once it has.
const WARNING_DAYS: [i64; 4] = [0, 1, 7, 30];

/// What is said before metadata ends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ExpiryWarning {
    /// The number of days that was passed.
    pub(crate) days: i64,
    /// For people.
    pub(crate) text: String,
}

/// What is to be said of metadata that is good for so long, if it is time to.
pub(crate) fn warning(role: &str, left: SignedDuration) -> Option<ExpiryWarning> {
    let hours = left.as_hours();
    // What the server signs is never good for longer than a month.
    let is_own = matches!(role, "snapshot" | "timestamp");
    let days = WARNING_DAYS[..if is_own { 3 } else { 4 }]
        .iter()
        .copied()
        .find(|days| hours < days * 24)?;
    let next = match role {
        "root" | "targets" => format!("its keys' holders renew it: `upstart keys renew {role}`"),
        // The server renews these by itself, unless it is in trouble.
        _ => "the server should have renewed it: look at its log".to_owned(),
    };
    let left = match hours {
        ..0 => "has expired".to_owned(),
        0..48 => format!("expires in {hours} hours"),
        _ => format!("expires in {} days", hours / 24),
    };
    let text = format!(
        "the signed repository's {role} {left}; from then on nodes take nothing new, and go on with what they have; {next}"
    );
    Some(ExpiryWarning { days, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_a_month_a_week_and_a_day_before_and_when_it_is_there() {
        let days = |hours| warning("root", SignedDuration::from_hours(hours)).map(|it| it.days);
        assert_eq!(days(31 * 24), None);
        assert_eq!(days(29 * 24), Some(30));
        assert_eq!(days(6 * 24), Some(7));
        assert_eq!(days(3), Some(1));
        assert_eq!(days(-1), Some(0));
        let told = warning("targets", SignedDuration::from_hours(50)).expect("soon");
        assert!(told.text.contains("expires in 2 days"), "{}", told.text);
        assert!(
            told.text.contains("`upstart keys renew targets`"),
            "{}",
            told.text
        );
    }
}
