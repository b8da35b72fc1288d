//! Explanations as people read them.

use crate::output;
use lens::explain::{
    Considered, ExplainedRefusal, ExplainedStep, Explanation, Placed, RuleSeen, Shown,
};

/// Prints the way there, lens by lens, and the way back.
pub(super) fn explanation(explanation: &Explanation) -> anyhow::Result<()> {
    message("The caller sends", Some(&explanation.caller_sends))?;
    for step in &explanation.lenses {
        there(step)?;
    }
    for step in explanation.lenses.iter().rev() {
        back(step)?;
    }
    if explanation
        .lenses
        .iter()
        .all(|step| step.next_answers.is_none() && step.refused.is_none())
    {
        return output::line(
            "\nGive --answer-status (and --answer-body) to see what becomes of an answer.",
        );
    }
    message("The caller gets", explanation.caller_gets.as_ref())
}

fn there(step: &ExplainedStep) -> anyhow::Result<()> {
    let sides = if step.direction == "past" {
        "old to new"
    } else {
        "new to old"
    };
    output::line(format!(
        "\nThe request through {}, {} ({sides})",
        step.file, step.direction
    ))?;
    considered(step, &step.operations, "operation")?;
    if step.passed {
        output::line("  what no operation matches passes unchanged (unmatched = \"pass\")")?;
    }
    rules(step, &step.request, 2)?;
    besides(&step.request_headers)?;
    refusal(step, false)?;
    for (call, answer) in &step.look_ups {
        message("It asks the next in the chain first", Some(call))?;
        message("The next in the chain answers", Some(answer))?;
    }
    message("The next in the chain gets", step.next_gets.as_ref())
}

fn back(step: &ExplainedStep) -> anyhow::Result<()> {
    if step.next_answers.is_none() {
        return Ok(());
    }
    message("The next in the chain answers", step.next_answers.as_ref())?;
    let sides = if step.direction == "past" {
        "new to old"
    } else {
        "old to new"
    };
    output::line(format!(
        "\nThe answer through {}, {} ({sides})",
        step.file, step.direction
    ))?;
    considered(step, &step.responses, "response")?;
    rules(step, &step.answer, 2)?;
    besides(&step.answer_headers)?;
    refusal(step, true)
}

fn considered(step: &ExplainedStep, all: &[Considered], what: &str) -> anyhow::Result<()> {
    let far = all.iter().filter(|one| !one.is_near).count();
    for one in all.iter().filter(|one| one.is_near) {
        let place = format!("{}:{}", step.file, one.line);
        match &one.why_not {
            Some(why) => output::line(format!("  {place}: not {what} {}: {why}", one.name))?,
            None => output::line(format!("  {place}: {what} {} matches", one.name))?,
        }
    }
    if far > 0 {
        output::line(format!(
            "  (looked at and passed over, with another path: {far})"
        ))?;
    }
    if !all.iter().any(|one| one.why_not.is_none()) {
        output::line(format!("  no {what} matches"))?;
    }
    Ok(())
}

fn rules(step: &ExplainedStep, rules: &[RuleSeen], indent: usize) -> anyhow::Result<()> {
    let margin = " ".repeat(indent);
    for rule in rules {
        output::line(format!(
            "{margin}{}:{}: {}",
            step.file, rule.line, rule.rule
        ))?;
        let change = match (places(&rule.before), places(&rule.after)) {
            (before, _) if rule.after.is_empty() => before,
            (before, after) if before.is_empty() => after,
            (before, after) => format!("{before} -> {after}"),
        };
        output::line(format!("{margin}    {:<9} {change}", rule.deed).trim_end())?;
        if let Some(note) = &rule.note {
            output::line(format!("{margin}    {note}"))?;
        }
        for inside in &rule.inside {
            if !inside.item.is_empty() {
                output::line(format!("{margin}    item {}", inside.item))?;
            }
            self::rules(step, &inside.rules, indent + 6)?;
        }
    }
    Ok(())
}

fn places(all: &[Placed]) -> String {
    let shown = |placed: &Placed| {
        let value = placed.value.as_deref().unwrap_or("(nothing)");
        format!("{} {value}", placed.place)
    };
    all.iter().map(shown).collect::<Vec<_>>().join(", ")
}

fn besides(changes: &[String]) -> anyhow::Result<()> {
    match changes {
        [] => Ok(()),
        changes => output::line(format!("  besides: {}", changes.join("; "))),
    }
}

fn refusal(step: &ExplainedStep, of_answer: bool) -> anyhow::Result<()> {
    let Some(ExplainedRefusal {
        kind,
        reason,
        status,
        ..
    }) = step
        .refused
        .as_ref()
        .filter(|refused| refused.of_answer == of_answer)
    else {
        return Ok(());
    };
    output::line(format!("  refused ({kind}) with {status}: {reason}"))
}

fn message(title: &str, shown: Option<&Shown>) -> anyhow::Result<()> {
    let Some(shown) = shown else { return Ok(()) };
    output::line(format!("\n{title}\n  {}", shown.line))?;
    for (name, values) in &shown.headers {
        for value in values {
            output::line(format!("  {name}: {value}"))?;
        }
    }
    if let Some(body) = &shown.body {
        output::line(format!("  {}", body.replace('\n', "\n  ")))?;
    }
    Ok(())
}
