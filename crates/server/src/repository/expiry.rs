//! What is said before signed metadata ends.

use jiff::SignedDuration;
use std::collections::BTreeMap;

/// How many days before its end it is said that metadata ends, and once it has.
const WARNING_DAYS: [i64; 4] = [0, 1, 7, 30];

/// What has been said of metadata that ends: each number of days once for each document.
#[derive(Debug, Default)]
pub(crate) struct ExpiryWarnings {
    /// The last number of days that was said, by role.
    said: BTreeMap<String, i64>,
}

impl ExpiryWarnings {
    /// What is to be said of a role's metadata that is good for so long, if it was not said yet. What is renewed begins anew.
    pub(crate) fn next(&mut self, role: &str, left: SignedDuration) -> Option<String> {
        let Some(warning) = warning(role, left) else {
            self.said.remove(role);
            return None;
        };
        let said = self.said.insert(role.to_owned(), warning.days);
        (said != Some(warning.days)).then_some(warning.text)
    }
}

/// What is said before metadata ends.
#[derive(Debug, PartialEq, Eq)]
struct ExpiryWarning {
    /// The number of days that was passed.
    days: i64,
    /// For people.
    text: String,
}

/// What is to be said of metadata that is good for so long, if it is time to.
fn warning(role: &str, left: SignedDuration) -> Option<ExpiryWarning> {
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
    fn each_warning_is_given_once_and_anew_after_a_renewal() {
        let mut warnings = ExpiryWarnings::default();
        let year = (-2 * 24..=365 * 24).rev();
        let mut told = Vec::new();
        // It is looked every minute; twice an hour stands for that.
        for hours in year.flat_map(|hours| [hours, hours]) {
            for role in ["root", "timestamp"] {
                let left = SignedDuration::from_hours(hours);
                if warnings.next(role, left).is_some() {
                    told.push((role, hours));
                }
            }
        }
        let days = |role| {
            let of_role = told.iter().filter(move |(of, _)| *of == role);
            of_role.map(|(_, hours)| hours + 1).collect::<Vec<_>>()
        };
        assert_eq!(days("root"), [30 * 24, 7 * 24, 24, 0]);
        assert_eq!(days("timestamp"), [7 * 24, 24, 0]);
        let renewed = SignedDuration::from_hours(365 * 24);
        assert_eq!(warnings.next("root", renewed), None);
        let left = SignedDuration::from_hours(29 * 24);
        assert!(warnings.next("root", left).is_some());
        assert_eq!(warnings.next("root", left), None);
    }

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
