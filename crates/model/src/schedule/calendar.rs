//! At what times nodes may begin: windows of each week, and freezes in which nobody begins.
//!
//! Both are said by the clock on a wall of some zone. A window begins at its time of day and lasts so long, however the clock is set
//! meanwhile. Where the clock is set forward over a time, it stands for as much later; where it is set back, for the first time that it is
//! shown (RFC 5545 reads times so, too).

mod deadline;

pub use deadline::Deadline;

use crate::schedule::ScheduleError;
use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// The attribute of a node that says in which zone its site is.
pub const ZONE_ATTRIBUTE: &str = "zone";

/// What stands for the zone of a node's own site.
const SITE: &str = "site";

/// A window that lasts longer has no end.
const LENGTH_MAX: SignedDuration = SignedDuration::from_hours(7 * 24);

/// At what times the nodes of a class may begin. Empty: at any time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calendar {
    /// They begin within one of these; at any time where there are none.
    pub windows: Vec<Window>,
    /// They begin in none of these.
    pub freezes: Vec<Freeze>,
    /// From then on windows are open for good.
    pub deadline: Option<Deadline>,
}

/// A time of each week.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WrittenWindow", into = "WrittenWindow")]
pub struct Window {
    /// On which days it begins; at least one.
    pub days: Vec<Weekday>,
    /// When it begins.
    pub start: Time,
    /// How long it lasts.
    pub length: SignedDuration,
    /// On whose clock.
    pub zone: Zone,
}

/// A time in which nobody begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WrittenFreeze", into = "WrittenFreeze")]
pub struct Freeze {
    /// When it begins.
    pub from: DateTime,
    /// When it is over.
    pub until: DateTime,
    /// On whose clock.
    pub zone: Zone,
    /// Why, for those who wait; may be empty.
    pub reason: String,
}

/// Whose clock it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Zone {
    /// That of the zone which the node's attribute [`ZONE_ATTRIBUTE`] names.
    Site,
    /// That of a zone of the IANA's database.
    Named(TimeZone),
}

/// What a calendar says of a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CalendarAnswer {
    /// A node may begin.
    Open,
    /// None may, until then at the earliest.
    Closed {
        /// The first moment at which a node may begin.
        until: Timestamp,
        /// Whose clock shows it: that of the window which opens, or of the freeze which ends.
        zone: TimeZone,
        /// The freeze that holds now.
        frozen: Option<HeldFreeze>,
        /// No window is open now.
        no_window: bool,
    },
    /// It is not known in which zone the node is.
    NoZone {
        /// What its attribute says; none where it has none.
        found: Option<String>,
    },
}

/// A freeze that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldFreeze {
    /// Why, in words.
    pub reason: String,
    /// When it is over.
    pub until: Timestamp,
    /// Whose clock shows that.
    pub zone: TimeZone,
}

/// A node's zone: what it says, and what that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteZone {
    found: Option<String>,
    zone: Option<TimeZone>,
}

impl SiteZone {
    /// The zone of the node with these attributes.
    pub fn of(attributes: &BTreeMap<String, String>) -> Self {
        let found = attributes.get(ZONE_ATTRIBUTE).cloned();
        let zone = found.as_deref().and_then(|name| TimeZone::get(name).ok());
        Self { found, zone }
    }
}

impl Calendar {
    /// Nodes may begin at any time.
    pub fn is_empty(&self) -> bool {
        self.windows.is_empty() && self.freezes.is_empty()
    }

    /// What it says of a moment, for a node whose site is in this zone.
    pub fn at(&self, now: Timestamp, site: &SiteZone) -> CalendarAnswer {
        let zones = self.windows.iter().map(|window| &window.zone);
        let zones = zones.chain(self.freezes.iter().map(|freeze| &freeze.zone));
        let mut zones = zones.chain(self.deadline.iter().map(|deadline| &deadline.zone));
        if zones.any(|zone| zone.of(site).is_none()) {
            let found = site.found.clone();
            return CalendarAnswer::NoZone { found };
        }
        let frozen = self.frozen(now, site).map(|(freeze, until)| HeldFreeze {
            reason: freeze.shown(),
            until,
            zone: freeze.zone.of(site).cloned().unwrap_or(TimeZone::UTC),
        });
        let no_window = self.opens(now, site).is_some_and(|(_, opens)| opens > now);
        let (mut at, mut zone) = (now, TimeZone::UTC);
        // Each turn leaves a freeze or a time between windows behind. A freeze may end between windows, and a window open in a freeze.
        loop {
            if let Some((freeze, until)) = self.frozen(at, site) {
                if until == Timestamp::MAX {
                    at = until;
                    break;
                }
                at = until;
                zone = freeze.zone.of(site).cloned().unwrap_or(zone);
            } else if let Some((its, opens)) = self.opens(at, site)
                && opens > at
            {
                at = opens;
                zone = its.of(site).cloned().unwrap_or(zone);
            } else {
                break;
            }
        }
        if at == now {
            return CalendarAnswer::Open;
        }
        CalendarAnswer::Closed {
            until: at,
            zone,
            frozen,
            no_window,
        }
    }

