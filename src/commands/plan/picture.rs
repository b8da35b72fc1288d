//! A plan as a picture: a bar for each class and wave, from when its first node begins to when its last has settled.

use super::PlannedUpgrade;
use crate::commands::events::clock;
use crate::output::{counted, lasting};
use simulate::{ClassPlan, UpgradePlan};
use std::fmt::Write as _;

/// Where the bars begin, how wide the whole course is, and the room behind it.
const LEFT: u64 = 200;
const WIDTH: u64 = 700;
const BEHIND: u64 = 140;

/// How high one row is.
const ROW: u64 = 28;

/// The rows of a plan besides its bars: title, legend, moments, and a blank one.
const ROWS_BESIDE: u64 = 4;

/// The colours of a bar, and what they mean.
const PARTS: [(&str, &str); 3] = [
    ("#2b6cb0", "until half have settled (p50)"),
    ("#63a4d8", "until all have (p50)"),
    ("#c9dff0", "until all have (p90)"),
];

/// The plan, and the one that it is compared with, as SVG. Both have the same time axis.
pub(super) fn drawn(planned: &PlannedUpgrade) -> String {
    let plans: Vec<&PlannedUpgrade> = [Some(planned), planned.compared.as_deref()]
        .into_iter()
        .flatten()
        .collect();
    let end_ms = plans.iter().map(|one| end_ms(&one.plan)).max();
    let end_ms = end_ms.unwrap_or(0).max(1);
    let rows = plans
        .iter()
        .map(|one| one.plan.classes.len() as u64 + ROWS_BESIDE);
    let (width, height) = (LEFT + WIDTH + BEHIND, ROW * rows.sum::<u64>());
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"13\" role=\"img\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
    );
    let mut top = 0;
    for one in plans {
        top = block(&mut svg, one, top, end_ms);
    }
    svg.push_str("</svg>\n");
    svg
}

fn end_ms(plan: &UpgradePlan) -> u64 {
    let lasts = plan.classes.iter().filter_map(|class| class.all_ms);
    let ends = lasts.chain(plan.end_ms).map(|end| end.p90_ms);
    ends.max().unwrap_or(0)
}

/// One plan: title, legend, moments and bars. Gives where the next begins.
fn block(svg: &mut String, planned: &PlannedUpgrade, top: u64, end_ms: u64) -> u64 {
    let plan = &planned.plan;
    let name = match planned.name.as_str() {
        "" => String::new(),
        name => format!("{name}: "),
    };
    let title = format!(
        "{name}version {}, {}, {}",
        plan.version,
        counted(plan.nodes, "node", "nodes"),
        counted(plan.courses as usize, "course", "courses")
    );
    let line = top + ROW - 8;
    let _ = writeln!(
        svg,
        "<text x=\"8\" y=\"{line}\" font-size=\"15\" font-weight=\"bold\">{}</text>",
        escaped(&title)
    );
    for (number, (colour, meaning)) in PARTS.iter().enumerate() {
        let left = LEFT + 240 * number as u64;
        let _ = writeln!(
            svg,
            "<rect x=\"{left}\" y=\"{}\" width=\"12\" height=\"12\" fill=\"{colour}\"/><text x=\"{}\" y=\"{}\">{meaning}</text>",
            line + ROW - 11,
            left + 18,
            line + ROW
        );
    }
    let moments = line + 2 * ROW;
    let (first, last) = (clock(plan.start_ms), clock(plan.start_ms + end_ms));
    let right = LEFT + WIDTH;
    let _ = writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"{moments}\">{first}</text><text x=\"{right}\" y=\"{moments}\" text-anchor=\"end\">{last} ({} later)</text>",
        lasting(end_ms)
    );
    for (number, class) in plan.classes.iter().enumerate() {
        bar(svg, class, top + ROW * (number as u64 + 3), end_ms);
    }
    top + ROW * (plan.classes.len() as u64 + ROWS_BESIDE)
}

fn bar(svg: &mut String, class: &ClassPlan, top: u64, end_ms: u64) {
    let wave = class
        .wave
        .map_or_else(String::new, |wave| format!(", wave {wave}"));
    let name = escaped(&format!("{}{wave} ({})", class.class, class.nodes));
    let middle = top + ROW / 2 + 4;
    let _ = writeln!(svg, "<text x=\"8\" y=\"{middle}\">{name}</text>");
    let at = |ms: u64| LEFT + ms * WIDTH / end_ms;
    let Some(first) = class.first_ms else {
        let _ = writeln!(svg, "<text x=\"{LEFT}\" y=\"{middle}\">never</text>");
        return;
    };
    let mut piece = |from_ms: u64, to_ms: u64, colour: &str| {
        let (from, to) = (at(from_ms), at(to_ms.max(from_ms)));
        let (top, high) = (top + 4, ROW - 8);
        let wide = (to - from).max(1);
        let _ = writeln!(
            svg,
            "<rect x=\"{from}\" y=\"{top}\" width=\"{wide}\" height=\"{high}\" fill=\"{colour}\"/>"
        );
    };
    let [(to_half, _), (to_all, _), (to_last, _)] = PARTS;
    let half = class.half_ms.map_or(first.p50_ms, |half| half.p50_ms);
    piece(first.p50_ms, half, to_half);
    if let Some(all) = class.all_ms {
        piece(half, all.p50_ms, to_all);
        piece(all.p50_ms, all.p90_ms, to_last);
        let told = lasting(all.p50_ms);
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{middle}\">{told}</text>",
            at(all.p90_ms) + 6
        );
    } else {
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{middle}\">not all</text>",
            at(half) + 6
        );
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
