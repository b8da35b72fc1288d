//! How long something takes: as it was measured, or as somebody says.

use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// What a standard normal variable exceeds once in ten.
const NORMAL_P90: f64 = 1.281_551_565_544_6;

/// What is drawn from a median and a p90 lies between the thousandth and the 999th thousandth of that distribution: beyond, two numbers say
/// nothing.
const TAIL: f64 = 0.001;

/// A distribution of durations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeDistribution {
    /// Always the same.
    Constant {
        /// In milliseconds.
        ms: u64,
    },
    /// Log-normal, with this median and this p90.
    Spread {
        /// Half take no longer.
        p50_ms: u64,
        /// Nine of ten take no longer.
        p90_ms: u64,
    },
    /// As measured: between two neighbours all is equally likely.
    Measured {
        /// In milliseconds, in order; at least one.
        ms: Vec<u64>,
    },
}

/// A text that is no duration or distribution.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeDistributionError {
    /// It is written otherwise.
    #[error("`{0}` is no duration; write it like `5s`, `1m 30s` or `p50=2s,p90=8s`")]
    Written(String),
    /// Nothing takes so long.
    #[error("`{0}` is longer than a year; write it like `5s`, `1m 30s` or `p50=2s,p90=8s`")]
    TooLong(String),
}

/// Longer than this takes nothing that is planned.
const DURATION_MS_MAX: u64 = 366 * 86_400_000;

impl TimeDistribution {
    /// Of these measurements; none where there are none.
    pub fn measured(mut ms: Vec<u64>) -> Option<Self> {
        ms.sort_unstable();
        (!ms.is_empty()).then_some(Self::Measured { ms })
    }

    /// What a share of all does not exceed, `at` from 0 to 1.
    pub fn quantile_ms(&self, at: f64) -> u64 {
        match self {
            Self::Constant { ms } => *ms,
            Self::Spread { p50_ms, p90_ms } => {
                let (p50, p90) = ((*p50_ms).max(1) as f64, (*p90_ms).max(1) as f64);
                let deviation = (p90 / p50).ln() / NORMAL_P90;
                rounded(p50 * (deviation * normal(at.clamp(TAIL, 1.0 - TAIL))).exp())
            }
            Self::Measured { ms } => {
                let last = ms.len().saturating_sub(1);
                let place = at.clamp(0.0, 1.0) * last as f64;
                let below = (place as usize).min(last);
                let above = (below + 1).min(last);
                let low = ms.get(below).copied().unwrap_or(0) as f64;
                let high = ms.get(above).copied().unwrap_or(0) as f64;
                rounded(low + (high - low) * (place - below as f64))
            }
        }
    }
}

/// A number of milliseconds. It is positive and small.
fn rounded(ms: f64) -> u64 {
    ms.round() as u64
}

/// The quantile of the standard normal distribution. After P. J. Acklam: a rational function in the middle and one at each end, with a
/// relative error below 1.2e-9.
fn normal(at: f64) -> f64 {
    const MIDDLE: [f64; 6] = [
        -3.969_683_028_665_376e1,
        2.209_460_984_245_205e2,
        -2.759_285_104_469_687e2,
        1.383_577_518_672_69e2,
        -3.066_479_806_614_716e1,
        2.506_628_277_459_239,
    ];
    const BELOW_MIDDLE: [f64; 6] = [
        -5.447_609_879_822_406e1,
        1.615_858_368_580_409e2,
        -1.556_989_798_598_866e2,
        6.680_131_188_771_972e1,
        -1.328_068_155_288_572e1,
        1.0,
    ];
    const END: [f64; 6] = [
        -7.784_894_002_430_293e-3,
        -3.223_964_580_411_365e-1,
        -2.400_758_277_161_838,
        -2.549_732_539_343_734,
        4.374_664_141_464_968,
        2.938_163_982_698_783,
    ];
    const BELOW_END: [f64; 5] = [
        7.784_695_709_041_462e-3,
        3.224_671_290_700_398e-1,
        2.445_134_137_142_996,
        3.754_408_661_907_416,
        1.0,
    ];
    const ENDS_AT: f64 = 0.024_25;
    let end = |share: f64| {
        let root = (-2.0 * share.ln()).sqrt();
        polynomial(&END, root) / polynomial(&BELOW_END, root)
    };
    if at < ENDS_AT {
        end(at)
    } else if at > 1.0 - ENDS_AT {
        -end(1.0 - at)
    } else {
        let off = at - 0.5;
        off * polynomial(&MIDDLE, off * off) / polynomial(&BELOW_MIDDLE, off * off)
    }
}

