//! The table in the example's README: what is equal and what is refused, by feature and direction.

use super::{Judged, Report, Verdict};
use anyhow::Context;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

const BEGIN: &str = "<!-- generated: the table of the differential test -->";
const END: &str = "<!-- end of what is generated -->";

/// The README with the table in its place.
///
/// # Errors
/// When the README has no place for it.
pub fn readme(text: &str, report: &Report) -> anyhow::Result<String> {
    let (before, rest) = text
        .split_once(BEGIN)
        .context("the README has no place for the table")?;
    let (_, after) = rest
        .split_once(END)
        .context("the README's table has no end")?;
    Ok(format!(
        "{before}{BEGIN}\n\n{}\n{END}{after}",
        table(report)
    ))
}

/// Puts the table into the example's README.
///
/// # Errors
/// When the README cannot be read or written, or has no place for it.
pub fn write_readme(example: &Path, report: &Report) -> anyhow::Result<()> {
    let path = example.join("README.md");
    let text = std::fs::read_to_string(&path)?;
    Ok(std::fs::write(&path, readme(&text, report)?)?)
}

fn table(report: &Report) -> String {
    let mut features: Vec<&str> = Vec::new();
    for judged in report.past.iter().chain(&report.future) {
        if !features.contains(&judged.request.feature.as_str()) {
            features.push(&judged.request.feature);
        }
    }
    let mut text = String::from(
        "| feature | past: equal | refused | future: equal | refused |\n|---|---|---|---|---|\n",
    );
    let cells = |judged: &[Judged], feature: Option<&str>| {
        let of = |equal: bool| {
            let all = judged
                .iter()
                .filter(|j| feature.is_none_or(|f| j.request.feature == f));
            all.filter(|j| (j.verdict == Verdict::Equal) == equal)
                .count()
        };
        format!("{} | {}", of(true), of(false))
    };
    let rows = features.iter().map(|feature| (*feature, Some(*feature)));
    for (name, feature) in rows.chain([("**all**", None)]) {
        let (past, future) = (cells(&report.past, feature), cells(&report.future, feature));
        let _ = writeln!(text, "| {name} | {past} | {future} |");
    }
    for (direction, judged) in [
        (
            "past adapter refuses (old callers, new software)",
            &report.past,
        ),
        (
            "future adapter refuses (new callers, old software)",
            &report.future,
        ),
    ] {
        let _ = writeln!(
            text,
            "\nWhat the {direction}:\n\n| feature | request | because |\n|---|---|---|"
        );
        let mut seen = BTreeSet::new();
        for judged in judged {
            if let Verdict::Refused(why) = &judged.verdict {
                let request = judged.request.to_string().replace('|', "\\|");
                let feature = &judged.request.feature;
                if seen.insert(request.clone()) {
                    let _ = writeln!(
                        text,
                        "| {feature} | `{request}` | {} |",
                        why.replace('|', "\\|")
                    );
                }
            }
        }
    }
    text
}
