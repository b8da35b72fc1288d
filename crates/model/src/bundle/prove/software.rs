//! `[class.NAME.software]`: the program, and commands in general.

use crate::bundle::read::{At, Table};
use crate::bundle::{Command, Software, SoftwareKind, SoftwareSource, nearest};
use crate::expression::{Allowed, Template};
use crate::manifest::check_path;
use std::collections::BTreeMap;

/// How long a hook command may take when nothing else is said, milliseconds.
const COMMAND_TIMEOUT_MS: u64 = 30_000;

/// The most arguments of one command.
const ARGUMENTS_MAX: usize = 1000;

pub(super) fn software(class: &Table<'_>, allowed: &Allowed) -> Software {
    let none = Template::compile("", "${state}", allowed);
    let directory = |at: Option<At<String>>| match at {
        Some(at) => class.source().template(&at, allowed),
        None => none.clone().ok(),
    };
    let Some(table) = class.table("software") else {
        return Software {
            source: None,
            command: Vec::new(),
            environment: BTreeMap::new(),
            directory: Template::empty(),
            user: None,
            allow_io_uring: false,
        };
    };
    let source = table.source();
    let software = Software {
        source: table
            .string("path")
            .and_then(|at| software_source(&table, &at)),
        command: command(&table, allowed),
        environment: environment(&table, allowed),
        directory: directory(table.string("directory")).unwrap_or_else(Template::empty),
        user: table
            .string("user")
            .and_then(|at| source.template(&at, &Allowed::LASTING)),
        allow_io_uring: table.boolean("allow_io_uring", false),
    };
    table.finish();
    software
}

fn software_source(table: &Table<'_>, at: &At<String>) -> Option<SoftwareSource> {
    let source = table.source();
    let path = at.value.trim_end_matches('/').to_owned();
    if let Err(error) = check_path(&path) {
        source.wrong(at, error.to_string(), "");
        return None;
    }
    let folder = format!("{path}/");
    if source.files.keys().any(|file| file.starts_with(&folder)) {
        return Some(SoftwareSource {
            path,
            kind: SoftwareKind::Folder,
        });
    }
    if !source.files.contains_key(&path) {
        missing_file(table, at);
        return None;
    }
    let kind = match path.as_str() {
        tar if tar.ends_with(".tar") => SoftwareKind::Tar,
        gz if gz.ends_with(".tar.gz") || gz.ends_with(".tgz") => SoftwareKind::TarGz,
        _ => {
            source.wrong(
                at,
                format!("`{path}` is neither a folder nor a .tar or .tar.gz archive"),
                "",
            );
            return None;
        }
    };
    Some(SoftwareSource { path, kind })
}

/// A file of the bundle that must be there.
pub(super) fn file(table: &Table<'_>, at: &At<String>) -> Option<String> {
    if let Err(error) = check_path(&at.value) {
        table.source().wrong(at, error.to_string(), "");
        return None;
    }
    if !table.source().files.contains_key(&at.value) {
        missing_file(table, at);
        return None;
    }
    Some(at.value.clone())
}

fn missing_file(table: &Table<'_>, at: &At<String>) {
    let files = &table.source().files;
    let folders = files
        .keys()
        .flat_map(|path| path.match_indices('/').map(|(end, _)| &path[..end]));
    let help = nearest(&at.value, files.keys().map(String::as_str).chain(folders)).map_or(
        "paths are relative to the bundle's folder".to_owned(),
        |near| format!("did you mean `{near}`?"),
    );
    table
        .source()
        .wrong(at, format!("the bundle has no `{}`", at.value), help);
}

/// `command` of a table: a program and its arguments.
pub(super) fn command(table: &Table<'_>, allowed: &Allowed) -> Vec<Template> {
    let source = table.source();
    let Some(place) = table.value("command") else {
        table.missing("command", "write the program and its arguments as a list: `command = [\"PROGRAM\", \"ARGUMENT\"]`");
        return Vec::new();
    };
    if matches!(place.value, toml::de::DeValue::String(_)) {
        let help =
            "write `[\"PROGRAM\", \"ARGUMENT\"]`, or `[\"sh\", \"-c\", \"...\"]` for a shell";
        source.wrong(
            &place,
            "is a string; expected a list, since no shell splits it",
            help,
        );
        return Vec::new();
    }
    let Some(words) = table.strings("command") else {
        return Vec::new();
    };
    if words.first().is_none_or(|program| program.value.is_empty()) {
        source.wrong(&place, "the program is missing", "");
    } else if words.len() > ARGUMENTS_MAX {
        source.wrong(
            &place,
            format!("more than {ARGUMENTS_MAX} arguments"),
            "put them into a file",
        );
    }
    words
        .iter()
        .filter_map(|word| source.template(word, allowed))
        .collect()
}

/// `KEY = { command = [...], timeout_ms = N }`.
pub(super) fn timed_command(
    table: &Table<'_>,
    key: &'static str,
    allowed: &Allowed,
) -> Option<Command> {
    let inner = table.table(key)?;
    let command = command(&inner, allowed);
    let timeout_ms = inner.duration_ms("timeout_ms", COMMAND_TIMEOUT_MS);
    inner.finish();
    Some(Command {
        command,
        timeout_ms,
    })
}

fn environment(table: &Table<'_>, allowed: &Allowed) -> BTreeMap<String, Template> {
    let mut environment = BTreeMap::new();
    for (name, at) in table.named_strings("environment") {
        if name.is_empty() || name.contains(['=', '\0']) {
            table.source().wrong(
                &at,
                format!("`{name}` cannot name an environment variable"),
                "",
            );
        } else if name == "LD_PRELOAD" || name.starts_with("UPSTART_") {
            let help = "delete it: the agent sets this variable itself";
            table
                .source()
                .wrong(&at, format!("`{name}` cannot be set here"), help);
        } else if let Some(template) = table.source().template(&at, allowed) {
            environment.insert(name, template);
        }
    }
    environment
}
