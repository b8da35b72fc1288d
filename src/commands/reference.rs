//! `upstart man --markdown`: every command on one page, for the documentation, generated from the arguments themselves.

use clap::{Arg, Command, Id};
use std::fmt::Write;

/// What stands above the commands.
const HEAD: &str = "\
# The command line

<!-- Generated: `cargo run -- man --markdown > docs/reference/command-line.md` -->

One binary, `upstart`, is server, agent and command line. `upstart help COMMAND` says the same as this page, which is
generated from it.

";

/// The page of this command line.
pub(super) fn page(mut root: Command) -> String {
    root.build();
    let mut page = HEAD.to_owned();
    if let Some(after) = root.get_after_help() {
        let _ = writeln!(page, "{after}\n");
    }
    page += "## Options of every command\n\n";
    table(
        &mut page,
        root.get_arguments()
            .filter(|argument| argument.is_global_set()),
    );
    let everywhere = root.get_arguments().filter(|it| it.is_global_set());
    let everywhere: Vec<&Id> = everywhere.map(Arg::get_id).collect();
    for command in root.get_subcommands() {
        section(&mut page, command, "upstart", &everywhere);
    }
    page
}

/// A command and those below it; `everywhere` are the options of every command, which are told once.
fn section(page: &mut String, command: &Command, parent: &str, everywhere: &[&Id]) {
    if command.is_hide_set() || command.get_name() == "help" {
        return;
    }
    let name = format!("{parent} {}", command.get_name());
    let about = command.get_long_about().or(command.get_about());
    let about = about.map(ToString::to_string).unwrap_or_default();
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    let _ = writeln!(
        page,
        "## {name}\n\n{}.\n\n```text\n{usage}\n```\n",
        about.trim_end_matches('.')
    );
    let own = |argument: &&Arg| !everywhere.contains(&argument.get_id()) && !argument.is_hide_set();
    let is_help = |argument: &&Arg| matches!(argument.get_id().as_str(), "help" | "version");
    table(
        page,
        command
            .get_arguments()
            .filter(own)
            .filter(|argument| !is_help(argument)),
    );
    for command in command.get_subcommands() {
        section(page, command, &name, everywhere);
    }
}

fn table<'a>(page: &mut String, arguments: impl Iterator<Item = &'a Arg>) {
    let mut arguments = arguments.peekable();
    if arguments.peek().is_none() {
        return;
    }
    *page += "| argument | meaning |\n|---|---|\n";
    for argument in arguments {
        let _ = writeln!(page, "| {} | {} |", spelling(argument), meaning(argument));
    }
    page.push('\n');
}

/// How an argument is written.
fn spelling(argument: &Arg) -> String {
    let names = argument.get_value_names().unwrap_or_default();
    let value = names.join(" ");
    let takes = argument.get_action().takes_values();
    let mut forms = Vec::new();
    forms.extend(argument.get_short().map(|short| format!("-{short}")));
    forms.extend(argument.get_long().map(|long| format!("--{long}")));
    match (forms.is_empty(), takes) {
        (true, _) => format!("`{value}`"),
        (false, true) => format!("`{} {value}`", forms.join("`, `")),
        (false, false) => format!("`{}`", forms.join("`, `")),
    }
}

/// What it does, its default, and the variable that stands for it.
fn meaning(argument: &Arg) -> String {
    let help = argument.get_long_help().or(argument.get_help());
    let mut text = help.map(ToString::to_string).unwrap_or_default();
    let values = argument.get_possible_values();
    if !values.is_empty() && argument.get_action().takes_values() {
        let values: Vec<_> = values
            .iter()
            .map(|value| format!("`{}`", value.get_name()))
            .collect();
        let _ = write!(text, ": {}", values.join(", "));
    }
    if let Some(default) = argument
        .get_default_values()
        .first()
        .filter(|_| argument.get_action().takes_values())
    {
        let _ = write!(text, " (default `{}`)", default.display());
    }
    if let Some(variable) = argument.get_env() {
        let _ = write!(text, " (or `{}` in the environment)", variable.display());
    }
    text.replace('|', "\\|").replace('\n', " ")
}
