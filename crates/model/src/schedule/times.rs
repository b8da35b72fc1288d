//! The calendar's part: at what times a node may begin.

use super::{CalendarAnswer, Schedule, SiteZone, WaitReason};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::collections::BTreeMap;

/// The calendar of a node's class, as it is read at the node's site.
pub(super) struct Times<'a> {
    schedule: &'a Schedule,
    site: SiteZone,
}

impl<'a> Times<'a> {
    pub(super) fn of(schedule: &'a Schedule, attributes: &BTreeMap<String, String>) -> Self {
        Self {
            schedule,
            site: SiteZone::of(attributes),
        }
    }

    fn at(&self, at_ms: u64) -> CalendarAnswer {
        let at = i64::try_from(at_ms).ok();
        let at = at.and_then(|at_ms| Timestamp::from_millisecond(at_ms).ok());
        // Beyond the end of time nothing opens.
        at.map_or(CalendarAnswer::Open, |at| {
            self.schedule.calendar.at(at, &self.site)
        })
    }

    /// Why a node may not begin now.
    pub(super) fn reason(&self, now_ms: u64) -> Option<WaitReason> {
        match self.at(now_ms) {
            CalendarAnswer::Open => None,
            CalendarAnswer::NoZone { found } => Some(WaitReason::NoZone { found }),
            CalendarAnswer::Closed {
                until,
                frozen,
                zone,
            } => {
                let shown = shown(until, zone);
                Some(match frozen {
                    None => WaitReason::NoWindow { opens: shown },
                    Some(reason) => WaitReason::Frozen {
                        reason,
                        ends: shown,
                    },
                })
            }
        }
    }

    /// The first moment from then on, or from now on, at which a node may begin; none where the calendar does not say, and nothing else did.
    pub(super) fn earliest(&self, until_ms: Option<u64>, now_ms: u64) -> Option<u64> {
        match self.at(until_ms.unwrap_or(now_ms)) {
            CalendarAnswer::Open | CalendarAnswer::NoZone { .. } => until_ms,
            CalendarAnswer::Closed { until, .. } => u64::try_from(until.as_millisecond()).ok(),
        }
    }
}

impl Schedule {
    /// Why no node with these attributes begins at this moment; none where one may, as far as the clock goes.
    pub fn closed(&self, attributes: &BTreeMap<String, String>, now_ms: u64) -> Option<WaitReason> {
        Times::of(self, attributes).reason(now_ms)
    }
}

impl Schedule {
    /// Whether nodes with these attributes wait until they are idle, or the deadline has passed.
    pub fn waits_for_idleness(&self, attributes: &BTreeMap<String, String>, now_ms: u64) -> bool {
        let now = i64::try_from(now_ms).ok();
        let now = now.and_then(|now_ms| Timestamp::from_millisecond(now_ms).ok());
        let site = SiteZone::of(attributes);
        let is_overdue = now.is_some_and(|now| self.calendar.is_overdue(now, &site));
        self.idle.is_some() && !is_overdue
    }
}

fn shown(at: Timestamp, zone: TimeZone) -> String {
    let name = zone.iana_name().unwrap_or("UTC").to_owned();
    format!(
        "{} ({name})",
        at.to_zoned(zone).strftime("%a %Y-%m-%d %H:%M")
    )
}
