//! A plan as a picture: a bar for each class and wave, from when its first node begins to when its last has settled.

use crate::output::lasting;
use simulate::{ClassPlan, UpgradePlan};
use std::fmt::Write as _;

/// Where the bars begin, and how wide the whole course is.
const LEFT: u64 = 200;
const WIDTH: u64 = 700;

/// How high one row is.
const ROW: u64 = 28;

/// The plan as SVG.
pub(super) fn drawn(plan: &UpgradePlan) -> String {
    let lasts = plan.classes.iter().filter_map(|class| class.all_ms);
    let end = lasts
        .map(|all| all.p90_ms)
        .chain(plan.end_ms.map(|end| end.p90_ms));
    let end_ms = end.max().unwrap_or(0).max(1);
    let height = ROW * (plan.classes.len() as u64 + 2);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"13\">\n",
        LEFT + WIDTH + 140
    );
    for (number, class) in plan.classes.iter().enumerate() {
        bar(&mut svg, class, ROW * (number as u64 + 1), end_ms);
    }
    let _ = writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"18\">0</text><text x=\"{}\" y=\"18\" text-anchor=\"end\">{}</text>",
        LEFT + WIDTH,
        lasting(end_ms)
    );
    svg.push_str("</svg>\n");
    svg
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
    let half = class.half_ms.map_or(first.p50_ms, |half| half.p50_ms);
    piece(first.p50_ms, half, "#2b6cb0");
    if let Some(all) = class.all_ms {
        piece(half, all.p50_ms, "#63a4d8");
        piece(all.p50_ms, all.p90_ms, "#c9dff0");
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
