//! What schedules will do to a fleet, and when: nodes ask, begin, are unavailable and settle in virtual time, and what they are answered is
//! the schedules' real code ([`model::schedule::evaluate`]). No I/O and no clock; the same seed gives the same plan.
//!
//! A large fleet is not simulated node for node: [`cast`] chooses those that stand for the others that are like them.

mod asking;
mod cast;
mod course;
mod durations;
mod plan;
mod planned;
mod queue;
mod scenario;
mod tally;
mod waiting;

pub use cast::{Actor, Cast};
pub use course::{Course, CourseStep};
pub use durations::{TimeDistribution, TimeDistributionError};
pub use plan::{ClassPlan, PlanSettings, PlanSpread, PlannedWaits, StuckNode, UpgradePlan, plan};
pub use planned::{PlannedNode, Unavailability};
pub use scenario::{EmptyWave, MetricForecast, Scenario, ScenarioError};

#[cfg(test)]
mod tests;
