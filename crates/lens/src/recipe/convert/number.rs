//! Scaling of numbers in exact decimal arithmetic.

use super::table::brief;
use call::Side;
use declaration::Mismatch;
use wire::json::Json;

/// Most decimal places of a result; JSON readers keep about 17 digits.
const PLACES_MAX: i32 = 18;

/// Largest power of ten of a number that is scaled, so that no text grows without a bound.
const EXPONENT_MAX: i32 = 40;

/// What to do with a result that is not exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rounding {
    /// Refuse it.
    Never,
    /// Down to a whole number.
    Down,
    /// To the nearest whole number, halves away from zero.
    Nearest,
}

/// The new value is the old one times `times` / `by`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    pub(crate) times: i64,
    pub(crate) by: i64,
    /// Whether the old and the new value are whole numbers.
    pub(crate) whole: [bool; 2],
    pub(crate) round: Rounding,
}

impl Scale {
    pub(crate) fn apply(&self, value: &Json, toward: Side) -> Result<Json, Mismatch> {
        let (times, by) = match toward {
            Side::New => (self.times, self.by),
            Side::Old => (self.by, self.times),
        };
        let [from_whole, whole] = [toward.other(), toward].map(|side| self.whole[side as usize]);
        // A fraction where whole numbers are declared could not come back.
        let number = Decimal::parse(value)
            .filter(|number| !from_whole || number.exponent >= 0)
            .ok_or_else(|| Mismatch::new(format!("{} is not a number to scale", brief(value))))?;
        let inexact = || {
            Mismatch::new(format!(
                "{} cannot be scaled exactly by {times}/{by}",
                brief(value)
            ))
        };
        let scaled = number
            .scale(times, by, whole, self.round)
            .ok_or_else(inexact)?
            .to_json();
        let returns = || {
            let back = Decimal::parse(&scaled)?.scale(by, times, from_whole, Rounding::Never)?;
            Some(back.shortest() == number.shortest())
        };
        if self.round == Rounding::Never && returns() != Some(true) {
            return Err(inexact());
        }
        Ok(scaled)
    }
}

/// `digits` times ten to the power of `exponent`.
#[derive(Clone, Copy, Debug)]
struct Decimal {
    digits: i128,
    exponent: i32,
}

