//! `upstart plan`: what an upgrade will do to whom and when, from the live fleet or from a saved one.

mod fleet;
mod history;
mod measured;
mod picture;
mod show;

use crate::commands::check::{complain, prove};
use crate::describe::now_ms;
use crate::failure::{Advise, CommandEnd, CommandOutcome, failure, refusal};
use crate::globals::Globals;
use crate::output;
use clap::Args;
use fleet::SavedFleet;
use model::api::Approval;
use model::bundle::Upgrade;
use model::ids::{Revision, Version};
use serde::Serialize;
use simulate::{ClassPlan, PlanSettings, Scenario, ScenarioError, TimeDistribution, UpgradePlan};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// More courses say nothing more, and only take time.
const COURSES_MAX: i64 = 10_000;

/// Arguments of `upstart plan`.
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// The folder with `upgrade.toml`; without it, the newest upgrade that is published
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Take the fleet from this file instead of the server
    #[arg(long, value_name = "FILE")]
    fleet: Option<PathBuf>,
    /// Write the fleet into this file, for `--fleet`
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// The folder of an earlier upgrade that neither the server nor the saved fleet has (repeatable)
    #[arg(long, value_name = "DIR")]
    after: Vec<PathBuf>,
    /// How long a node is unavailable while it upgrades: `5s`, or `p50=2s,p90=8s` [default: as measured in earlier upgrades]
    #[arg(long, value_name = "TIME")]
    unavailable: Option<TimeDistribution>,
    /// How long a node takes to stage the version [default: as measured at the last upgrade, else no time]
    #[arg(long, value_name = "TIME")]
    staging: Option<TimeDistribution>,
    /// When it is published, like `2026-12-20T18:00:00Z`; a day or a moment without a zone is one of UTC [default: now, or when the fleet
    /// was saved]
    #[arg(long, value_name = "MOMENT", value_parser = moment)]
    at: Option<jiff::Timestamp>,
    /// Plan as if somebody approved at once
    #[arg(long)]
    approve: bool,
    /// Also plan this folder, and show the difference
    #[arg(long, value_name = "DIR", requires = "directory")]
    compare: Option<PathBuf>,
    /// Draw the plan into this file, as SVG
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// How many courses are played
    #[arg(long, value_name = "N", default_value_t = 20)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=COURSES_MAX))]
    courses: u32,
    /// What the random numbers begin with: the same seed gives the same plan
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// A fleet of more nodes is not simulated node for node, but by some that stand for those like them
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    simulate_at_most: usize,
}

/// A plan, and what speaks against it.
#[derive(Debug, Serialize)]
struct PlannedUpgrade {
    #[serde(flatten)]
    plan: UpgradePlan,
    /// What can never happen as the schedule says it.
    findings: Vec<String>,
    /// Which folder it is of, where two are compared.
    #[serde(skip)]
    name: String,
    /// The plan of the folder that it is compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    compared: Option<Box<Self>>,
}

impl PlannedUpgrade {
    /// Puts its classes in the order of another plan, so that what is compared stands in the same place.
    fn stand_as(&mut self, other: &Self) {
        let place = |class: &ClassPlan| {
            let key = (class.version, &class.class, class.wave);
            let mut others = other.plan.classes.iter();
            let found = others.position(|other| (other.version, &other.class, other.wave) == key);
            found.unwrap_or(usize::MAX)
        };
        self.plan.classes.sort_by_key(place);
    }

    /// Nothing is written that can never happen, and nobody waits for ever. Nodes that are away are another matter.
    fn is_sound(&self) -> bool {
        self.findings.is_empty() && self.plan.held_up < 0.5
    }
}

