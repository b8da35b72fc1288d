//! What came of a run: as a table for people, as a line of JSON, as a page of the documentation.

use super::programs::Program;
use super::row::Row;
use serde::Serialize;
use std::fmt::Write;

/// All rows.
pub(super) struct Report {
    pub(super) rows: Vec<Row>,
    pub(super) seconds: u64,
}

/// The last line of `--json`.
#[derive(Serialize)]
struct Summary<'a> {
    programs: usize,
    passed: usize,
    rows: &'a [Row],
}

impl Report {
    /// How many passed.
    pub(super) fn passed(&self) -> usize {
        self.rows.iter().filter(|row| row.passed()).count()
    }

    /// As one line of JSON.
    pub(super) fn json(&self) -> anyhow::Result<String> {
        let summary = Summary {
            programs: self.rows.len(),
            passed: self.passed(),
            rows: &self.rows,
        };
        Ok(serde_json::to_string(&summary)?)
    }

    /// For people.
    pub(super) fn table(&self) -> String {
        let names = self.rows.iter().map(|row| row.program.len());
        let width = names.max().unwrap_or(0).max("PROGRAM".len());
        let mut text = format!(
            "\n{:width$}  STARTS  AS BARE  UPGRADE  FLIP BACK   CALLS  FAILED  RESETS  SLOWEST    TIME\n",
            "PROGRAM"
        );
        for row in &self.rows {
            let _ = writeln!(
                text,
                "{:width$}  {:6}  {:7}  {:7}  {:9}  {:6}  {:6}  {:6}  {:5} ms  {:4} s",
                row.program,
                word(row.starts),
                word(row.same_as_bare),
                word(row.upgrade),
                word(row.flip_back),
                row.calls,
                row.failed,
                row.resets,
                row.slowest_ms,
                row.seconds
            );
        }
        for row in self.rows.iter().filter(|row| !row.passed()) {
            for why in &row.why {
                let _ = writeln!(text, "\n{}:\n{}", row.program, indented(why).trim_end());
            }
        }
        let _ = writeln!(
            text,
            "\n{} of {} programs passed, {} s",
            self.passed(),
            self.rows.len(),
            self.seconds
        );
        text
    }

    /// The page docs/reference/compatibility.md.
    pub(super) fn page(&self, programs: &[Program]) -> String {
        let mut text = HEAD.to_owned();
        for naive in [false, true] {
            text += if naive { NAIVE } else { REAL };
            let (first, rule) = if naive {
                ("what it does", "")
            } else {
                ("program | version", "---|")
            };
            let _ = writeln!(
                text,
                "| {first} | starts | same as bare | upgrade | flip back | calls | failed | resets |\n|{rule}---|---|---|---|---|---|---|---|",
            );
            for program in programs.iter().filter(|program| program.naive == naive) {
                let row = self.rows.iter().find(|row| row.program == program.name);
                text += &row.map(|row| line(program, row)).unwrap_or_default();
            }
        }
        let _ = write!(
            text,
            "\n{} of {} passed, in {} minutes.\n",
            self.passed(),
            self.rows.len(),
            self.seconds.div_ceil(60)
        );
        let notes = programs.iter().flat_map(|program| {
            let notes = program.without.iter();
            notes.map(|(column, why)| format!("- {}, {column}: {why}\n", program.title))
        });
        let notes: String = notes.collect();
        if !notes.is_empty() {
            let _ = write!(
                text,
                "\nA dash means that it makes no sense there:\n\n{notes}"
            );
        }
        text + LIMITS
    }

    /// The page with the rows of this run instead of those of before.
    pub(super) fn renewed(&self, page: &str, programs: &[Program]) -> String {
        let tried = |row: &Row| programs.iter().find(|program| program.name == row.program);
        let rows = self.rows.iter().filter_map(|row| Some((tried(row)?, row)));
        let new: Vec<(String, String)> = rows
            .map(|(program, row)| (format!("| {} |", program.title), line(program, row)))
            .collect();
        let renewed = page.lines().map(|old| {
            let row = new.iter().find(|(begins, _)| old.starts_with(begins));
            row.map_or(old, |(_, line)| line.trim_end())
        });
        let lines: Vec<&str> = renewed.collect();
        let titles: Vec<String> = programs
            .iter()
            .map(|program| format!("| {} |", program.title))
            .collect();
        let is_row = |line: &&&str| titles.iter().any(|title| line.starts_with(title));
        let all = lines.iter().filter(is_row);
        let passed = all.clone().filter(|line| !line.contains("| NO |")).count();
        let sum = format!("{passed} of {} passed", all.count());
        let summed = lines.iter().map(|line| match line.split_once(" passed, ") {
            Some(_) => format!("{sum}, in more than one run.\n"),
            None => format!("{line}\n"),
        });
        summed.collect()
    }
}

