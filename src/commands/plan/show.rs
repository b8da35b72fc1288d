//! A plan as people read it.

use super::PlannedUpgrade;
use crate::commands::events::clock;
use crate::output::{self, counted, lasting};
use simulate::{ClassPlan, PlanSpread, UpgradePlan};

/// So many reasons of waits are shown.
const WAITS_SHOWN: usize = 6;

/// Prints a plan, and the other one where there is one.
pub(super) fn print(planned: &PlannedUpgrade) -> anyhow::Result<()> {
    let Some(other) = &planned.compared else {
        return one(planned);
    };
    output::line(format!("{}:", planned.name))?;
    one(planned)?;
    output::line(format!("\n{}:", other.name))?;
    one(other)?;
    if let (Some(this), Some(that)) = (planned.plan.end_ms, other.plan.end_ms) {
        output::line(format!(
            "\n{} ends {} (p50), {} (p90) than {}.",
            planned.name,
            difference(this.p50_ms, that.p50_ms),
            difference(this.p90_ms, that.p90_ms),
            other.name
        ))?;
    }
    Ok(())
}

fn one(planned: &PlannedUpgrade) -> anyhow::Result<()> {
    let plan = &planned.plan;
    output::line(format!(
        "Version {} from {} on: {}, {} with seed {}{}.",
        plan.version,
        clock(plan.start_ms),
        counted(plan.nodes, "node", "nodes"),
        counted(plan.courses as usize, "course", "courses"),
        plan.seed,
        stood_for(plan)
    ))?;
    if let Some(end) = plan.end_ms {
        let last = if plan.stuck.is_some() {
            "The last node that gets there"
        } else {
            "The last node"
        };
        output::line(format!(
            "{last} settles after {} (p50), {} (p90): {}, {}.",
            lasting(end.p50_ms),
            lasting(end.p90_ms),
            clock(plan.start_ms + end.p50_ms),
            clock(plan.start_ms + end.p90_ms)
        ))?;
    }
    if plan.classes.is_empty() {
        output::line("Every node is there already.")?;
    } else {
        classes(plan)?;
    }
    if !plan.waits.is_empty() {
        let waits = plan.waits.iter().take(WAITS_SHOWN);
        let waits = waits.map(|wait| format!("{} {}", wait.reason, lasting(wait.node_ms)));
        let waits: Vec<String> = waits.collect();
        output::line(format!("All nodes together wait: {}.", waits.join(", ")))?;
    }
    let never = plan.never.round() as usize;
    if let Some(stuck) = &plan.stuck {
        output::line(format!(
            "{} there. The first: {} to version {}: {}",
            counted(never, "node never gets", "nodes never get"),
            stuck.node,
            stuck.version,
            stuck.why
        ))?;
    }
    for empty in plan
        .empty_waves
        .iter()
        .filter(|empty| empty.taken_by.is_none())
    {
        output::line(format!(
            "Wave {} of {} takes no node of this fleet.",
            empty.wave, empty.class
        ))?;
    }
    for granted in &plan.taken_for_granted {
        output::line(format!("Taken for granted: {granted}."))?;
    }
    planned.findings.iter().try_for_each(output::line)
}

fn classes(plan: &UpgradePlan) -> anyhow::Result<()> {
    let header = [
        "VERSION",
        "CLASS",
        "WAVE",
        "NODES",
        "FIRST",
        "HALF",
        "ALL",
        "AWAY AT ONCE",
    ];
    let mut table = output::table(header);
    for class in &plan.classes {
        table.add_row(row(plan, class));
    }
    output::print_table(&table)
}

fn stood_for(plan: &UpgradePlan) -> String {
    if plan.simulated >= plan.nodes {
        return String::new();
    }
    format!(", {} of them simulated for all", plan.simulated)
}

fn row(plan: &UpgradePlan, class: &ClassPlan) -> [String; 8] {
    let has_waves = plan.classes.iter().any(|other| {
        (other.version, &other.class) == (class.version, &class.class) && other.wave.is_some()
    });
    let wave = match class.wave {
        Some(wave) => wave.to_string(),
        None if has_waves => "rest".to_owned(),
        None => String::new(),
    };
    [
        class.version.to_string(),
        class.class.clone(),
        wave,
        class.nodes.to_string(),
        both(class.first_ms),
        both(class.half_ms),
        both(class.all_ms),
        class.unavailable_max.to_string(),
    ]
}

/// The median and the p90.
fn both(spread: Option<PlanSpread>) -> String {
    spread.map_or_else(
        || "never".to_owned(),
        |spread| format!("{} / {}", lasting(spread.p50_ms), lasting(spread.p90_ms)),
    )
}

fn difference(this_ms: u64, other_ms: u64) -> String {
    if this_ms == other_ms {
        "no later".to_owned()
    } else if this_ms < other_ms {
        format!("{} earlier", lasting(other_ms - this_ms))
    } else {
        format!("{} later", lasting(this_ms - other_ms))
    }
}
