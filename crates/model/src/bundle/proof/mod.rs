//! `upgrade.toml` as written is turned into an [`Upgrade`] as proved, or into everything that is wrong with it.

mod class;
mod framing;
mod lifecycle;
mod once;
mod schedule;
mod service;
mod software;

use super::reader::{FileReading, KeyTable, Located, line_and_column};
use super::{BundleError, BundleFiles, CallSettings, Settings, Upgrade};
use crate::ids::Version;
use crate::manifest::UPGRADE_FILE;
use serde_spanned::Spanned;
use std::collections::BTreeSet;
use toml::de::{DeTable, DeValue};

/// The longest description, in characters.
const DESCRIPTION_MAX: usize = 2000;
/// The longest name of a system, class or service: they are shown in tables and used in file names.
const NAME_MAX: usize = 63;

/// `upgrade.toml` as written: valid TOML, nothing more is known.
#[derive(Clone, Debug)]
pub struct UpgradeFile<'a> {
    text: &'a str,
    root: Spanned<DeTable<'a>>,
}

impl<'a> UpgradeFile<'a> {
    /// Reads the text; every error of syntax is told with its place.
    ///
    /// # Errors
    /// Everything that is no TOML.
    pub fn parse(text: &'a str) -> Result<Self, Vec<BundleError>> {
        let (root, errors) = DeTable::parse_recoverable(text);
        if errors.is_empty() {
            return Ok(Self { text, root });
        }
        let told = errors.into_iter().take(SYNTAX_ERRORS_MAX).map(|error| {
            let place = error.span().map(|span| line_and_column(text, span.start));
            BundleError {
                file: UPGRADE_FILE.to_owned(),
                line: place.map(|(line, _)| line),
                column: place.map(|(_, column)| column),
                key: String::new(),
                problem: format!("not TOML: {}", plain(error.message())),
                help: String::new(),
            }
        });
        let mut told: Vec<BundleError> = told.collect();
        // One wrong kind of line end makes every line wrong.
        told.dedup_by(|a, b| a.problem == b.problem && a.problem.contains(LONE_RETURN));
        Err(told)
    }

    /// Where a key is written (line and column, from 1), or the nearest table above it that is there.
    pub fn place(&self, key: &str) -> Option<(usize, usize)> {
        let mut table = self.root.get_ref();
        let mut place = None;
        for part in key.split('.') {
            let Some((written, value)) = table.get_key_value(part) else {
                break;
            };
            place = Some(line_and_column(self.text, written.span().start));
            match value.get_ref() {
                DeValue::Table(inner) => table = inner,
                _ => break,
            }
        }
        place
    }

    /// Checks everything that can be known without the versions before and without a node.
    ///
    /// # Errors
    /// What is wrong with it, in the order of the file.
    pub fn prove(&self, files: &BundleFiles) -> Result<Upgrade, Vec<BundleError>> {
        self.proved(FileReading::new(self.text, files))
    }

    /// The same for a bundle that was published before: expressions that take too long, or can only fail, do so where they are
    /// evaluated, and keep nobody from reading it.
    ///
    /// # Errors
    /// What is wrong with it, in the order of the file.
    pub fn prove_again(&self, files: &BundleFiles) -> Result<Upgrade, Vec<BundleError>> {
        let mut source = FileReading::new(self.text, files);
        source.again = true;
        self.proved(source)
    }

    fn proved(&self, mut source: FileReading<'_>) -> Result<Upgrade, Vec<BundleError>> {
        let (version, from) = versions(&KeyTable::root(&source, self.root.get_ref()));
        source.first = version > Version(0) && from == Some(Version(0));
        (source.version, source.from) = (version, from.unwrap_or_default());
        let upgrade = upgrade(&source, self.root.get_ref());
        let errors = source.into_errors();
        if errors.is_empty() {
            Ok(upgrade)
        } else {
            Err(errors)
        }
    }
}

/// The most errors of syntax that are told: later ones often follow from the first.
const SYNTAX_ERRORS_MAX: usize = 20;

/// Said of files with line ends of old Macs.
const LONE_RETURN: &str = "a line ends with CR alone; save the file with LF line ends";

/// The parser's words for people who do not know it.
fn plain(message: &str) -> String {
    if message.contains("recurs") {
        return "tables or lists are nested too deeply".to_owned();
    }
    if message.starts_with("carriage return must be followed by newline") {
        return LONE_RETURN.to_owned();
    }
    message.replace('\n', ", ")
}

fn upgrade<'a>(source: &'a FileReading<'a>, root: &'a DeTable<'a>) -> Upgrade {
    let table = KeyTable::root(source, root);
    let system = table.string("system");
    match &system {
        None if !table.has("system") => table.missing("system", "write `system = \"NAME\"`"),
        None => {}
        Some(at) => check_name(source, at, "a system"),
    }
    let description = table.string("description");
    if let Some(at) = description
        .as_ref()
        .filter(|at| at.value.chars().count() > DESCRIPTION_MAX)
    {
        source.wrong(
            at,
            format!("is longer than {DESCRIPTION_MAX} characters"),
            "",
        );
    }
    let settings = table.table("settings").map(settings).unwrap_or_default();
    let removed = removed(&table);
    let classes = class::classes(&table, &removed);
    let once = once::once(&table);
    if classes.is_empty() && removed.is_empty() && !table.has("class") {
        table.missing(
            "class",
            "an upgrade says what at least one class runs: `[class.NAME.software]`",
        );
    }
    // Asked for before, by a table of their own.
    let _ = (table.has("version"), table.has("from"));
    table.finish();
    Upgrade {
        system: system.map_or_else(String::new, |at| at.value),
        version: source.version,
        from: source.from,
        description: description.map_or_else(String::new, |at| at.value),
        settings,
        classes,
        removed,
        once,
    }
}

