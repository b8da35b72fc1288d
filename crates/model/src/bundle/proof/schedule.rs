//! `schedule` of a class: when its nodes may upgrade.

use crate::bundle::Schedule;
use crate::bundle::reader::KeyTable;
use crate::manifest::Mode;
use crate::schedule::NodeCommand;
use crate::spelling::nearest;
use serde::Deserialize as _;
use toml::de::ValueDeserializer;

pub(super) fn schedule(table: &KeyTable<'_>) -> Schedule {
    let (Some(value), Some(place)) = (table.spanned("schedule"), table.value("schedule")) else {
        return Schedule::default();
    };
    let read = Schedule::deserialize(ValueDeserializer::from(value));
    if let Ok(schedule) = &read {
        check_commands(table, schedule, place.span.clone());
    }
    read.unwrap_or_else(|error| {
        let span = Some(error.span().unwrap_or(place.span));
        let key = table.key_path("schedule");
        match unknown_field(error.message()) {
            Some((field, help)) => {
                let key = format!("{key}.{field}");
                table.source().report(span, &key, "unknown key", help);
            }
            None => {
                let message = error.message().replace('\n', ", ");
                let (message, help) = plain(&message);
                table.source().report(span, &key, message, help);
            }
        }
        Schedule::default()
    })
}

/// The field and the advice in serde's words: "unknown field `a`, expected one of `b`, `c`".
fn unknown_field(message: &str) -> Option<(String, String)> {
    let rest = message.strip_prefix("unknown field ")?;
    let mut quoted = rest.split('`').skip(1).step_by(2);
    let field = quoted.next()?;
    let mut known: Vec<&str> = quoted.collect();
    known.sort_unstable();
    let help = match nearest(field, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known keys here: {}", known.join(", ")),
    };
    Some((field.to_owned(), help))
}

/// Serde's words for a value of another kind, in those of the file; and what to do.
fn plain(message: &str) -> (String, String) {
    let nothing = String::new;
    if let Some(field) = message.strip_prefix("missing field ") {
        return (format!("{field} is missing"), nothing());
    }
    let kinds = message.strip_prefix("invalid type: ");
    let Some((found, expected)) = kinds.and_then(|kinds| kinds.split_once(", expected ")) else {
        return (message.to_owned(), nothing());
    };
    let is = match found.split(' ').next().unwrap_or_default() {
        "string" => "a text",
        "integer" => "a number",
        "floating" => "a number with a point",
        "boolean" => "true or false",
        "map" => "a table, a date or a time",
        "sequence" => "a list",
        _ => found,
    };
    let wanted = match expected {
        "a sequence" => "a list, like `[...]`",
        "a string" => "a text in quotes",
        "u64" | "u32" | "usize" => "a whole number",
        "a boolean" => "true or false",
        table if table.starts_with("struct ") => "a table, like `{ ... }`",
        other => other,
    };
    (format!("this is {is}"), format!("write {wanted}"))
}

/// What commands at the node name in the bundle is there, and the programs among it can be run.
fn check_commands(table: &KeyTable<'_>, schedule: &Schedule, span: std::ops::Range<usize>) {
    let role = schedule.role.as_ref();
    let commands: [(&str, Option<&NodeCommand>); 3] = [
        ("idle", schedule.idle.as_ref()),
        ("role", role.map(|role| &role.ask)),
        (
            "role.hand_over",
            role.and_then(|role| role.hand_over.as_ref()),
        ),
    ];
    for (name, command) in commands {
        for (index, word) in command.iter().flat_map(|it| it.command.iter().enumerate()) {
            let Some(path) = word.source().strip_prefix("${bundle}/") else {
                continue;
            };
            if path.contains('$') {
                continue;
            }
            let files = &table.source().files;
            let is_folder = || {
                files
                    .keys()
                    .any(|file| file.starts_with(&format!("{path}/")))
            };
            let (problem, help) = match files.get(path).map(|info| info.mode) {
                None if index > 0 && is_folder() => continue,
                None => (
                    format!("the bundle has no `{path}`"),
                    "paths are relative to the bundle's folder".to_owned(),
                ),
                Some(Mode::Plain) if index == 0 => (
                    format!("`{path}` is not executable"),
                    format!(
                        "run `chmod +x {path}`, or write the program that reads it first: `[\"python3\", ...]`"
                    ),
                ),
                Some(_) => continue,
            };
            let key = format!("{}.{name}", table.key_path("schedule"));
            table
                .source()
                .report(Some(span.clone()), &key, problem, help);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::bundle::BundleFiles;
    use crate::release::check;

    /// What is told of a schedule in an otherwise good file.
    fn told(schedule: &str) -> String {
        let text = format!(
            "system = 's'\nversion = 1\n[class.a]\nsoftware = {{ command = ['true'] }}\nschedule = {{ {schedule} }}\n"
        );
        let errors = check(&text, &BundleFiles::new()).expect_err(schedule);
        let told: Vec<String> = errors.iter().map(ToString::to_string).collect();
        told.join("; ")
    }

    #[test]
    fn values_of_another_kind_are_told_in_the_words_of_the_file() {
        for (schedule, words) in [
            (
                "windows = { start = '09:00' }",
                "write a list, like `[...]`",
            ),
            ("soak_ms = '10m'", "this is a text"),
            ("soak_ms = '10m'", "write a whole number"),
            (
                "freeze = [{ from = 2026-12-01, until = '2026-12-02', zone = 'UTC' }]",
                "write a text in quotes",
            ),
            (
                "windows = [{ start = '09:00', length = '1h' }]",
                "`zone` is missing",
            ),
            ("waves = [{ share = 5 }]", "write a text in quotes"),
            ("max_unavailable = 1, role = 'leader'", "write a table"),
        ] {
            let told = told(schedule);
            assert!(told.contains(words), "{schedule}: {told}");
        }
    }

    #[test]
    fn commands_at_the_node_name_what_the_bundle_has() {
        let told = told("idle = { command = ['${bundle}/idle'] }");
        assert!(told.contains("schedule.idle"), "{told}");
        assert!(told.contains("the bundle has no `idle`"), "{told}");
    }
}
