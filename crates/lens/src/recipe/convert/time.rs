//! Times: numbers since the epoch in several units, and RFC 3339 text in UTC.

use super::number::{Rounding, Scale};
use super::table::brief;
use call::Side;
use declaration::Mismatch;
use wire::json::Json;

const DAY_S: i64 = 86_400;

/// A form of a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeForm {
    /// A number of this many units per second since 1970-01-01.
    Units(i64),
    /// Text as in `2024-05-01T10:00:00.250Z`, always UTC.
    Rfc3339,
}

impl TimeForm {
    pub(crate) const NAMES: [&'static str; 5] = ["s", "ms", "us", "ns", "rfc3339"];

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "s" => Self::Units(1),
            "ms" => Self::Units(1_000),
            "us" => Self::Units(1_000_000),
            "ns" => Self::Units(1_000_000_000),
            "rfc3339" => Self::Rfc3339,
            _ => return None,
        })
    }
}

/// A time that has another form at the other version.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Time {
    pub(crate) old: TimeForm,
    pub(crate) new: TimeForm,
    pub(crate) round: Rounding,
}

impl Time {
    pub(crate) fn apply(&self, value: &Json, toward: Side) -> Result<Json, Mismatch> {
        let (from, to) = match toward {
            Side::New => (self.old, self.new),
            Side::Old => (self.new, self.old),
        };
        let wrong = || Mismatch::new(format!("{} is not a time of the form needed", brief(value)));
        match (from, to) {
            (TimeForm::Units(from), TimeForm::Units(to)) => {
                let scale = Scale {
                    times: to,
                    by: from,
                    whole: [true; 2],
                    round: self.round,
                };
                scale.apply(value, Side::New)
            }
            (TimeForm::Units(units), TimeForm::Rfc3339) => {
                let Json::Integer(number) = value else {
                    return Err(wrong());
                };
                print(*number, units).map(Json::String).ok_or_else(wrong)
            }
            (TimeForm::Rfc3339, TimeForm::Units(units)) => {
                let Json::String(text) = value else {
                    return Err(wrong());
                };
                let (seconds, nanoseconds) = parse(text).ok_or_else(wrong)?;
                let unit = 1_000_000_000 / units;
                if nanoseconds % unit != 0 && self.round == Rounding::Never {
                    let what = format!("{} is finer than the other version's unit", brief(value));
                    return Err(Mismatch::new(what));
                }
                let half = if self.round == Rounding::Nearest {
                    unit / 2
                } else {
                    0
                };
                let parts = (nanoseconds + half) / unit;
                let whole = seconds
                    .checked_mul(units)
                    .and_then(|s| s.checked_add(parts));
                whole.map(Json::Integer).ok_or_else(wrong)
            }
            (TimeForm::Rfc3339, TimeForm::Rfc3339) => Ok(value.clone()),
        }
    }
}

/// Days since the epoch of a civil date (H. Hinnant, "chrono-compatible low-level date algorithms").
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The civil date of a day since the epoch.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days - era * 146_097;
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

fn print(number: i64, units: i64) -> Option<String> {
    let seconds = number.div_euclid(units);
    let (year, month, day) = date(seconds.div_euclid(DAY_S));
    if !(0..=9999).contains(&year) {
        return None;
    }
    let clock = seconds.rem_euclid(DAY_S);
    let (hour, minute, second) = (clock / 3600, clock / 60 % 60, clock % 60);
    let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    let parts = number.rem_euclid(units);
    let width = units.ilog10() as usize;
    Some(if width == 0 {
        format!("{text}Z")
    } else {
        format!("{text}.{parts:0width$}Z")
    })
}

/// Seconds and nanoseconds of a text in UTC.
fn parse(text: &str) -> Option<(i64, i64)> {
    let text = text
        .strip_suffix('Z')
        .or_else(|| text.strip_suffix("+00:00"))?;
    let (main, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let bytes = main.as_bytes();
    let form = main.is_ascii()
        && bytes.len() == 19
        && (bytes[4], bytes[7], bytes[10], bytes[13], bytes[16]) == (b'-', b'-', b'T', b':', b':');
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !form || !digits(fraction) || fraction.is_empty() || fraction.len() > 9 {
        return None;
    }
    let part = |from: usize, to: usize| {
        main.get(from..to)
            .filter(|text| digits(text))?
            .parse::<i64>()
            .ok()
    };
    let (year, month, day) = (part(0, 4)?, part(5, 7)?, part(8, 10)?);
    let (hour, minute, second) = (part(11, 13)?, part(14, 16)?, part(17, 19)?);
    let day_number = days(year, month, day);
    if date(day_number) != (year, month, day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let nanoseconds = format!("{fraction:0<9}").parse().ok()?;
    Some((
        day_number * DAY_S + hour * 3600 + minute * 60 + second,
        nanoseconds,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keep_their_moment() {
        let time = Time {
            old: TimeForm::Units(1000),
            new: TimeForm::Rfc3339,
            round: Rounding::Never,
        };
        for (number, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (1_709_210_096_250, "2024-02-29T12:34:56.250Z"),
        ] {
            let printed = time.apply(&Json::Integer(number), Side::New);
            assert_eq!(printed, Ok(Json::String(text.to_owned())));
            let back = time.apply(&Json::String(text.to_owned()), Side::Old);
            assert_eq!(back, Ok(Json::Integer(number)));
        }
        for wrong in [
            "2023-02-29T00:00:00Z",
            "2024-01-01T00:00:00+01:00",
            "x",
            "2024-01-01T00:00:00.0001Z",
        ] {
            assert!(
                time.apply(&Json::String(wrong.to_owned()), Side::Old)
                    .is_err(),
                "{wrong}"
            );
        }
    }
}
