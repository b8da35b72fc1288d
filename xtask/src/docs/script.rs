//! A page's steps as one shell script that leaves each step's output in a file of its number.

use super::expected;
use super::page::{Page, Step};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Whatever happens, nothing that a page started runs on: background jobs, agents, and the software that outlives them.
const CLEAN_UP: &str = r#"
clean_up() {
    end_hosts
    kill $(jobs -p) 2> /dev/null || true
    wait
    find "$PLACE" -name journal -type f 2> /dev/null | while read -r journal; do
        upstart stop --data "$(dirname "$journal")" > /dev/null 2>&1 || true
    done
}
trap clean_up EXIT
set -eu
"#;

/// What no page has as a line of its own.
const END: &str = "END OF THE COMMANDS";

/// How a page has hosts of its own.
const HOSTS: &str = include_str!("hosts.sh");

/// Where a page is followed.
#[derive(Debug)]
pub(crate) struct Surroundings {
    /// What stands for `/tmp` on the page; nothing may be left in it.
    pub(crate) place: PathBuf,
    /// Where the outputs go.
    pub(crate) outputs: PathBuf,
    /// Whether the page's build is part of it.
    pub(crate) builds: bool,
}

/// A page's script.
#[derive(Debug)]
pub(crate) struct Script {
    /// For bash.
    pub(crate) text: String,
}

impl Script {
    /// Writes the script of a page.
    pub(crate) fn of(page: &Page, surroundings: &Surroundings) -> Self {
        let place = surroundings.place.display();
        let mut text = format!("PLACE={place}\n{HOSTS}{CLEAN_UP}");
        for (index, step) in page.steps.iter().enumerate() {
            let output = surroundings.outputs.join(index.to_string());
            let output = output.display();
            let written = match step {
                Step::Commands { is_build: true, .. } if !surroundings.builds => Ok(()),
                Step::Commands {
                    text: commands,
                    hosts,
                    ..
                } if hosts.is_empty() => write!(text, "{{\n{commands}}} > {output}\n"),
                Step::Commands {
                    text: commands,
                    hosts,
                    ..
                } => hosts.iter().try_for_each(|host| {
                    write!(text, "on {host} >> {output} <<'{END}'\n{commands}{END}\n")
                }),
                // What is asked at a prompt may be refused: its answer is what counts.
                Step::Exchange {
                    command,
                    host: None,
                    ..
                } => write!(text, "{{\n{command}\n}} > {output} 2>&1 || true\n"),
                Step::Exchange {
                    command,
                    host: Some(host),
                    ..
                } => write!(
                    text,
                    "on {host} > {output} 2>&1 <<'{END}' || true\n{command}\n{END}\n"
                ),
                Step::File {
                    path,
                    is_more,
                    text: content,
                    ..
                } => {
                    // What is added stands apart by an empty line.
                    let (into, gap) = if *is_more { (">>", "\n") } else { (">", "") };
                    write!(
                        text,
                        "mkdir -p \"$(dirname {path})\"\ncat {into} {path} <<'END OF THE FILE'\n{gap}{content}END OF THE FILE\n",
                    )
                }
            };
            written.expect("a string takes everything");
        }
        Self { text }
    }

    /// Compares what came out with what the page shows; `file:line: what` for each difference.
    pub(crate) fn differences(page: &Page, outputs: &Path) -> Vec<String> {
        let mut found = Vec::new();
        for (index, step) in page.steps.iter().enumerate() {
            let printed = printed(outputs, index);
            let (line, difference) = match step {
                Step::Commands {
                    line,
                    prints: Some(expected),
                    ..
                } => (line, expected::at_the_end(expected, &printed)),
                Step::Exchange { line, output, .. } => (line, expected::whole(output, &printed)),
                Step::Commands { .. } | Step::File { .. } => continue,
            };
            found.extend(difference.map(|what| format!("{}:{line}: {what}", page.name)));
        }
        found
    }

    /// Everything that was printed, for people.
    pub(crate) fn said(page: &Page, outputs: &Path) -> String {
        (0..page.steps.len())
            .map(|index| printed(outputs, index))
            .collect()
    }
}

fn printed(outputs: &Path, index: usize) -> String {
    std::fs::read_to_string(outputs.join(index.to_string())).unwrap_or_default()
}
