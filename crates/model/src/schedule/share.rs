//! A share of nodes, as it is written: `"5%"`.

use super::ScheduleError;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Parts of a whole: hundredths of a percent.
const WHOLE: u32 = 10_000;

/// A share of nodes: more than none, and at most all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeShare(u32);

impl NodeShare {
    /// So many of these nodes: rounded down, and one at least.
    pub fn of(self, nodes: usize) -> usize {
        let share = nodes as u64 * u64::from(self.0) / u64::from(WHOLE);
        usize::try_from(share).unwrap_or(nodes).max(1)
    }

    /// Whether what stands here among all, from the first of `u64` to the last, is within it.
    pub(super) fn takes(self, place: u64) -> bool {
        let whole = u128::from(u64::MAX) + 1;
        u128::from(place) * u128::from(WHOLE) < u128::from(self.0) * whole
    }
}

impl fmt::Display for NodeShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (percent, rest) = (self.0 / 100, self.0 % 100);
        match (rest, rest % 10) {
            (0, _) => write!(f, "{percent}%"),
            (_, 0) => write!(f, "{percent}.{}%", rest / 10),
            _ => write!(f, "{percent}.{rest:02}%"),
        }
    }
}

impl FromStr for NodeShare {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        let wrong = || ScheduleError::Share(text.to_owned());
        let number = text.strip_suffix('%').ok_or_else(wrong)?;
        let (percent, rest) = number.split_once('.').unwrap_or((number, "0"));
        let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(percent) || !is_number(rest) || !(1..=2).contains(&rest.len()) {
            return Err(wrong());
        }
        let hundredths: u32 = format!("{rest:0<2}").parse().map_err(|_| wrong())?;
        let percent: u32 = percent.parse().map_err(|_| wrong())?;
        let share = percent.saturating_mul(100).saturating_add(hundredths);
        if (1..=WHOLE).contains(&share) {
            Ok(Self(share))
        } else {
            Err(wrong())
        }
    }
}

/// How many nodes: so many, or a share of those that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WrittenLimit", into = "WrittenLimit")]
pub enum NodeLimit {
    /// So many.
    Nodes(u32),
    /// This share of all.
    Share(NodeShare),
}

impl NodeLimit {
    /// So many where there are so many nodes.
    pub fn of(self, nodes: usize) -> usize {
        match self {
            Self::Nodes(limit) => limit as usize,
            Self::Share(share) => share.of(nodes),
        }
    }
}

/// A limit as it stands in an upgrade file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged, expecting = "a number of nodes, or a share like \"5%\"")]
enum WrittenLimit {
    /// So many.
    Nodes(u32),
    /// This share.
    Share(String),
}

impl TryFrom<WrittenLimit> for NodeLimit {
    type Error = ScheduleError;

    fn try_from(written: WrittenLimit) -> Result<Self, ScheduleError> {
        match written {
            WrittenLimit::Nodes(limit) => Ok(Self::Nodes(limit)),
            WrittenLimit::Share(text) => {
                let share = text.parse().map(Self::Share);
                share.map_err(|_| ScheduleError::Limit(text))
            }
        }
    }
}

impl From<NodeLimit> for WrittenLimit {
    fn from(limit: NodeLimit) -> Self {
        match limit {
            NodeLimit::Nodes(limit) => Self::Nodes(limit),
            NodeLimit::Share(share) => Self::Share(share.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_rounded_down_and_one_at_least() {
        let of = |share: &str, nodes| share.parse::<NodeShare>().expect(share).of(nodes);
        assert_eq!((of("5%", 1_000), of("5%", 119), of("5%", 20)), (50, 5, 1));
        assert_eq!((of("5%", 3), of("0.01%", 100_000)), (1, 10));
        assert_eq!((of("33.3%", 9), of("100%", 9)), (2, 9));
    }

    #[test]
    fn shares_read_as_they_were_written_and_others_are_refused() {
        for share in ["1%", "12.5%", "0.01%", "3.05%", "100%"] {
            let read: NodeShare = share.parse().expect(share);
            assert_eq!(read.to_string(), share);
        }
        for wrong in [
            "5",
            "%",
            "0%",
            "0.001%",
            "100.01%",
            "-5%",
            "5 %",
            "+5%",
            "1.%",
            ".5%",
            "99999999999%",
        ] {
            let told = wrong.parse::<NodeShare>().expect_err(wrong).to_string();
            assert!(told.contains("12.5%"), "{told}");
        }
    }
}