impl Decimal {
    fn parse(value: &Json) -> Option<Self> {
        let text = match value {
            Json::Integer(value) => {
                return Some(Self {
                    digits: i128::from(*value),
                    exponent: 0,
                });
            }
            Json::Number(text) => text,
            _ => return None,
        };
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (text.as_ref(), 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = format!("{whole}{fraction}").parse().ok()?;
        let places = i32::try_from(fraction.len()).ok()?;
        let number = Self {
            digits,
            exponent: exponent.checked_sub(places)?,
        }
        .normal();
        (number.exponent.abs() <= EXPONENT_MAX).then_some(number)
    }

    /// Without zeros at the end.
    fn normal(mut self) -> Self {
        if self.digits == 0 {
            self.exponent = 0;
        }
        while self.digits != 0 && self.digits % 10 == 0 && self.exponent < 0 {
            self.digits /= 10;
            self.exponent += 1;
        }
        self
    }

    /// The form that equal numbers share.
    fn shortest(mut self) -> (i128, i32) {
        while self.digits != 0 && self.digits % 10 == 0 {
            self.digits /= 10;
            self.exponent += 1;
        }
        (
            self.digits,
            if self.digits == 0 { 0 } else { self.exponent },
        )
    }

    fn scale(self, times: i64, by: i64, whole: bool, round: Rounding) -> Option<Self> {
        let by = i128::from(by);
        let mut digits = self.digits.checked_mul(i128::from(times))?;
        let mut exponent = self.exponent;
        while digits % by != 0 && exponent > -PLACES_MAX {
            digits = digits.checked_mul(10)?;
            exponent -= 1;
        }
        let exact = digits % by == 0;
        let result = Self {
            digits: digits / by,
            exponent,
        }
        .normal();
        if exact && (!whole || result.exponent >= 0) {
            return Some(result);
        }
        if round == Rounding::Never {
            return None;
        }
        result.rounded(round)
    }

    fn rounded(self, round: Rounding) -> Option<Self> {
        if self.exponent >= 0 {
            return Some(self);
        }
        let unit = 10i128.checked_pow(self.exponent.unsigned_abs())?;
        let down = self.digits.div_euclid(unit);
        let rest = self.digits.rem_euclid(unit);
        let up = match round {
            Rounding::Down | Rounding::Never => false,
            Rounding::Nearest if self.digits >= 0 => rest >= unit - rest,
            Rounding::Nearest => rest > unit - rest,
        };
        Some(Self {
            digits: down + i128::from(up),
            exponent: 0,
        })
    }

    fn to_json(self) -> Json {
        let sign = if self.digits < 0 { "-" } else { "" };
        let digits = self.digits.unsigned_abs().to_string();
        if self.exponent >= 0 {
            let zeros = "0".repeat(if self.digits == 0 {
                0
            } else {
                self.exponent as usize
            });
            return Json::number(&format!("{sign}{digits}{zeros}"));
        }
        let places = self.exponent.unsigned_abs() as usize;
        let padded = format!("{digits:0>width$}", width = places + 1);
        let (whole, fraction) = padded.split_at(padded.len() - places);
        Json::number(&format!("{sign}{whole}.{fraction}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scale(times: i64, by: i64, round: Rounding) -> Scale {
        Scale {
            times,
            by,
            whole: [false, false],
            round,
        }
    }

    fn text(scale: Scale, value: &str, toward: Side) -> Option<String> {
        scale
            .apply(&Json::number(value), toward)
            .ok()
            .map(|json| json.to_string())
    }

    #[test]
    fn decimals_scale_exactly_both_ways() {
        let cents = scale(100, 1, Rounding::Never);
        assert_eq!(text(cents, "1.1", Side::New).as_deref(), Some("110"));
        assert_eq!(text(cents, "110", Side::Old).as_deref(), Some("1.1"));
        assert_eq!(text(cents, "-5", Side::Old).as_deref(), Some("-0.05"));
        assert_eq!(text(cents, "1e2", Side::New).as_deref(), Some("10000"));
        assert_eq!(text(cents, "-0.00", Side::Old).as_deref(), Some("0"));
        let minutes = scale(1, 60, Rounding::Never);
        assert_eq!(text(minutes, "90", Side::New).as_deref(), Some("1.5"));
        assert_eq!(text(minutes, "1", Side::New), None);
    }

    #[test]
    fn only_declared_roundings_lose_anything() {
        let whole = |round| Scale {
            times: 1000,
            by: 1,
            whole: [true, true],
            round,
        };
        assert_eq!(text(whole(Rounding::Never), "1500", Side::Old), None);
        assert_eq!(text(whole(Rounding::Nearest), "1.5", Side::New), None);
        assert_eq!(
            text(whole(Rounding::Down), "-1500", Side::Old).as_deref(),
            Some("-2")
        );
        assert_eq!(
            text(whole(Rounding::Nearest), "1500", Side::Old).as_deref(),
            Some("2")
        );
        assert_eq!(
            text(whole(Rounding::Nearest), "-1500", Side::Old).as_deref(),
            Some("-2")
        );
        assert_eq!(
            text(whole(Rounding::Nearest), "1499", Side::Old).as_deref(),
            Some("1")
        );
    }

    #[test]
    fn huge_exponents_are_refused_not_computed() {
        assert_eq!(
            text(scale(100, 3, Rounding::Nearest), "1e-2000000000", Side::New),
            None
        );
        let huge = scale(2, 1, Rounding::Never).apply(&Json::number("1e999999999"), Side::New);
        assert!(huge.is_err());
    }
}
