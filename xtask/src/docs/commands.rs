//! Commands that stand inside sentences: each one names a command and options that the binary has.

use super::links;
use crate::workspace::Workspace;
use pulldown_cmark::{Event, Options, Parser};
use std::collections::BTreeMap;
use std::path::Path;

/// `file:line: what` for each `upstart COMMAND --option` in a sentence that the binary does not know.
pub(super) fn findings(workspace: &Workspace, upstart: &Path) -> anyhow::Result<Vec<String>> {
    let mut helps = BTreeMap::new();
    let mut found = Vec::new();
    for name in super::names(workspace)? {
        let text = std::fs::read_to_string(workspace.root().join(&name))?;
        for (line, command) in inline(&text) {
            let Some(subcommand) = subcommand(&command) else {
                continue;
            };
            if !helps.contains_key(&subcommand) {
                helps.insert(subcommand.clone(), help(upstart, &subcommand)?);
            }
            let unknown = unknown(&command, helps[&subcommand].as_deref());
            found.extend(unknown.map(|what| format!("{}:{line}: {what}", name.display())));
        }
    }
    Ok(found)
}

/// The spans of code in sentences and tables, with their lines.
fn inline(text: &str) -> Vec<(usize, String)> {
    let events = Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter();
    events
        .filter_map(|(event, range)| match event {
            Event::Code(code) => Some((links::line(&text[..range.start]), code.into_string())),
            _ => None,
        })
        .collect()
}

/// The command's first word behind `upstart`; none where another program, or a general `COMMAND`, is meant.
fn subcommand(command: &str) -> Option<String> {
    let word = command
        .strip_prefix("upstart ")?
        .split_whitespace()
        .next()?;
    let is_general = word.starts_with('-') || word == "COMMAND" || word == "help";
    (!is_general).then(|| word.to_owned())
}

/// A command's help; none when there is no such command.
fn help(upstart: &Path, subcommand: &str) -> anyhow::Result<Option<String>> {
    let output = std::process::Command::new(upstart)
        .args([subcommand, "--help"])
        .output()?;
    let known = output.status.success();
    Ok(known.then(|| String::from_utf8_lossy(&output.stdout).into_owned()))
}

fn unknown(command: &str, help: Option<&str>) -> Option<String> {
    let Some(help) = help else {
        return Some(format!("`{command}`: there is no such command"));
    };
    let words = command.split_whitespace();
    let options = words.map(|word| word.trim_matches(['[', ']']));
    let mut options = options.filter(|word| word.starts_with("--"));
    options
        .find(|option| {
            !help
                .split(|letter: char| letter.is_whitespace() || letter == ',')
                .any(|word| word == *option)
        })
        .map(|option| format!("`{command}`: it has no `{option}`"))
}

#[test]
fn commands_and_options_that_do_not_exist_are_found() {
    let help = Some("Usage\n  -f, --follow  go on\n      --node <NODE>");
    assert_eq!(unknown("upstart events --follow", help), None);
    assert_eq!(unknown("upstart events [--node NODE]", help), None);
    assert!(unknown("upstart events --nod x", help).is_some());
    assert!(unknown("upstart event", None).is_some());
    assert_eq!(subcommand("upstart events -f").as_deref(), Some("events"));
    assert_eq!(subcommand("cargo test"), None);
}
