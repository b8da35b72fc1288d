//! A table of the file, asked key by key.

use super::{FileReading, Located};
use crate::spelling::nearest;
use serde_spanned::Spanned;
use std::cell::RefCell;
use std::ops::{Range, RangeInclusive};
use toml::de::{DeString, DeTable, DeValue};

/// A table of the file.
pub(in crate::bundle) struct KeyTable<'a> {
    source: &'a FileReading<'a>,
    table: &'a DeTable<'a>,
    pub(in crate::bundle) path: String,
    span: Option<Range<usize>>,
    known: RefCell<Vec<&'static str>>,
}

impl<'a> KeyTable<'a> {
    pub(in crate::bundle) fn root(source: &'a FileReading<'a>, table: &'a DeTable<'a>) -> Self {
        Self {
            source,
            table,
            path: String::new(),
            span: None,
            known: RefCell::default(),
        }
    }

    pub(in crate::bundle) fn source(&self) -> &'a FileReading<'a> {
        self.source
    }

    pub(in crate::bundle) fn key_path(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// The whole table as a value to point at.
    pub(in crate::bundle) fn here(&self) -> Located<()> {
        Located {
            value: (),
            key: self.path.clone(),
            span: self.span.clone().unwrap_or(0..0),
        }
    }

    fn entry(
        &self,
        key: &'static str,
    ) -> Option<(&'a Spanned<DeString<'a>>, &'a Spanned<DeValue<'a>>)> {
        self.known.borrow_mut().push(key);
        self.table.get_key_value(key)
    }

    /// Whether the key is there.
    pub(in crate::bundle) fn has(&self, key: &'static str) -> bool {
        self.entry(key).is_some()
    }

    /// The key's place, to report something about it.
    pub(in crate::bundle) fn place(&self, key: &'static str) -> Option<Located<()>> {
        let (written, _) = self.entry(key)?;
        Some(Located {
            value: (),
            key: self.key_path(key),
            span: written.span(),
        })
    }

    pub(in crate::bundle) fn value(&self, key: &'static str) -> Option<Located<&'a DeValue<'a>>> {
        let (_, value) = self.entry(key)?;
        Some(Located {
            value: value.get_ref(),
            key: self.key_path(key),
            span: value.span(),
        })
    }

    /// The value with its span, for another reader.
    pub(in crate::bundle) fn spanned(&self, key: &'static str) -> Option<Spanned<DeValue<'a>>> {
        self.entry(key).map(|(_, value)| value.clone())
    }

    pub(in crate::bundle) fn expected<T>(
        &self,
        at: &Located<&DeValue<'_>>,
        expected: &str,
    ) -> Option<T> {
        self.source.wrong(
            at,
            format!("is {}; expected {expected}", article(at.value.type_str())),
            "",
        );
        None
    }

    pub(in crate::bundle) fn string(&self, key: &'static str) -> Option<Located<String>> {
        let at = self.value(key)?;
        self.as_string(&at)
    }

    fn as_string(&self, at: &Located<&'a DeValue<'a>>) -> Option<Located<String>> {
        match at.value {
            DeValue::String(text) => Some(Located {
                value: text.clone().into_owned(),
                key: at.key.clone(),
                span: at.span.clone(),
            }),
            _ => self.expected(at, "a string in quotes"),
        }
    }

    pub(in crate::bundle) fn boolean(&self, key: &'static str, default: bool) -> bool {
        match self.value(key) {
            None => default,
            Some(Located {
                value: DeValue::Boolean(truth),
                ..
            }) => *truth,
            Some(at) => self.expected(&at, "true or false").unwrap_or(default),
        }
    }

    /// A whole number within `range`; `unit` is for messages (`milliseconds`).
    pub(in crate::bundle) fn number(
        &self,
        key: &'static str,
        range: RangeInclusive<u64>,
        unit: &str,
    ) -> Option<Located<u64>> {
        let at = self.value(key)?;
        let (low, high) = (range.start(), range.end());
        let expected = format!("a whole number{unit} from {low} to {high}");
        let DeValue::Integer(written) = at.value else {
            return self.expected(&at, &expected);
        };
        match u64::from_str_radix(written.as_str(), written.radix()) {
            Ok(value) if range.contains(&value) => Some(Located {
                value,
                key: at.key,
                span: at.span,
            }),
            _ => {
                self.source
                    .wrong(&at, format!("is {written}; expected {expected}"), "");
                None
            }
        }
    }

    /// A duration in milliseconds up to a day.
    pub(in crate::bundle) fn duration_ms(&self, key: &'static str, default: u64) -> u64 {
        self.number(key, 1..=86_400_000, " of milliseconds")
            .map_or(default, |at| at.value)
    }

    /// One of some words.
    pub(in crate::bundle) fn word<T: Copy>(
        &self,
        key: &'static str,
        words: &[(&str, T)],
    ) -> Option<T> {
        let at = self.string(key)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == at.value) {
            return Some(*value);
        }
        let known: Vec<String> = words
            .iter()
            .map(|(word, _)| format!("\"{word}\""))
            .collect();
        let help = nearest(&at.value, words.iter().map(|(word, _)| *word))
            .map_or(String::new(), |near| format!("did you mean \"{near}\"?"));
        self.source.wrong(
            &at,
            format!("is \"{}\"; expected {}", at.value, known.join(" or ")),
            help,
        );
        None
    }

    /// A list of strings.
    pub(in crate::bundle) fn strings(&self, key: &'static str) -> Option<Vec<Located<String>>> {
        let at = self.value(key)?;
        let DeValue::Array(items) = at.value else {
            return self.expected(&at, "a list of strings");
        };
        let item = |(index, item): (usize, &'a Spanned<DeValue<'a>>)| {
            let key = format!("{}[{index}]", at.key);
            self.as_string(&Located {
                value: item.get_ref(),
                key,
                span: item.span(),
            })
        };
        items.iter().enumerate().map(item).collect()
    }

    pub(in crate::bundle) fn table(&self, key: &'static str) -> Option<Self> {
        let (written, value) = self.entry(key)?;
        self.as_table(written, value, key)
    }

    fn as_table(
        &self,
        written: &'a Spanned<DeString<'a>>,
        value: &'a Spanned<DeValue<'a>>,
        key: &str,
    ) -> Option<Self> {
        let path = self.key_path(key);
        match value.get_ref() {
            DeValue::Table(table) => {
                let span = Some(written.span());
                Some(KeyTable {
                    source: self.source,
                    table,
                    path,
                    span,
                    known: RefCell::default(),
                })
            }
            other => self.expected(
                &Located {
                    value: other,
                    key: path,
                    span: value.span(),
                },
                "a table",
            ),
        }
    }

    /// The tables below a key whose names are free (`[class.NAME]`).
    pub(in crate::bundle) fn named_tables(
        &self,
        key: &'static str,
    ) -> Vec<(Located<String>, Self)> {
        let Some(outer) = self.table(key) else {
            return Vec::new();
        };
        let child = |(written, value): (&'a Spanned<DeString<'a>>, &'a Spanned<DeValue<'a>>)| {
            let name = written.get_ref().clone().into_owned();
            let table = outer.as_table(written, value, &name)?;
            let key = table.path.clone();
            Some((
                Located {
                    value: name,
                    key,
                    span: written.span(),
                },
                table,
            ))
        };
        outer.table.iter().filter_map(child).collect()
    }

    /// The strings below a key whose names are free (`environment = { NAME = "value" }`).
    pub(in crate::bundle) fn named_strings(
        &self,
        key: &'static str,
    ) -> Vec<(String, Located<String>)> {
        let Some(outer) = self.table(key) else {
            return Vec::new();
        };
        let child = |(written, value): (&'a Spanned<DeString<'a>>, &'a Spanned<DeValue<'a>>)| {
            let name = written.get_ref().clone().into_owned();
            let at = Located {
                value: value.get_ref(),
                key: outer.key_path(&name),
                span: value.span(),
            };
            Some((name, self.as_string(&at)?))
        };
        outer.table.iter().filter_map(child).collect()
    }

    /// Reports that a key is missing.
    pub(in crate::bundle) fn missing(&self, key: &str, help: &str) {
        self.source.report(
            self.span.clone(),
            &self.path,
            format!("`{key}` is missing"),
            help,
        );
    }

    /// Reports every key that nobody asked for.
    pub(in crate::bundle) fn finish(self) {
        let known = self.known.borrow();
        for (written, _) in self.table {
            let name: &str = written.get_ref();
            if known.contains(&name) {
                continue;
            }
            let near = nearest(name, known.iter().copied());
            let help = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => {
                    let mut all = known.clone();
                    all.sort_unstable();
                    all.dedup();
                    format!("known keys here: {}", all.join(", "))
                }
            };
            self.source.report(
                Some(written.span()),
                &self.key_path(name),
                "unknown key",
                help,
            );
        }
    }
}

fn article(kind: &str) -> String {
    let vowel = kind.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {kind}", if vowel { "an" } else { "a" })
}
