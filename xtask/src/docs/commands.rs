//! Commands that stand inside sentences: each one names a command and options that the program has.

use super::links;
use crate::scenarios;
use crate::workspace::Workspace;
use clap::CommandFactory;
use pulldown_cmark::{Event, Options, Parser};
use std::collections::BTreeMap;
use std::path::Path;

/// The programs whose commands are looked at.
const PROGRAMS: [&str; 2] = ["upstart ", "cargo xtask "];

/// `file:line: what` for each `upstart COMMAND --option` or `cargo xtask COMMAND` in a sentence that does not exist.
pub(super) fn findings(workspace: &Workspace, upstart: &Path) -> anyhow::Result<Vec<String>> {
    let mut helps = Helps::new(upstart);
    let mut found = Vec::new();
    for name in super::names(workspace)? {
        let text = std::fs::read_to_string(workspace.root().join(&name))?;
        for (line, command) in inline(&text) {
            let what = helps.unknown(&command);
            found.extend(what.map(|what| format!("{}:{line}: {what}", name.display())));
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

/// What the programs say of their commands.
struct Helps<'a> {
    upstart: &'a Path,
    known: BTreeMap<Vec<String>, Option<String>>,
}

impl<'a> Helps<'a> {
    fn new(upstart: &'a Path) -> Self {
        Self {
            upstart,
            known: BTreeMap::new(),
        }
    }

    /// What is wrong with a command; nothing where another program, or a general `COMMAND`, is meant.
    fn unknown(&mut self, text: &str) -> Option<String> {
        let program = PROGRAMS
            .iter()
            .find(|program| text.starts_with(**program))?;
        let words: Vec<&str> = text[program.len()..].split_whitespace().collect();
        let first = *words
            .first()
            .filter(|word| is_name(word) && **word != "help")?;
        let mut path = vec![program.trim().to_owned(), first.to_owned()];
        let mut help = self.help(&path);
        // A command of commands, such as `permit list`.
        let inner = words.get(1).filter(|word| is_name(word));
        if let (Some(inner), true) = (
            inner,
            help.as_ref().is_some_and(|help| help.contains("Commands:")),
        ) {
            path.push((*inner).to_owned());
            help = self.help(&path);
        }
        let Some(help) = help else {
            return Some(format!("`{text}`: there is no such command"));
        };
        let options = words.iter().map(|word| word.trim_matches(['[', ']', '.']));
        let mut options = options.filter(|word| word.starts_with("--"));
        let unknown = options.find(|option| !names(&help).any(|name| name == *option));
        unknown.map(|option| format!("`{text}`: it has no `{option}`"))
    }

    /// A command's help; none when there is no such command.
    fn help(&mut self, path: &[String]) -> Option<String> {
        if let Some(known) = self.known.get(path) {
            return known.clone();
        }
        let help = match path[0].as_str() {
            "upstart" => of_binary(self.upstart, &path[1..]),
            _ => self.of_xtask(&path[1]),
        };
        self.known.insert(path.to_vec(), help.clone());
        help
    }

    fn of_xtask(&self, name: &str) -> Option<String> {
        if scenarios::NAMES.contains(&name) {
            let program = self.upstart.with_file_name("scenarios");
            return of_binary(&program, &[name.to_owned()]);
        }
        let mut root = crate::arguments::Arguments::command();
        let command = root.find_subcommand_mut(name)?;
        Some(command.render_long_help().to_string())
    }
}

/// Whether a word is a command's name, and no value, option or placeholder.
fn is_name(word: &str) -> bool {
    !word.is_empty()
        && word
            .chars()
            .all(|letter| letter.is_ascii_lowercase() || letter == '-')
        && !word.starts_with('-')
}

/// Everything in a help that could be an option.
fn names(help: &str) -> impl Iterator<Item = &str> {
    help.split(|letter: char| letter.is_whitespace() || "[],=".contains(letter))
}

fn of_binary(upstart: &Path, path: &[String]) -> Option<String> {
    let mut command = std::process::Command::new(upstart);
    let output = command.args(path).arg("--help").output().ok()?;
    let known = output.status.success();
    known.then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn commands_and_options_that_do_not_exist_are_found() {
    let mut helps = Helps::new(Path::new("upstart"));
    let mut know = |path: &[&str], help: Option<&str>| {
        let path = path.iter().map(|word| (*word).to_owned()).collect();
        helps.known.insert(path, help.map(str::to_owned));
    };
    know(
        &["upstart", "events"],
        Some("Usage\n  -f, --follow  go on\n      --node <NODE>"),
    );
    know(&["upstart", "event"], None);
    know(&["upstart", "permit"], Some("Commands:\n  list"));
    know(&["upstart", "permit", "list"], Some("Usage"));
    know(&["upstart", "permit", "lst"], None);
    let good = [
        "upstart events --follow",
        "upstart events [--node NODE]",
        "upstart permit list",
        "upstart COMMAND --help",
        "cargo test --nothing",
        "cargo xtask docs --run PAGE...",
        "cargo xtask tutorial [--quick]",
    ];
    for command in good {
        assert_eq!(helps.unknown(command), None, "{command}");
    }
    let bad = [
        "upstart events --nod x",
        "upstart event",
        "upstart permit lst",
        "cargo xtask dcos",
        "cargo xtask docs --rnu",
    ];
    for command in bad {
        assert!(helps.unknown(command).is_some(), "{command}");
    }
}