    /// The freeze at a moment that ends last, and when it ends.
    fn frozen(&self, at: Timestamp, site: &SiteZone) -> Option<(&Freeze, Timestamp)> {
        let all = self.freezes.iter().filter_map(|freeze| {
            let (from, until) = freeze.bounds(site)?;
            (from <= at && at < until).then_some((freeze, until))
        });
        all.max_by_key(|(_, until)| *until)
    }

    /// Since when a window is open at a moment, or else when the next opens, and on whose clock; none where there are no windows.
    fn opens(&self, at: Timestamp, site: &SiteZone) -> Option<(&Zone, Timestamp)> {
        let all = self.windows.iter();
        let opens = all.filter_map(|window| Some((&window.zone, window.opens(at, site)?)));
        let deadline = self.deadline.iter().filter(|_| !self.windows.is_empty());
        let at_last = deadline.filter_map(|it| Some((&it.zone, it.instant(site)?)));
        opens.chain(at_last).min_by_key(|(_, opens)| *opens)
    }

    /// Whether the deadline has passed, for a node whose site is in this zone.
    pub fn is_overdue(&self, now: Timestamp, site: &SiteZone) -> bool {
        let deadline = self.deadline.as_ref();
        let deadline = deadline.and_then(|deadline| deadline.instant(site));
        deadline.is_some_and(|deadline| deadline <= now)
    }
}

impl Window {
    /// Since when it is open at a moment, or else when it opens next. None where its zone is not known, or time ends before.
    fn opens(&self, at: Timestamp, site: &SiteZone) -> Option<Timestamp> {
        let zone = self.zone.of(site)?;
        let today = zone.to_datetime(at).date();
        // One that began a week ago may be open, a day more for clocks that are set; the next is within a week, or a day later where a
        // day of the calendar was left out.
        let days = (-9..=9).filter_map(|days: i32| today.checked_add(Span::new().days(days)).ok());
        let starts = days.filter(|day| self.days.contains(&day.weekday()));
        let mut opens = starts.map(|day| instant(day.to_datetime(self.start), zone));
        opens.find(|opens| *opens > at || at < ends(*opens, self.length))
    }
}

/// When something that lasts so long ends.
fn ends(begins: Timestamp, length: SignedDuration) -> Timestamp {
    begins.checked_add(length).unwrap_or(Timestamp::MAX)
}

/// When the clock of a zone shows this; the end of time where that is beyond it. What is written lies within [`YEARS`].
fn instant(shown: DateTime, zone: &TimeZone) -> Timestamp {
    let shown = zone.to_ambiguous_timestamp(shown).compatible();
    shown.unwrap_or(Timestamp::MAX)
}

impl Freeze {
    /// From when on it holds, and until when; none where its zone is not known.
    fn bounds(&self, site: &SiteZone) -> Option<(Timestamp, Timestamp)> {
        let zone = self.zone.of(site)?;
        Some((instant(self.from, zone), instant(self.until, zone)))
    }

    fn shown(&self) -> String {
        if self.reason.is_empty() {
            format!("from {} until {}", self.from, self.until)
        } else {
            self.reason.clone()
        }
    }
}

impl Zone {
    fn of<'a>(&'a self, site: &'a SiteZone) -> Option<&'a TimeZone> {
        match self {
            Self::Site => site.zone.as_ref(),
            Self::Named(zone) => Some(zone),
        }
    }

    fn read(name: &str) -> Result<Self, ScheduleError> {
        if name == SITE {
            return Ok(Self::Site);
        }
        let refused = || ScheduleError::Zone(name.to_owned());
        // These are in the database, and are the zone of no place.
        let is_none = ["localtime", "Factory", "Etc/Unknown", "posixrules"];
        if is_none.iter().any(|none| none.eq_ignore_ascii_case(name)) {
            return Err(refused());
        }
        let zone = TimeZone::get(name).map_err(|_| refused())?;
        Ok(Self::Named(zone))
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Site => SITE,
            Self::Named(zone) => zone.iana_name().unwrap_or("UTC"),
        })
    }
}

