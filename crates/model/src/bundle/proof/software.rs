//! `[class.NAME.software]`: the program, and commands in general.

use crate::bundle::reader::{KeyTable, Located};
use crate::bundle::{Command, Software, SoftwareKind, SoftwareSource};
use crate::expression::{Allowed, Template};
use crate::manifest::{Mode, check_path};
use crate::spelling::nearest;
use std::collections::BTreeMap;

/// How long a hook command may take when nothing else is said, milliseconds.
const COMMAND_TIMEOUT_MS: u64 = 30_000;

/// The most arguments of one command.
const ARGUMENTS_MAX: usize = 1000;

pub(super) fn software(class: &KeyTable<'_>, allowed: &Allowed) -> Software {
    let none = Template::compile("", "${state}", allowed);
    let directory = |at: Option<Located<String>>| match at {
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
            no_new_privileges: true,
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
        no_new_privileges: table.boolean("no_new_privileges", true),
    };
    table.finish();
    software
}

/// The folder of the bundle with the class' software; none for an archive, or where there is no such folder.
pub(super) fn folder(class: &KeyTable<'_>) -> Option<String> {
    let path = class.table("software")?.string("path")?.value;
    let path = path.trim_end_matches('/');
    is_folder(class, path).then(|| path.to_owned())
}

fn is_folder(table: &KeyTable<'_>, path: &str) -> bool {
    let folder = format!("{path}/");
    let mut behind = table.source().files.range(folder.clone()..);
    behind
        .next()
        .is_some_and(|(file, _)| file.starts_with(&folder))
}

fn software_source(table: &KeyTable<'_>, at: &Located<String>) -> Option<SoftwareSource> {
    let source = table.source();
    let path = at.value.trim_end_matches('/').to_owned();
    if let Err(error) = check_path(&path) {
        source.wrong(at, error.to_string(), "");
        return None;
    }
    if is_folder(table, &path) {
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
                "name a folder, or pack one: `tar -C FOLDER -czf software.tar.gz .`",
            );
            return None;
        }
    };
    Some(SoftwareSource { path, kind })
}

/// A file of the bundle that must be there.
pub(super) fn file(table: &KeyTable<'_>, at: &Located<String>) -> Option<String> {
    if let Err(error) = check_path(&at.value) {
        table.source().wrong(at, error.to_string(), "");
        return None;
    }
    if is_folder(table, &at.value) {
        let problem = format!("`{}` is a folder", at.value);
        table.source().wrong(at, problem, "name a file in it");
        return None;
    }
    if !table.source().files.contains_key(&at.value) {
        missing_file(table, at);
        return None;
    }
    Some(at.value.clone())
}

fn missing_file(table: &KeyTable<'_>, at: &Located<String>) {
    missing(table, at, &at.value);
}

fn missing(table: &KeyTable<'_>, at: &Located<String>, path: &str) {
    let files = &table.source().files;
    let folders = files
        .keys()
        .flat_map(|path| path.match_indices('/').map(|(end, _)| &path[..end]));
    let help = nearest(path, files.keys().map(String::as_str).chain(folders)).map_or(
        "paths are relative to the bundle's folder".to_owned(),
        |near| format!("did you mean `{near}`?"),
    );
    table
        .source()
        .wrong(at, format!("the bundle has no `{path}`"), help);
}

/// A word that leads into the bundle must lead to something there, and the first to a program.
fn check_word(table: &KeyTable<'_>, index: usize, word: &Located<String>, allowed: &Allowed) {
    let Some(path) = allowed.path_in_bundle(&word.value) else {
        return;
    };
    let source = table.source();
    let found = source.files.get(&path).map(|info| info.mode);
    match found {
        None if !is_folder(table, &path) => missing(table, word, &path),
        None if index == 0 => source.wrong(
            word,
            format!("`{path}` is a folder; a command begins with a program"),
            "name a file in it",
        ),
        Some(Mode::Plain) if index == 0 => source.wrong(
            word,
            format!("`{path}` is not executable"),
            format!("run `chmod +x {path}`, or write the program that reads it first: `[\"python3\", ...]`"),
        ),
        _ => {}
    }
}

/// `command` of a table: a program and its arguments.
pub(super) fn command(table: &KeyTable<'_>, allowed: &Allowed) -> Vec<Template> {
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
    for (index, word) in words.iter().enumerate() {
        check_word(table, index, word, allowed);
    }
    words
        .iter()
        .filter_map(|word| source.template(word, allowed))
        .collect()
}

/// `KEY = { command = [...], timeout_ms = N }`.
pub(super) fn timed_command(
    table: &KeyTable<'_>,
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

fn environment(table: &KeyTable<'_>, allowed: &Allowed) -> BTreeMap<String, Template> {
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
