//! The key `schedule` of a class as written, and what it says when it makes sense.

use super::at_node::{LiveRole, NodeCommand, WrittenCommand, WrittenRole};
use super::calendar::{Calendar, Deadline, Freeze, Window};
use super::gates::{Condition, Gates};
use super::share::NodeLimit;
use super::waves::{self, Wave};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// When the nodes of a class may upgrade. Empty: at once, as soon as every reachable node has staged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Schedule {
    /// At most so many at a time.
    pub rolling: Option<Rolling>,
    /// Other classes first.
    pub after: Option<After>,
    /// A node waits until the last one of its class (and group) has been settled for so long.
    pub soak_ms: u64,
    /// A person must approve.
    pub approval: bool,
    /// At what times.
    pub calendar: Calendar,
    /// Some of its nodes first; then the next, and at last the rest.
    pub waves: Vec<Wave>,
    /// Conditions over how its nodes do.
    pub gates: Gates,
    /// A node begins while this ends with exit code 0.
    pub idle: Option<NodeCommand>,
    /// Nodes with some roles go last.
    pub role: Option<LiveRole>,
}

/// A limit of nodes that are unavailable at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rolling {
    /// So many, or a share of all nodes of the group or class, unreachable ones among them; one at least.
    pub max_unavailable: NodeLimit,
    /// The limit holds for each value of this attribute apart; for the whole class when absent.
    pub group_by: Option<String>,
}

/// An order between classes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct After {
    /// Every node of these classes has settled first.
    pub classes: Vec<String>,
    /// And has been settled for so long.
    pub soak_ms: u64,
}

/// A schedule that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// No node could ever upgrade.
    #[error("`max_unavailable = 0` would let no node upgrade; leave it out for no limit")]
    NothingUnavailable,
    /// Groups limit nothing by themselves.
    #[error("`group_by` says for whom `max_unavailable` holds; add `max_unavailable`")]
    GroupWithoutLimit,
    /// There is nothing to soak after.
    #[error("`after_soak_ms` counts from when the classes of `after` have settled; add `after`")]
    SoakWithoutAfter,
    /// The list names nobody.
    #[error("`after` names no class; leave it out")]
    AfterNothing,
    /// No window begins on no day.
    #[error("`days` names no day, so that the window never opens; leave it out for every day")]
    NoDay,
    /// It is no share.
    #[error("`{0}` is no share of nodes; write one of at most 100%, like `\"5%\"` or `\"12.5%\"`")]
    Share(String),
    /// It is neither a number nor a share.
    #[error(
        "`{0}` is no limit; write a number of nodes, or a share of at most 100%, like `\"5%\"` or `\"12.5%\"`"
    )]
    Limit(String),
    /// Which nodes a wave takes cannot be read.
    #[error("{0}")]
    Wave(String),
    /// Nobody would go before the others.
    #[error("`at_most = 0` makes a wave without nodes; leave the wave out")]
    EmptyWave,
    /// Nobody would be left for the rest.
    #[error("a wave takes every node unless it says which; add `nodes`, `share` or `at_most`")]
    WaveOfAll,
    /// There are too many.
    #[error("a class has at most {0} waves")]
    Waves(usize),
    /// A condition cannot be read, or can give no truth.
    #[error("{0}")]
    Condition(String),
    /// A condition names a metric that is not there.
    #[error(
        "`{condition}` of `{key}` names a metric that `metrics` does not have, or another field of it than `new` and `old`"
    )]
    UnknownMetric {
        /// Which condition.
        key: String,
        /// As it is written.
        condition: String,
    },
    /// Nobody looks at it.
    #[error("neither `go_if` nor `stop_if` names the metric `{0}`; leave it out")]
    UnusedMetric(String),
    /// Nobody looks at any.
    #[error("`metrics` are for `go_if` and `stop_if`; add one of them")]
    MetricsForNothing,
    /// There are too many.
    #[error("a class has at most {0} metrics")]
    Metrics(usize),
    /// It is no name.
    #[error(
        "`{0}` is no name of a metric; names have small letters, digits and `_`, and begin with a letter"
    )]
    MetricName(String),
    /// It is no query.
    #[error("the query of the metric `{name}` is empty or longer than {bytes_max} bytes")]
    Query {
        /// Of which metric.
        name: String,
        /// The longest.
        bytes_max: usize,
    },
    /// It names no program.
    #[error("`{0}` names no program; write `command = [\"${{bundle}}/NAME\"]` with its arguments")]
    NoCommand(String),
    /// It takes too long.
    #[error(
        "the `timeout_ms` of `{key}` is from 1 to {max_ms}: the node begins nothing else meanwhile"
    )]
    Timeout {
        /// Of which command.
        key: String,
        /// The longest.
        max_ms: u64,
    },
    /// It says of nobody that it goes last.
    #[error(
        "`last` of `role` names the roles that go last, like `last = [\"leader\"]`, each of 64 bytes at most"
    )]
    Roles,
    /// There is no group within which an order holds.
    #[error(
        "`role` orders the nodes of a group; add `max_unavailable`, and `group_by` where the class has several"
    )]
    RoleWithoutLimit,
    /// Nothing is waited for that could be ended.
    #[error("a `deadline` ends waiting for `windows` and `idle`; add one of them")]
    DeadlineForNothing,
    /// There is no such day.
    #[error("`{0}` is no day; days are mon, tue, wed, thu, fri, sat and sun")]
    Day(String),
    /// It is no time of day.
    #[error("`{0}` is no time of day; write it like `start = \"22:00\"`")]
    Start(String),
    /// It is no length.
    #[error(
        "`{0}` is no length of a window; write it in days, hours and minutes like `length = \"6h 30m\"`, a week at most"
    )]
    Length(String),
    /// It is no moment.
    #[error(
        "`{0}` is no moment on the clock of the zone; write it like `2026-12-20` or `2026-12-20T18:00`, without an offset"
    )]
    Moment(String),
    /// It is too far away.
    #[error("`{moment}` is too far away: years are from {first} to {last}")]
    Year {
        /// As it is written.
        moment: String,
        /// The first year.
        first: i16,
        /// The last one.
        last: i16,
    },
    /// An empty list says nothing.
    #[error("`{0} = []` would say nothing; leave it out")]
    EmptyList(&'static str),
    /// Nobody waits for so long.
    #[error("`{key} = {ms}` is longer than a year; milliseconds are meant")]
    TooLong {
        /// Which key.
        key: &'static str,
        /// As it is written.
        ms: u64,
    },
    /// There is no such zone.
    #[error(
        "`{0}` is no zone; name one of the IANA's, like `Europe/Berlin` or `UTC`, or `site` for what each node's attribute `zone` says"
    )]
    Zone(String),
    /// It ends before it begins.
    #[error(
        "a freeze from {from} until {until} holds at no moment: `until` is the first moment at which nodes may begin again"
    )]
    FreezeBackwards {
        /// When it begins.
        from: String,
        /// When it ends.
        until: String,
    },
}

