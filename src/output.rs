//! What commands print on stdout: tables for people, JSON for programs; a reader that goes away is no panic.
//!
//! What others have written (names, reasons, messages, files) may hold what a terminal takes as an order, or what reads like a line of
//! ours. For people it is made visible; programs get it as it is, as JSON.

use comfy_table::{ContentArrangement, presets};
use serde::Serialize;
use std::borrow::Cow;
use std::io::Write;

/// Prints one line, or more of our own.
pub(crate) fn line(text: impl std::fmt::Display) -> anyhow::Result<()> {
    let text = text.to_string();
    Ok(writeln!(std::io::stdout().lock(), "{}", visible(&text))?)
}

/// Prints one value as one line of JSON.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    let text = serde_json::to_string(value)?;
    Ok(writeln!(std::io::stdout().lock(), "{text}")?)
}

/// A text in which nothing is an order to a terminal: such characters are written as `\x1b` or `\u{202e}`. Line ends and tabs stay.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_order) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        match u32::from(letter) {
            _ if !is_order(letter) => shown.push(letter),
            number @ ..=0xff => shown.push_str(&format!("\\x{number:02x}")),
            number => shown.push_str(&format!("\\u{{{number:x}}}")),
        }
    }
    Cow::Owned(shown)
}

/// The same for a text within a line of ours: what follows its first line is set in, so that it does not read like another line.
pub(crate) fn within(text: &str) -> String {
    visible(text).trim_end().replace('\n', "\n    ")
}

/// Control characters, and those that turn the direction of what follows, so that it reads otherwise than it is.
fn is_order(letter: char) -> bool {
    let turns = matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || (letter.is_control() && !matches!(letter, '\n' | '\t'))
}

/// A table for people: no borders to get in the way of `grep`, columns as wide as they need to be.
pub(crate) struct Table(comfy_table::Table);

/// A table with these columns.
pub(crate) fn table<const COLUMNS: usize>(header: [&str; COLUMNS]) -> Table {
    let mut table = comfy_table::Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(cells(header));
    Table(table)
}

impl Table {
    /// Adds a row.
    pub(crate) fn add_row<const COLUMNS: usize>(&mut self, row: [impl AsRef<str>; COLUMNS]) {
        self.0.add_row(cells(row));
    }
}

/// Only the last cell may have several lines: they stand below one another with nothing before them, so that they are no row.
fn cells<const COLUMNS: usize>(row: [impl AsRef<str>; COLUMNS]) -> Vec<String> {
    let last = COLUMNS.saturating_sub(1);
    let cells = row.iter().enumerate();
    cells
        .map(|(index, cell)| {
            let text = visible(cell.as_ref());
            match index == last {
                true => text.into_owned(),
                false => text.replace('\n', "\\n"),
            }
        })
        .collect()
}

/// Prints a table without the blanks at line ends.
pub(crate) fn print_table(table: &Table) -> anyhow::Result<()> {
    for row in table.0.to_string().lines() {
        line(row.trim_end())?;
    }
    Ok(())
}

/// How long ago or ahead, in the largest fitting unit.
pub(crate) fn duration(milliseconds: u64) -> String {
    let seconds = milliseconds / 1_000;
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=7_199 => format!("{}m", seconds / 60),
        7_200..=172_799 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// `1 node`, `2 nodes`.
pub(crate) fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::{cells, duration, visible, within};

    #[test]
    fn nothing_that_others_wrote_is_an_order_to_a_terminal() {
        let text = "a\x1b[2Jb\x07\u{9b}31m\r\u{202e}c\x7f";
        assert_eq!(visible(text), r"a\x1b[2Jb\x07\x9b31m\x0d\u{202e}c\x7f");
        assert_eq!(visible("grün\t\n— ✓"), "grün\t\n— ✓");
    }

    #[test]
    fn what_others_wrote_does_not_read_like_another_line() {
        assert_eq!(within("one\ntwo\n"), "one\n    two");
        assert_eq!(cells(["a\nb", "c\nd"]), ["a\\nb", "c\nd"]);
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!(super::counted(1, "class", "classes"), "1 class");
        assert_eq!(super::counted(0, "class", "classes"), "0 classes");
    }

    #[test]
    fn durations_use_the_largest_fitting_unit() {
        assert_eq!(duration(900), "0s");
        assert_eq!(duration(119_999), "119s");
        assert_eq!(duration(120_000), "2m");
        assert_eq!(duration(7_200_000), "2h");
        assert_eq!(duration(86_400_000 * 3), "3d");
    }
}