/// The first factor is that of the highest power.
fn polynomial(factors: &[f64], at: f64) -> f64 {
    factors.iter().fold(0.0, |sum, factor| sum * at + factor)
}

impl FromStr for TimeDistribution {
    type Err = TimeDistributionError;

    fn from_str(text: &str) -> Result<Self, TimeDistributionError> {
        let wrong = || TimeDistributionError::Written(text.to_owned());
        let within = |ms: u64| match ms {
            0..=DURATION_MS_MAX => Ok(ms),
            _ => Err(TimeDistributionError::TooLong(text.to_owned())),
        };
        let Some((p50, p90)) = text.split_once(',') else {
            let ms = within(milliseconds(text).ok_or_else(wrong)?)?;
            return Ok(Self::Constant { ms });
        };
        let named = |part: &str, name: &str| milliseconds(part.trim().strip_prefix(name)?);
        let p50_ms = named(p50, "p50=").ok_or_else(wrong)?;
        let p90_ms = within(named(p90, "p90=").ok_or_else(wrong)?)?;
        if p90_ms < p50_ms {
            return Err(wrong());
        }
        Ok(Self::Spread { p50_ms, p90_ms })
    }
}

/// A duration like `90s`, `1m 30s`, `500ms` or `2h`.
fn milliseconds(text: &str) -> Option<u64> {
    let mut sum: u64 = 0;
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        let unit = &rest[digits..];
        let end = unit
            .find(|letter: char| !letter.is_ascii_alphabetic())
            .unwrap_or(unit.len());
        let factor = match &unit[..end] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        sum = sum.checked_add(number.checked_mul(factor)?)?;
        rest = unit[end..].trim_start();
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_drawn() {
        let spread: TimeDistribution = "p50=2s,p90=8s".parse().expect("a spread");
        assert_eq!(spread.quantile_ms(0.5), 2_000);
        assert_eq!(spread.quantile_ms(0.9), 8_000);
        assert_eq!(spread.quantile_ms(0.1), 500);
        // The tails end, and what two numbers do not say is not drawn.
        assert_eq!(spread.quantile_ms(1.0), spread.quantile_ms(0.999));
        let constant: TimeDistribution = "1m 30s".parse().expect("a constant");
        assert_eq!(constant.quantile_ms(0.99), 90_000);
    }

    #[test]
    fn measurements_are_drawn_between_their_neighbours() {
        let measured = TimeDistribution::measured(vec![4_000, 1_000, 2_000]).expect("some");
        let at = [0.0, 0.25, 0.5, 0.75, 1.0].map(|at| measured.quantile_ms(at));
        assert_eq!(at, [1_000, 1_500, 2_000, 3_000, 4_000]);
        assert_eq!(TimeDistribution::measured(Vec::new()), None);
    }

    #[test]
    fn what_is_no_duration_is_refused_with_what_is() {
        for wrong in [
            "",
            "5",
            "5x",
            "-5s",
            "p50=2s",
            "p50=8s,p90=2s",
            "p50=2s,p99=8s",
            "s",
        ] {
            let told = wrong
                .parse::<TimeDistribution>()
                .expect_err(wrong)
                .to_string();
            assert!(told.contains("p50=2s,p90=8s"), "{told}");
        }
        for long in ["4000d", "p50=1ms,p90=18446744073709551615ms"] {
            let told = long.parse::<TimeDistribution>().expect_err(long);
            assert!(told.to_string().contains("longer than a year"), "{told}");
        }
    }
}
