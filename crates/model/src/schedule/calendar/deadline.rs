//! A moment from which on nodes wait for no better one.

use super::{SiteZone, Zone, instant, moment_of};
use crate::schedule::ScheduleError;
use jiff::Timestamp;
use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};

/// A moment on a wall's clock from which on windows and idleness are not waited for any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WrittenDeadline", into = "WrittenDeadline")]
pub struct Deadline {
    /// When.
    pub at: DateTime,
    /// On whose clock.
    pub zone: Zone,
}

impl Deadline {
    /// When that is for a node whose site is in this zone; none where that is not known.
    pub(in crate::schedule) fn instant(&self, site: &SiteZone) -> Option<Timestamp> {
        Some(instant(self.at, self.zone.of(site)?))
    }
}

/// The keys of a deadline as they stand in an upgrade file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenDeadline {
    at: String,
    zone: String,
}

impl TryFrom<WrittenDeadline> for Deadline {
    type Error = ScheduleError;

    fn try_from(written: WrittenDeadline) -> Result<Self, ScheduleError> {
        Ok(Self {
            at: moment_of(&written.at)?,
            zone: Zone::read(&written.zone)?,
        })
    }
}

impl From<Deadline> for WrittenDeadline {
    fn from(deadline: Deadline) -> Self {
        Self {
            at: deadline.at.to_string(),
            zone: deadline.zone.to_string(),
        }
    }
}
