//! Charts, as SVG in the markup: no style and no script stands in them, colours come from classes.

use crate::words::{grouped, percent};
use maud::{Markup, html};

/// How wide a chart is in its own units.
const WIDTH: u64 = 1_000;

/// How high a bar is.
const BAR: u64 = 20;

/// How high a curve is.
const CURVE: u64 = 120;

/// How many colours there are for versions.
const COLOURS: u32 = 6;

/// The class of a version's colour.
pub(crate) fn colour(version: u32) -> String {
    format!("v{}", version % COLOURS)
}

/// One part of a bar: the class of its colour, what it is, how much.
pub(crate) struct BarPart {
    pub(crate) colour: String,
    pub(crate) what: String,
    pub(crate) number: u64,
}

/// Parts of a whole beside one another. What it shows is said in words, too.
pub(crate) fn bar(parts: &[BarPart], whole: u64) -> Markup {
    let whole = whole.max(1);
    let mut at = 0;
    let placed: Vec<(u64, u64, &BarPart)> = (parts.iter())
        .filter(|part| part.number > 0)
        .map(|part| {
            let left = at * WIDTH / whole;
            at += part.number;
            // Few of many are seen all the same.
            (left, (at * WIDTH / whole - left).max(4), part)
        })
        .collect();
    html! {
        svg .bar viewBox={ "0 0 " (WIDTH) " " (BAR) } preserveAspectRatio="none" role="img" aria-label=(said(parts, whole)) {
            rect .rest x="0" y="0" width=(WIDTH) height=(BAR) {}
            @for (left, width, part) in placed {
                rect class=(part.colour) x=(left) y="0" width=(width) height=(BAR) {
                    title { (part.what) ": " (grouped(part.number)) }
                }
            }
        }
    }
}

fn said(parts: &[BarPart], whole: u64) -> String {
    let parts = parts.iter().filter(|part| part.number > 0);
    let said = parts.map(|part| {
        let share = percent(part.number, whole);
        format!("{}: {} ({share}%)", part.what, grouped(part.number))
    });
    said.collect::<Vec<_>>().join(", ")
}

/// What a bar's colours mean.
pub(crate) fn legend(parts: &[BarPart]) -> Markup {
    html! {
        ul .legend {
            @for part in parts.iter().filter(|part| part.number > 0) {
                li { span .swatch .(part.colour) aria-hidden="true" {} (part.what) " " b { (grouped(part.number)) } }
            }
        }
    }
}

/// How something grew, from nothing on, as an area of steps.
pub(crate) fn area(curve: &[u64], whole: u64, colour: &str, what: &str) -> Markup {
    let whole = whole.max(1);
    let steps = curve.len().max(1) as u64;
    let mut path = format!("M0 {CURVE}");
    for (at, number) in curve.iter().enumerate() {
        let right = (at as u64 + 1) * WIDTH / steps;
        let top = CURVE - (number * CURVE / whole).min(CURVE);
        path.push_str(&format!(" V{top} H{right}"));
    }
    path.push_str(&format!(" V{CURVE} Z"));
    html! {
        svg .area viewBox={ "0 0 " (WIDTH) " " (CURVE) } preserveAspectRatio="none" role="img" aria-label=(what) {
            rect .rest x="0" y="0" width=(WIDTH) height=(CURVE) {}
            path class=(colour) d=(path) { title { (what) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(number: u64) -> BarPart {
        BarPart {
            colour: "v1".to_owned(),
            what: "\"><script>".to_owned(),
            number,
        }
    }

    #[test]
    fn few_of_many_are_seen_and_everything_is_escaped() {
        let drawn = bar(&[part(1), part(99_999)], 100_000).into_string();
        assert!(drawn.contains("width=\"4\""), "{drawn}");
        assert!(!drawn.contains("<script"), "{drawn}");
        assert!(
            drawn.contains("&quot;&gt;&lt;script&gt;: 1 (1%)"),
            "{drawn}"
        );
    }

    #[test]
    fn a_curve_ends_at_its_share_of_the_whole() {
        let drawn = area(&[0, 25, 50], 100, "v2", "half").into_string();
        assert!(drawn.contains("V60 H1000 V120 Z"), "{drawn}");
    }
}
