//! What commands print on stdout: tables for people, JSON for programs; a reader that goes away is no panic.

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use std::io::Write;

/// Prints one line.
pub(crate) fn line(text: impl std::fmt::Display) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout().lock(), "{text}")?)
}

/// Prints one value as one line of JSON.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(serde_json::to_string(value)?)
}

/// A table for people: no borders to get in the way of `grep`, columns as wide as they need to be.
pub(crate) fn table<const COLUMNS: usize>(header: [&str; COLUMNS]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header);
    table
}

/// Prints a table without the blanks at line ends.
pub(crate) fn print_table(table: &Table) -> anyhow::Result<()> {
    for row in table.to_string().lines() {
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
    use super::duration;

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