/// `upstart plan`.
pub(crate) fn run(globals: &Globals, arguments: &PlanArgs) -> CommandOutcome {
    let saved = match &arguments.fleet {
        Some(file) => SavedFleet::read(file)?,
        None => SavedFleet::ask(globals)?,
    };
    if let Some(file) = &arguments.save {
        saved.write(file)?;
    }
    let upgrade = match &arguments.directory {
        None if arguments.save.is_some() && arguments.svg.is_none() => {
            return saved_it(globals, &saved);
        }
        None => None,
        Some(directory) => match prove(directory)? {
            Ok(proved) => Some(proved.checked.upgrade),
            Err(errors) => return complain(globals, &errors),
        },
    };
    let mut planned = planned(arguments, &saved, upgrade.as_ref())?;
    if let Some(directory) = &arguments.compare {
        match prove(directory)? {
            Ok(other) => {
                let mut other = self::planned(arguments, &saved, Some(&other.checked.upgrade))?;
                other.name = shown(directory);
                planned.name = arguments
                    .directory
                    .as_deref()
                    .map(shown)
                    .unwrap_or_default();
                other.stand_as(&planned);
                planned.compared = Some(Box::new(other));
            }
            Err(errors) => return complain(globals, &errors),
        }
    }
    if let Some(file) = &arguments.svg {
        let picture = picture::drawn(&planned);
        let what = format!("{} cannot be written", file.display());
        std::fs::write(file, picture).advise(what, "name a file that you may write")?;
    }
    if globals.json {
        output::json(&planned)?;
    } else {
        show::print(&planned)?;
    }
    Ok(if planned.is_sound() {
        CommandEnd::Yes
    } else {
        CommandEnd::No
    })
}

fn saved_it(globals: &Globals, saved: &SavedFleet) -> CommandOutcome {
    if globals.json {
        output::json(&serde_json::json!({ "nodes": saved.nodes.len() }))?;
    } else {
        let nodes = output::counted(saved.nodes.len(), "node", "nodes");
        output::line(format!("Saved {nodes}."))?;
    }
    Ok(CommandEnd::Yes)
}

/// Plans an upgrade on top of what there is; without one, the newest that there is.
fn planned(
    arguments: &PlanArgs,
    saved: &SavedFleet,
    upgrade: Option<&Upgrade>,
) -> anyhow::Result<PlannedUpgrade> {
    let scenario = scenario(arguments, saved, upgrade)?;
    let settings = PlanSettings {
        seed: arguments.seed,
        courses: arguments.courses,
        nodes_max: arguments.simulate_at_most.max(1),
    };
    let plan = simulate::plan(&scenario, &settings).map_err(|error| {
        let next = match &error {
            ScenarioError::Beyond { version, .. } => {
                format!("plan version {version}, or one after it: nobody goes back")
            }
            ScenarioError::Retired { .. } | ScenarioError::TooLate => {
                "write the fleet anew with `upstart plan --save FILE`, or mend `retired_through` and `taken_at_ms` in it".to_owned()
            }
            _ => "give the folder of every upgrade that the fleet has seen with `--after`, and a fleet of this system".to_owned(),
        };
        refusal(format!("this cannot be planned: {error}"), next)
    })?;
    Ok(PlannedUpgrade {
        findings: short_windows(&scenario)
            .into_iter()
            .chain(useless_waves(&plan))
            .collect(),
        plan,
        name: String::new(),
        compared: None,
    })
}

fn scenario(
    arguments: &PlanArgs,
    saved: &SavedFleet,
    upgrade: Option<&Upgrade>,
) -> anyhow::Result<Scenario> {
    let (history, listed) = history::of(saved, &arguments.after, upgrade)?;
    let newest = history.newest();
    let unavailable = match &arguments.unavailable {
        Some(_) => BTreeMap::new(),
        None => measured::by_class(&saved.unavailable_ms),
    };
    let otherwise = (arguments.unavailable.clone())
        .or_else(|| measured::of_all(&saved.unavailable_ms))
        .ok_or_else(not_measured)?;
    let staging = (arguments.staging.clone())
        .or_else(|| TimeDistribution::measured(saved.staging_ms.clone()))
        .unwrap_or(TimeDistribution::Constant { ms: 0 });
    let mut approvals = saved.approvals.clone();
    if arguments.approve {
        approvals.extend(history.versions().map(approved));
    }
    let at_ms = arguments
        .at
        .map(|at| u64::try_from(at.as_millisecond()).unwrap_or(0));
    let start_ms = at_ms.unwrap_or_else(|| match &arguments.fleet {
        Some(_) if saved.taken_at_ms > 0 => saved.taken_at_ms,
        _ => now_ms(),
    });
    tracing::debug!(%newest, start_ms, "plans");
    Ok(Scenario {
        history: history.into(),
        listed,
        approvals,
        paused: saved.paused.clone(),
        retired_through: saved.retired_through,
        nodes: saved.nodes.clone(),
        unavailable,
        otherwise_unavailable: otherwise,
        staging,
        forecast: BTreeMap::new(),
        start_ms,
    })
}