/// The version and its `from`; a `from` that is wrong or missing is none.
fn versions(table: &KeyTable<'_>) -> (Version, Option<Version>) {
    const NUMBERS: std::ops::RangeInclusive<u64> = 0..=u32::MAX as u64;
    let number = |at: &Located<u64>| Version(u32::try_from(at.value).unwrap_or(u32::MAX));
    let version = table.number("version", 1..=*NUMBERS.end(), "");
    if version.is_none() && !table.has("version") {
        table.missing(
            "version",
            "write `version = 1` for the first, then 2, 3, ...",
        );
    }
    let from = table.number("from", NUMBERS, "");
    let Some(at) = &version else {
        return (Version(0), None);
    };
    let version = number(at);
    let Some(from) = from else {
        if table.has("from") {
            return (version, None);
        }
        if version == Version::FIRST {
            return (version, Some(Version(0)));
        }
        let before = version.0 - 1;
        let help = format!(
            "write `from = {before}` (less where versions were withdrawn; 0 if it is the system's first)"
        );
        table.missing("from", &help);
        return (version, None);
    };
    if number(&from) >= version {
        let problem = format!(
            "is {}; it must be less than the version, {version}",
            from.value
        );
        table.source().wrong(&from, problem, "");
    }
    (version, Some(number(&from)))
}

fn settings(table: KeyTable<'_>) -> Settings {
    let default = Settings::default();
    let held = table.number("held_calls_max", 1..=1_000_000, "");
    let settings = Settings {
        require_staged: table.boolean("require_staged", default.require_staged),
        hold_ms: table.duration_ms("hold_ms", default.hold_ms),
        held_calls_max: held
            .and_then(|at| u32::try_from(at.value).ok())
            .unwrap_or(default.held_calls_max),
        drain_ms: table
            .number("drain_ms", 0..=3_600_000, " of milliseconds")
            .map_or(default.drain_ms, |at| at.value),
        calls: table.table("calls").map_or(default.calls, call_settings),
    };
    table.finish();
    settings
}

fn call_settings(table: KeyTable<'_>) -> CallSettings {
    let default = CallSettings::default();
    let number = |key, range, unit, otherwise: u64| {
        let found = table.number(key, range, unit);
        found.map_or(otherwise, |at| at.value)
    };
    let small = |key, range, unit, otherwise: u32| {
        let found = number(key, range, unit, u64::from(otherwise));
        u32::try_from(found).unwrap_or(otherwise)
    };
    let (bytes, mib) = (" of bytes", 1 << 20);
    let calls = CallSettings {
        head_bytes_max: small("head_bytes_max", 8_192..=mib, bytes, default.head_bytes_max),
        head_fields_max: small("head_fields_max", 16..=4_096, "", default.head_fields_max),
        head_ms: table.duration_ms("head_ms", default.head_ms),
        idle_ms: table.duration_ms("idle_ms", default.idle_ms),
        body_bytes_max: small(
            "body_bytes_max",
            1_024..=1_024 * mib,
            bytes,
            default.body_bytes_max,
        ),
        body_bytes_per_second_min: small(
            "body_bytes_per_second_min",
            0..=mib,
            bytes,
            default.body_bytes_per_second_min,
        ),
        held_bytes_max: number(
            "held_bytes_max",
            mib..=(mib << 20),
            bytes,
            default.held_bytes_max,
        ),
        connections_max: small(
            "connections_max",
            1..=1_000_000,
            "",
            default.connections_max,
        ),
        connections_per_address_max: small(
            "connections_per_address_max",
            1..=1_000_000,
            "",
            default.connections_per_address_max,
        ),
    };
    table.finish();
    calls
}

fn removed(table: &KeyTable<'_>) -> BTreeSet<String> {
    let Some(removed) = table.table("removed") else {
        return BTreeSet::new();
    };
    let classes = removed.strings("classes");
    if classes.is_none() && !removed.has("classes") {
        removed.missing("classes", "write `classes = [\"NAME\"]`");
    }
    if table.source().first {
        table.source().wrong(
            &removed.here(),
            "the first version has no class to remove",
            "delete this table",
        );
    }
    let names = classes
        .unwrap_or_default()
        .into_iter()
        .map(|at| at.value)
        .collect();
    removed.finish();
    names
}

/// Names of systems and classes: lower case, digits, `-` and `_`, beginning with a letter.
pub(super) fn check_name(source: &FileReading<'_>, at: &Located<String>, what: &str) {
    check_letters(source, at, what, "-_");
}

fn check_letters(source: &FileReading<'_>, at: &Located<String>, what: &str, marks: &str) {
    let fits = |letter: char| {
        letter.is_ascii_lowercase() || letter.is_ascii_digit() || marks.contains(letter)
    };
    let begins = at
        .value
        .starts_with(|letter: char| letter.is_ascii_lowercase());
    if !begins || at.value.len() > NAME_MAX || !at.value.chars().all(fits) {
        let marks: Vec<String> = marks.chars().map(|mark| format!("`{mark}`")).collect();
        let problem = format!(
            "`{}` cannot name {what}: lower-case letters, digits and {}, a letter first, at most {NAME_MAX}",
            at.value,
            marks.join(" and "),
        );
        source.wrong(at, problem, "");
    }
}