/// A row of the page.
fn line(program: &Program, row: &Row) -> String {
    let version = if program.naive {
        String::new()
    } else {
        format!(" {} |", version(&row.version).unwrap_or_default())
    };
    format!(
        "| {} |{version} {} | {} | {} | {} | {} | {} | {} |\n",
        program.title,
        word(row.starts),
        word(row.same_as_bare),
        word(row.upgrade),
        word(row.flip_back),
        row.calls,
        row.failed,
        row.resets
    )
}

/// The number in what a program says of its version: the first with a point, or all of it.
fn version(said: &str) -> Option<&str> {
    let is_number = |letter: char| letter.is_ascii_digit() || letter == '.';
    let mut numbers = said
        .split(|letter| !is_number(letter))
        .map(|number| number.trim_matches('.'));
    let whole = said.chars().all(is_number).then_some(said);
    numbers.find(|number| number.contains('.')).or(whole)
}

fn word(column: Option<bool>) -> &'static str {
    match column {
        Some(true) => "yes",
        Some(false) => "NO",
        None => "-",
    }
}

/// Text with a margin.
pub(super) fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

/// The programs, a line each.
pub(super) fn list(programs: &[Program]) -> String {
    let width = programs.iter().map(|program| program.name.len()).max();
    let width = width.unwrap_or(0);
    let mut text = String::new();
    for program in programs {
        let quick = if program.quick { "quick" } else { "" };
        let _ = writeln!(
            text,
            "{:width$}  {quick:5}  {}",
            program.name, program.title
        );
    }
    text
}

const HEAD: &str = "\
# Compatibility

<!-- Generated: `cargo xtask matrix --write-docs` -->

Each of these programs was run as its users run it, unmodified: first bare, then as a node of a system. `cargo xtask matrix` does all
of it again, on any machine with Debian's packages; `--only NAME` tries one program, `matrix/README.md` says how to add one.

| column | what was tried |
|---|---|
| starts | it starts under its agent, and its health is seen by the probe that its users would write |
| same as bare | one conversation, errors and mistakes included, gives the same bytes bare and under Upstart, for a caller from outside and for one that is a member; the program sees the same callers' addresses; what it calls itself, outside and at a member, sees and answers the same |
| upgrade | an upgrade to a version with the same interface settles while callers call all the time, some with a connection for each call, some with one that they keep |
| flip back | two upgrades that fail, one whose software listens and is never healthy, one whose software ends at once: each time the node goes back and serves as before, for the same callers |
| calls, failed, resets | what these callers counted in all three upgrades. A reset is a connection that was open at a process that was stopped, which nobody but that process could have gone on with; no caller may see more than one each time |
";

const REAL: &str = "\n## Programs\n\n";

const NAIVE: &str = "\n## Ways to listen\n\nSmall programs that do one thing each as nobody should, but some do.\n\n";

const LIMITS: &str = "
## What the table does not say

- Programs that use io_uring for their connections are not intercepted where that is allowed; it is refused unless the upgrade file says
  `allow_io_uring`, and they fall back to other calls or say that they cannot run.
- Datagrams (UDP, QUIC) are left alone: they carry no label, and nothing holds them while a node upgrades.
- A connection that is open at a process which is stopped ends with it. Callers that reconnect do not lose a call.
- Versions whose interface differs need an adapter; here both versions had the same.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_say() {
        assert_eq!(version("nginx version: nginx/1.22.1"), Some("1.22.1"));
        assert_eq!(version("v20.20.2"), Some("20.20.2"));
        assert_eq!(version("go version go1.19.8 linux/amd64"), Some("1.19.8"));
        assert_eq!(version("1:4.1.48-7"), Some("4.1.48"));
        assert_eq!(version("25"), Some("25"));
        assert_eq!(version("no number"), None);
        assert_eq!(version("Python 3.11.2"), Some("3.11.2"));
    }

    #[test]
    fn the_line_of_json_has_the_columns_that_are_promised() {
        let report = Report {
            rows: vec![Row {
                program: "one".to_owned(),
                starts: Some(true),
                ..Row::default()
            }],
            seconds: 1,
        };
        assert_eq!(
            report.json().expect("JSON"),
            r#"{"programs":1,"passed":1,"rows":[{"program":"one","starts":true,"same_as_bare":null,"upgrade":null,"flip_back":null,"calls":0,"failed":0,"resets":0}]}"#
        );
    }
}