/// The keys of a window as they stand in an upgrade file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenWindow {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    days: Option<Vec<String>>,
    start: String,
    length: String,
    zone: String,
}

/// The keys of a freeze as they stand in an upgrade file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenFreeze {
    from: String,
    until: String,
    zone: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    reason: String,
}

/// The days of the week, as they are written.
const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

fn day_of(text: &str) -> Result<Weekday, ScheduleError> {
    let found = DAYS.iter().find(|(name, _)| *name == text);
    found
        .map(|(_, day)| *day)
        .ok_or_else(|| ScheduleError::Day(text.to_owned()))
}

fn name_of(day: Weekday) -> String {
    let found = DAYS.iter().find(|(_, known)| *known == day);
    found.map_or("", |(name, _)| name).to_owned()
}

impl TryFrom<WrittenWindow> for Window {
    type Error = ScheduleError;

    fn try_from(written: WrittenWindow) -> Result<Self, ScheduleError> {
        let days = match &written.days {
            None => DAYS.map(|(_, day)| day).to_vec(),
            Some(days) if days.is_empty() => return Err(ScheduleError::NoDay),
            Some(days) => days
                .iter()
                .map(|day| day_of(day))
                .collect::<Result<_, _>>()?,
        };
        let wrong = |_| ScheduleError::Start(written.start.clone());
        let start = Time::strptime("%H:%M", &written.start).map_err(wrong)?;
        // Days are of 24 hours.
        let length = written.length.parse::<Span>().ok();
        let length = length.and_then(|span| {
            let days = SpanRelativeTo::days_are_24_hours();
            span.to_duration(days).ok()
        });
        let length = length.filter(|length| length.is_positive() && *length <= LENGTH_MAX);
        let wrong = || ScheduleError::Length(written.length.clone());
        Ok(Self {
            days,
            start,
            length: length.ok_or_else(wrong)?,
            zone: Zone::read(&written.zone)?,
        })
    }
}

impl From<Window> for WrittenWindow {
    fn from(window: Window) -> Self {
        Self {
            days: Some(window.days.into_iter().map(name_of).collect()),
            start: window.start.strftime("%H:%M").to_string(),
            length: format!("{:#}", window.length),
            zone: window.zone.to_string(),
        }
    }
}

/// The years of moments: what lies further away cannot be computed in every zone.
const YEARS: std::ops::RangeInclusive<i16> = 1970..=9000;

/// A day, or a moment of it.
fn moment_of(text: &str) -> Result<DateTime, ScheduleError> {
    let day = || text.parse::<Date>().ok().map(DateTime::from);
    // The zone is said elsewhere: neither a zone nor an offset stands behind the time of day.
    let behind = text
        .split_once(['T', 't', ' '])
        .map_or("", |(_, time)| time);
    let is_zoned = text.contains(['Z', 'z', '+', '[']) || behind.contains('-');
    let read = Some(text).filter(|_| !is_zoned);
    let read = read.and_then(|text| text.parse::<DateTime>().ok().or_else(day));
    let read = read.ok_or_else(|| ScheduleError::Moment(text.to_owned()))?;
    if YEARS.contains(&read.year()) {
        Ok(read)
    } else {
        Err(ScheduleError::Year {
            moment: text.to_owned(),
            first: *YEARS.start(),
            last: *YEARS.end(),
        })
    }
}

impl TryFrom<WrittenFreeze> for Freeze {
    type Error = ScheduleError;

    fn try_from(written: WrittenFreeze) -> Result<Self, ScheduleError> {
        let (from, until) = (moment_of(&written.from)?, moment_of(&written.until)?);
        if until <= from {
            return Err(ScheduleError::FreezeBackwards {
                from: written.from,
                until: written.until,
            });
        }
        Ok(Self {
            from,
            until,
            zone: Zone::read(&written.zone)?,
            reason: written.reason,
        })
    }
}

impl From<Freeze> for WrittenFreeze {
    fn from(freeze: Freeze) -> Self {
        Self {
            from: freeze.from.to_string(),
            until: freeze.until.to_string(),
            zone: freeze.zone.to_string(),
            reason: freeze.reason,
        }
    }
}

#[cfg(test)]
mod tests;
