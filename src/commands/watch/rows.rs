//! The nodes on the screen: a line each with what fits it, and below it why the node waits and until when.

use crate::{describe, output};
use model::api::{NodeFact, Phase};
use model::ids::Version;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

/// How many cells a node's bar has.
pub(super) const BAR_CELLS: usize = 10;

/// How many lines a node's remark has at most: the whole is in `upstart nodes NAME`.
const REMARK_LINES: usize = 4;

/// How far a remark is set in below its node.
const SET_IN: usize = 2;

/// The columns: their names, their widths, and the narrowest screen on which they are shown.
const COLUMNS: [(&str, usize, u16); 6] = [
    ("node", 16, 0),
    ("class", 12, 60),
    ("version", 9, 0),
    ("phase", 14, 0),
    ("software", 13, 72),
    ("progress", BAR_CELLS, 80),
];

/// The heading of the nodes.
pub(super) fn header(width: u16) -> Line<'static> {
    let cells = COLUMNS.map(|(name, _, _)| Span::raw(name));
    Line::from(placed(cells, width)).style(Style::new().add_modifier(Modifier::DIM))
}

/// A node's lines.
pub(super) fn node_lines(
    node: &NodeFact,
    now_ms: u64,
    highest: Version,
    width: u16,
) -> Vec<Line<'static>> {
    let status = &node.report.status;
    let color = match status.phase {
        Phase::Blocked | Phase::FlippingBack => Color::Red,
        _ if !node.reachable => Color::Red,
        Phase::Settled => Color::Green,
        Phase::Joining | Phase::Staged => Color::Yellow,
        _ => Color::Cyan,
    };
    let cells = [
        Span::raw(output::visible(&node.name).into_owned()),
        Span::raw(output::visible(&node.class).into_owned()),
        Span::raw(describe::version(status)),
        Span::styled(status.phase.words(), color),
        Span::raw(describe::child(node)),
        Span::raw(bar(node)),
    ];
    let mut lines = vec![Line::from(placed(cells, width))];
    let remark = describe::remark(node, now_ms, highest);
    let room = usize::from(width).saturating_sub(SET_IN).max(1);
    let mut wrapped = wrapped(&output::visible(&remark), room);
    if wrapped.len() > REMARK_LINES {
        wrapped.truncate(REMARK_LINES);
        if let Some(last) = wrapped.last_mut() {
            *last = cut(&format!("{last}\u{2026} (`upstart nodes`)"), room);
        }
    }
    lines.extend(
        wrapped
            .into_iter()
            .map(|text| Line::raw(format!("{}{text}", " ".repeat(SET_IN)))),
    );
    lines
}

/// Cells in their columns, those that this screen has room for.
fn placed(cells: [Span<'static>; COLUMNS.len()], width: u16) -> Vec<Span<'static>> {
    let columns = cells.into_iter().zip(COLUMNS);
    let shown = columns.filter(|(_, (_, _, narrowest))| *narrowest <= width);
    let placed = shown.flat_map(|(cell, (_, room, _))| {
        let text = cut(&cell.content, room);
        let blanks = room.saturating_sub(Span::raw(text.as_str()).width()) + 1;
        [
            Span::styled(text, cell.style),
            Span::raw(" ".repeat(blanks)),
        ]
    });
    placed.collect()
}

/// A text that is no wider than this.
fn cut(text: &str, room: usize) -> String {
    if Span::raw(text).width() <= room {
        return text.to_owned();
    }
    let mut shown = String::new();
    for letter in text.chars() {
        shown.push(letter);
        if Span::raw(shown.as_str()).width() >= room {
            shown.pop();
            break;
        }
    }
    shown + "\u{2026}"
}

/// A text in lines that are no wider than this, broken between words where that goes.
fn wrapped(text: &str, room: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for line in text.trim_end().lines() {
        let mut now = String::new();
        for word in line.split(' ') {
            let joined = if now.is_empty() {
                word.to_owned()
            } else {
                format!("{now} {word}")
            };
            if Span::raw(joined.as_str()).width() <= room {
                now = joined;
                continue;
            }
            if !now.is_empty() {
                lines.push(std::mem::take(&mut now));
            }
            now = cut(word, room);
        }
        lines.push(now);
    }
    lines
}

/// A long step's share as a bar of full and light blocks.
fn bar(node: &NodeFact) -> String {
    let Some(progress) = &node.report.status.progress else {
        return String::new();
    };
    let Some(total) = progress.total.filter(|total| *total > 0) else {
        return String::new();
    };
    let percent = describe::percent(progress.done, total) as usize;
    let full = percent * BAR_CELLS / 100;
    format!("{}{}", "█".repeat(full), "░".repeat(BAR_CELLS - full))
}

#[cfg(test)]
mod tests {
    use super::{cut, wrapped};

    #[test]
    fn a_remark_is_broken_between_words_and_nothing_is_wider_than_the_screen() {
        assert_eq!(wrapped("one two three", 8), ["one two", "three"]);
        assert_eq!(wrapped("ab\ncdefghij\n", 5), ["ab", "cdef…"]);
        assert!(wrapped("", 5).is_empty());
        assert_eq!(cut("表表表", 4), "表…");
    }
}