/// The keys as they stand in an upgrade file.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_unavailable: Option<NodeLimit>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after_soak_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    soak_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    approval: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    windows: Option<Vec<Window>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    freeze: Option<Vec<Freeze>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deadline: Option<Deadline>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    waves: Option<Vec<Wave>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    idle: Option<WrittenCommand>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    role: Option<WrittenRole>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    go_if: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stop_if: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    metrics: BTreeMap<String, String>,
}

impl TryFrom<Written> for Schedule {
    type Error = ScheduleError;

    fn try_from(written: Written) -> Result<Self, ScheduleError> {
        let group_by = written.group_by;
        let rolling = match (written.max_unavailable, group_by) {
            (Some(NodeLimit::Nodes(0)), _) => return Err(ScheduleError::NothingUnavailable),
            (None, Some(_)) => return Err(ScheduleError::GroupWithoutLimit),
            (None, None) => None,
            (Some(max_unavailable), group_by) => Some(Rolling {
                max_unavailable,
                group_by,
            }),
        };
        let after = match (written.after, written.after_soak_ms) {
            (None, Some(_)) => return Err(ScheduleError::SoakWithoutAfter),
            (Some(classes), _) if classes.is_empty() => return Err(ScheduleError::AfterNothing),
            (None, None) => None,
            (Some(classes), soak_ms) => Some(After {
                classes,
                soak_ms: bounded("after_soak_ms", soak_ms)?,
            }),
        };
        let windows = listed("windows", written.windows)?;
        let freezes = listed("freeze", written.freeze)?;
        let waves = listed("waves", written.waves)?;
        let soak_ms = bounded("soak_ms", written.soak_ms)?;
        if written.deadline.is_some() && windows.is_empty() && written.idle.is_none() {
            return Err(ScheduleError::DeadlineForNothing);
        }
        if written.role.is_some() && rolling.is_none() {
            return Err(ScheduleError::RoleWithoutLimit);
        }
        let idle = written.idle.map(|idle| idle.read("idle")).transpose()?;
        let role = written.role.map(WrittenRole::read).transpose()?;
        Ok(Self {
            rolling,
            after,
            soak_ms,
            approval: written.approval,
            calendar: Calendar {
                windows,
                freezes,
                deadline: written.deadline,
            },
            waves: waves::checked(waves)?,
            gates: Gates::compiled(
                written.go_if.as_deref(),
                written.stop_if.as_deref(),
                written.metrics,
            )?,
            idle,
            role,
        })
    }
}

impl From<Schedule> for Written {
    fn from(schedule: Schedule) -> Self {
        let (max_unavailable, group_by) = schedule
            .rolling
            .map(|rolling| (rolling.max_unavailable, rolling.group_by))
            .unzip();
        let (after, after_soak_ms) = schedule
            .after
            .map(|after| (after.classes, after.soak_ms))
            .unzip();
        Self {
            max_unavailable,
            group_by: group_by.flatten(),
            after,
            after_soak_ms,
            soak_ms: (schedule.soak_ms > 0).then_some(schedule.soak_ms),
            approval: schedule.approval,
            windows: filled(schedule.calendar.windows),
            freeze: filled(schedule.calendar.freezes),
            deadline: schedule.calendar.deadline,
            idle: schedule.idle.map(WrittenCommand::from),
            role: schedule.role.map(WrittenRole::from),
            waves: filled(schedule.waves),
            go_if: source(schedule.gates.go_if.as_ref()),
            stop_if: source(schedule.gates.stop_if.as_ref()),
            metrics: schedule.gates.metrics,
        }
    }
}

fn source(condition: Option<&Condition>) -> Option<String> {
    condition.map(|condition| condition.source().to_owned())
}

/// The longest that anybody waits for: a year, in milliseconds.
const WAIT_MS_MAX: u64 = 366 * 86_400_000;

/// A list that is there has something in it.
fn listed<T>(key: &'static str, list: Option<Vec<T>>) -> Result<Vec<T>, ScheduleError> {
    match list {
        Some(list) if list.is_empty() => Err(ScheduleError::EmptyList(key)),
        list => Ok(list.unwrap_or_default()),
    }
}

fn filled<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

pub(super) fn bounded(key: &'static str, ms: Option<u64>) -> Result<u64, ScheduleError> {
    match ms {
        Some(ms) if ms > WAIT_MS_MAX => Err(ScheduleError::TooLong { key, ms }),
        ms => Ok(ms.unwrap_or(0)),
    }
}
