//! What commands print on stdout: tables for people, JSON for programs; a reader that goes away is no panic.
//!
//! What others have written (names, reasons, messages, files) may hold what a terminal takes as an order, or what reads like a line of
//! ours. For people it is made visible; programs get it as it is, as JSON.

pub(crate) use model::visible::visible;

use comfy_table::{ContentArrangement, presets};
use serde::Serialize;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the reader of our stdout has gone (`upstart events | head`).
static READER_HAS_GONE: AtomicBool = AtomicBool::new(false);

/// Prints these bytes. A reader that has gone is no error, nor an answer: what the command does, or what its exit code is to say, goes on
/// without a word; a command that only prints looks at [`reader_has_gone`].
pub(crate) fn bytes(bytes: &[u8]) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            READER_HAS_GONE.store(true, Ordering::Relaxed);
            Ok(())
        }
        outcome => Ok(outcome?),
    }
}

/// Whether nobody reads any more what is printed.
pub(crate) fn reader_has_gone() -> bool {
    READER_HAS_GONE.load(Ordering::Relaxed)
}

/// Prints one line, or more of our own.
pub(crate) fn line(text: impl std::fmt::Display) -> anyhow::Result<()> {
    let text = text.to_string();
    bytes(format!("{}\n", visible(&text)).as_bytes())
}

/// Says one line on stderr, beside what is printed. Nobody may be listening.
pub(crate) fn note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "upstart: {}", visible(text));
}

/// Prints one value as one line of JSON.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    let text = serde_json::to_string(value)?;
    bytes(format!("{text}\n").as_bytes())
}

/// The same for a text within a line of ours: what follows its first line is set in, so that it does not read like another line.
pub(crate) fn within(text: &str) -> String {
    visible(text).trim_end().replace('\n', "\n    ")
}

/// A line of the log in which nothing is another line, nor an order to a terminal but for our own colours.
pub(crate) fn one_line(line: &str) -> String {
    let (body, end) = match line.strip_suffix('\n') {
        Some(body) => (body, "\n"),
        None => (line, ""),
    };
    // The subscriber escapes this letter in what others wrote, and colours its own words with it.
    let parts: Vec<String> = (body.split('\x1b'))
        .map(|part| visible(part).replace('\n', "\\n"))
        .collect();
    parts.join("\x1b") + end
}

/// A table for people: no borders to get in the way of `grep`, columns as wide as they need to be.
pub(crate) struct TextTable(comfy_table::Table);

/// A table with these columns.
pub(crate) fn table<const COLUMNS: usize>(header: [&str; COLUMNS]) -> TextTable {
    let mut table = comfy_table::Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(cells(header));
    TextTable(table)
}

impl TextTable {
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
            if index == last {
                text.into_owned()
            } else {
                text.replace('\n', "\\n")
            }
        })
        .collect()
}

/// Prints a table without the blanks at line ends.
pub(crate) fn print_table(table: &TextTable) -> anyhow::Result<()> {
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

/// How long something lasts, in its two largest units.
pub(crate) fn lasting(ms: u64) -> String {
    if ms < 10_000 {
        return format!("{}.{}s", ms / 1_000, ms % 1_000 / 100);
    }
    let seconds = (ms + 500) / 1_000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{minutes}m {}s", seconds % 60),
        3_600..86_400 => format!("{hours}h {}m", minutes % 60),
        _ => format!("{days}d {}h", hours % 24),
    }
}

/// `1 node`, `2 nodes`.
pub(crate) fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::{cells, duration, lasting, within};

    #[test]
    fn what_others_wrote_does_not_read_like_another_line() {
        assert_eq!(within("one\ntwo\n"), "one\n    two");
        assert_eq!(cells(["a\nb", "c\nd"]), ["a\\nb", "c\nd"]);
    }

    #[test]
    fn a_line_of_the_log_is_one() {
        let forged = "INFO a: name \"x\n2026 WARN a: b\r\u{202e}c\u{200b}\n";
        let line = "INFO a: name \"x\\n2026 WARN a: b\\x0d\\u{202e}c\\u{200b}\n";
        assert_eq!(super::one_line(forged), line);
        assert_eq!(
            super::one_line("\x1b[32mINFO\x1b[0m a\n"),
            "\x1b[32mINFO\x1b[0m a\n"
        );
    }

    #[test]
    fn times_are_told_in_their_two_largest_units() {
        let told = [0, 1_250, 9_999, 59_499, 61_000, 3_660_000, 90_000_000].map(lasting);
        assert_eq!(
            told,
            ["0.0s", "1.2s", "9.9s", "59s", "1m 1s", "1h 1m", "1d 1h"]
        );
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
