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
    pub(super) fn reasons(&self, now_ms: u64) -> Vec<WaitReason> {
        match self.at(now_ms) {
            CalendarAnswer::Open => Vec::new(),
            CalendarAnswer::NoZone { found } => vec![WaitReason::NoZone { found }],
            CalendarAnswer::Closed {
                until,
                zone,
                frozen,
                no_window,
            } => {
                let frozen = frozen.map(|freeze| WaitReason::Frozen {
                    reason: freeze.reason,
                    ends: shown(freeze.until, freeze.zone),
                });
                let opens = no_window.then(|| WaitReason::NoWindow {
                    opens: shown(until, zone),
                });
                frozen.into_iter().chain(opens).collect()
            }
        }
    }

    /// The first moment from then on, or from now on, at which a node may begin; none where the calendar does not say, and nothing else did.
    fn earliest(&self, until_ms: Option<u64>, now_ms: u64) -> Option<u64> {
        match self.at(until_ms.unwrap_or(now_ms)) {
            CalendarAnswer::Open | CalendarAnswer::NoZone { .. } => until_ms,
            CalendarAnswer::Closed { until, .. } => u64::try_from(until.as_millisecond()).ok(),
        }
    }
}

/// How often calendars push each other's moments on before the last one counts as good enough: more than versions are passed at once.
const TURNS_MAX: usize = 64;

/// The calendars of the version that a node goes to, and of those that it passes on the way.
pub(super) struct AllTimes<'a>(Vec<Times<'a>>);

impl<'a> AllTimes<'a> {
    pub(super) fn of(
        schedule: &'a Schedule,
        passed: &'a [Schedule],
        attributes: &BTreeMap<String, String>,
    ) -> Self {
        let all = passed.iter().chain([schedule]);
        Self(all.map(|each| Times::of(each, attributes)).collect())
    }

    /// Why a node may not begin now.
    pub(super) fn reasons(&self, now_ms: u64) -> Vec<WaitReason> {
        let mut reasons: Vec<WaitReason> = Vec::new();
        for reason in self.0.iter().flat_map(|times| times.reasons(now_ms)) {
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
        }
        reasons
    }

    /// The first moment from then on, or from now on, at which all let a node begin.
    pub(super) fn earliest(&self, mut until_ms: Option<u64>, now_ms: u64) -> Option<u64> {
        for _ in 0..TURNS_MAX {
            let before_ms = until_ms;
            for times in &self.0 {
                until_ms = times.earliest(until_ms, now_ms);
            }
            if until_ms == before_ms {
                break;
            }
        }
        until_ms
    }
}

impl Schedule {
    /// Why no node with these attributes begins at this moment by this schedule and those of the versions that it passes; none where one may, as
    /// far as the clock goes.
    pub fn closed(
        &self,
        passed: &[Self],
        attributes: &BTreeMap<String, String>,
        now_ms: u64,
    ) -> Option<WaitReason> {
        let reasons = AllTimes::of(self, passed, attributes).reasons(now_ms);
        reasons.into_iter().next()
    }

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
    if at == Timestamp::MAX {
        return "at the end of time".to_owned();
    }
    let name = zone.iana_name().unwrap_or("UTC").to_owned();
    format!(
        "{} ({name})",
        at.to_zoned(zone).strftime("%a %Y-%m-%d %H:%M")
    )
}