fn not_measured() -> anyhow::Error {
    failure(
        "nothing is known of how long a node is unavailable: the newest entries of the history show no node that has upgraded",
        "say it: `--unavailable 5s`, or `--unavailable p50=2s,p90=8s`",
    )
}

fn approved(version: Version) -> Approval {
    Approval {
        version,
        revision: Revision(u32::MAX),
        class: None,
        node: None,
        author: String::new(),
        at_ms: 0,
    }
}

/// Classes whose every window is over before half of those that begin with it are back.
fn short_windows(scenario: &Scenario) -> Vec<String> {
    let release = scenario.history.release(scenario.history.newest());
    let classes = release.iter().flat_map(|release| release.classes.values());
    let short = classes.filter_map(|class| {
        let windows = class.schedule.calendar.windows.iter();
        let longest = windows.map(|window| window.length.as_millis()).max()?;
        let longest_ms = u64::try_from(longest).ok()?;
        let away_ms = scenario.unavailable(&class.name).quantile_ms(0.5);
        (longest_ms < away_ms).then(|| {
            format!(
                "class.{}.schedule.windows: the longest window lasts {}, and a node is unavailable for {} (p50): it would be away when the window has closed; make it longer",
                class.name,
                output::lasting(longest_ms),
                output::lasting(away_ms)
            )
        })
    });
    short.collect()
}

/// Waves that take nobody in any fleet: one before them has taken whoever they could take.
fn useless_waves(plan: &UpgradePlan) -> Vec<String> {
    let useless = plan.empty_waves.iter().filter_map(|empty| {
        let (class, wave, by) = (&empty.class, empty.wave, empty.taken_by?);
        Some(format!(
            "class.{class}.schedule.waves: wave {wave} of {class} takes no node: wave {by} has all that it could take, and those that go after its `at_most` go with the rest; give wave {by} a `share` or `nodes` of its own"
        ))
    });
    useless.collect()
}

/// Reads a moment: as schedules do, a day alone begins at midnight.
fn moment(text: &str) -> Result<jiff::Timestamp, String> {
    use jiff::civil::{Date, DateTime};
    use jiff::tz::TimeZone;
    let wrong =
        |_| format!("`{text}` is no moment; write it like `2026-12-20T18:00:00Z`, or `2026-12-20`");
    if let Ok(moment) = text.parse() {
        return Ok(moment);
    }
    let local = (text.parse::<DateTime>()).or_else(|_| text.parse::<Date>().map(DateTime::from));
    let local = local.map_err(wrong)?;
    let zoned = local.to_zoned(TimeZone::UTC).map_err(wrong)?;
    Ok(zoned.timestamp())
}

/// A folder as messages name it.
fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::moment;

    #[test]
    fn a_day_and_a_moment_without_a_zone_are_moments() {
        let at = |text: &str| moment(text).expect(text).to_string();
        assert_eq!(at("2026-12-20T18:00:00Z"), "2026-12-20T18:00:00Z");
        assert_eq!(at("2026-12-20T18:00"), "2026-12-20T18:00:00Z");
        assert_eq!(at("2026-12-20"), "2026-12-20T00:00:00Z");
        let told = moment("tomorrow").expect_err("none");
        assert!(told.starts_with("`tomorrow` is no moment; write it like"));
    }
}
