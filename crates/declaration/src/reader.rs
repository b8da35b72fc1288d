//! Walks a TOML file with its positions, so that every error names file, line and key.

use std::cell::RefCell;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::DeclarationError;
use wire::json::Json;

/// One letter in so many may be wrong in a key for another to be offered as the one that was meant.
const CHANGES_PART: usize = 3;

/// The file being read.
pub struct Source<'t> {
    /// The file, as messages name it.
    pub file: &'t str,
    /// What is in it.
    pub text: &'t str,
}

impl Source<'_> {
    /// What is wrong with these bytes of it, which stand under this key.
    pub fn error(
        &self,
        span: Range<usize>,
        key: &str,
        message: impl Into<String>,
    ) -> DeclarationError {
        DeclarationError {
            file: self.file.to_owned(),
            line: self.line(span.start),
            key: key.to_owned(),
            message: message.into(),
            hint: None,
        }
    }

    /// The line of a byte, from 1.
    fn line(&self, at: usize) -> usize {
        let before = self.text.get(..at.min(self.text.len())).unwrap_or("");
        before.matches('\n').count() + 1
    }
}

/// Where in its file a part of a lens is written, for explanations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Line, from 1.
    pub line: usize,
    /// The text, on one line.
    pub text: String,
}

/// A value and the key it stands under.
#[derive(Clone)]
pub struct TomlNode<'t> {
    /// The file.
    pub source: &'t Source<'t>,
    /// The key, dotted.
    pub key: String,
    /// The value.
    pub value: &'t Spanned<DeValue<'t>>,
}

impl<'t> TomlNode<'t> {
    /// What is wrong with it.
    pub fn error(&self, message: impl Into<String>) -> DeclarationError {
        self.source.error(self.value.span(), &self.key, message)
    }

    /// Where it is written.
    pub fn origin(&self) -> Origin {
        let span = self.value.span();
        let text = self.source.text.get(span.clone()).unwrap_or_default();
        let words: Vec<&str> = text.split_whitespace().collect();
        Origin {
            line: self.source.line(span.start),
            text: words.join(" "),
        }
    }

    fn wrong(&self, wanted: &str) -> DeclarationError {
        self.error(format!(
            "{wanted} was expected, not {}",
            self.value.get_ref().type_str()
        ))
    }

    /// A string.
    ///
    /// # Errors
    /// It is none.
    pub fn text(&self) -> Result<&'t str, DeclarationError> {
        self.value
            .get_ref()
            .as_str()
            .ok_or_else(|| self.wrong("a string"))
    }

    /// True or false.
    ///
    /// # Errors
    /// It is neither.
    pub fn flag(&self) -> Result<bool, DeclarationError> {
        self.value
            .get_ref()
            .as_bool()
            .ok_or_else(|| self.wrong("true or false"))
    }

    /// An integer.
    ///
    /// # Errors
    /// It is none, or has more than 64 bits.
    pub fn integer(&self) -> Result<i64, DeclarationError> {
        let value = self
            .value
            .get_ref()
            .as_integer()
            .ok_or_else(|| self.wrong("an integer"))?;
        i64::from_str_radix(value.as_str(), value.radix())
            .map_err(|_| self.error("the integer is too large"))
    }

    /// The items of an array.
    ///
    /// # Errors
    /// It is none.
    pub fn items(&self) -> Result<Vec<Self>, DeclarationError> {
        let array = self
            .value
            .get_ref()
            .as_array()
            .ok_or_else(|| self.wrong("an array"))?;
        let items = array.iter().enumerate();
        Ok(items
            .map(|(index, value)| TomlNode {
                source: self.source,
                key: format!("{}[{index}]", self.key),
                value,
            })
            .collect())
    }

    /// A table.
    ///
    /// # Errors
    /// It is none.
    pub fn section(&self) -> Result<Section<'t>, DeclarationError> {
        let table = self
            .value
            .get_ref()
            .as_table()
            .ok_or_else(|| self.wrong("a table"))?;
        Ok(Section::new(
            self.source,
            self.key.clone(),
            table,
            self.value.span(),
        ))
    }

    /// Whether it is a string.
    pub fn is_text(&self) -> bool {
        self.value.get_ref().is_str()
    }

    /// Whether it is an array.
    pub fn is_array(&self) -> bool {
        self.value.get_ref().is_array()
    }

    /// Whether it is a table.
    pub fn is_table(&self) -> bool {
        self.value.get_ref().is_table()
    }

    /// The value as JSON.
    ///
    /// # Errors
    /// JSON has no such number.
    pub fn json(&self) -> Result<Json, DeclarationError> {
        Ok(match self.value.get_ref() {
            DeValue::String(text) => Json::String(text.to_string()),
            DeValue::Integer(_) => Json::Integer(self.integer()?),
            DeValue::Float(number) => {
                let value = number.as_str().parse::<f64>().ok().and_then(Json::from_f64);
                value.ok_or_else(|| self.error("JSON has no such number"))?
            }
            DeValue::Boolean(value) => Json::Bool(*value),
            DeValue::Datetime(time) => Json::String(time.to_string()),
            DeValue::Array(_) => Json::Array(
                self.items()?
                    .iter()
                    .map(TomlNode::json)
                    .collect::<Result<_, _>>()?,
            ),
            DeValue::Table(_) => {
                let members = self.section()?.nodes();
                let member = |(name, node): (String, TomlNode<'_>)| Ok((name, node.json()?));
                Json::Object(
                    members
                        .into_iter()
                        .map(member)
                        .collect::<Result<_, DeclarationError>>()?,
                )
            }
        })
    }
}

/// A table; remembers which keys were asked for, so that the others can be refused.
pub struct Section<'t> {
    /// The file.
    pub source: &'t Source<'t>,
    /// The key, dotted; empty for the whole file.
    pub key: String,
    table: &'t DeTable<'t>,
    span: Range<usize>,
    asked: RefCell<Vec<&'static str>>,
}

impl<'t> Section<'t> {
    /// A table at these bytes of a file, under this key.
    pub fn new(
        source: &'t Source<'t>,
        key: String,
        table: &'t DeTable<'t>,
        span: Range<usize>,
    ) -> Self {
        Section {
            source,
            key,
            table,
            span,
            asked: RefCell::new(Vec::new()),
        }
    }

    /// What is wrong with it.
    pub fn error(&self, message: impl Into<String>) -> DeclarationError {
        self.source.error(self.span.clone(), &self.key, message)
    }

    fn child(&self, name: &str) -> String {
        if self.key.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.key)
        }
    }

    /// The value of a key.
    pub fn get(&self, name: &'static str) -> Option<TomlNode<'t>> {
        self.asked.borrow_mut().push(name);
        let value = self.table.get(name)?;
        Some(TomlNode {
            source: self.source,
            key: self.child(name),
            value,
        })
    }

    /// Whether it has a key, without asking for it.
    pub fn has(&self, name: &str) -> bool {
        self.table.contains_key(name)
    }

    /// All members, under whatever keys.
    pub fn nodes(&self) -> Vec<(String, TomlNode<'t>)> {
        let nodes = self.table.iter().map(|(name, value)| {
            let node = TomlNode {
                source: self.source,
                key: self.child(name.get_ref()),
                value,
            };
            (name.get_ref().to_string(), node)
        });
        let mut nodes: Vec<_> = nodes.collect();
        nodes.sort_by_key(|(_, node)| node.value.span().start);
        nodes
    }

    /// The string of a key; none where it is absent.
    ///
    /// # Errors
    /// It is no string.
    pub fn text(&self, name: &'static str) -> Result<Option<&'t str>, DeclarationError> {
        self.get(name).map(|node| node.text()).transpose()
    }

    /// The flag of a key; false where it is absent.
    ///
    /// # Errors
    /// It is neither true nor false.
    pub fn flag(&self, name: &'static str) -> Result<bool, DeclarationError> {
        Ok(self
            .get(name)
            .map(|node| node.flag())
            .transpose()?
            .unwrap_or(false))
    }

    /// The value of a key as JSON; none where it is absent.
    ///
    /// # Errors
    /// JSON has no such value.
    pub fn json(&self, name: &'static str) -> Result<Option<Json>, DeclarationError> {
        self.get(name).map(|node| node.json()).transpose()
    }

    /// The items of a key; none where it is absent.
    ///
    /// # Errors
    /// It is no array.
    pub fn items(&self, name: &'static str) -> Result<Vec<TomlNode<'t>>, DeclarationError> {
        Ok(self
            .get(name)
            .map(|node| node.items())
            .transpose()?
            .unwrap_or_default())
    }

    /// Refuses every key that was never asked for.
    ///
    /// # Errors
    /// The first of them.
    pub fn finish(&self) -> Result<(), DeclarationError> {
        self.known(&self.asked.borrow())
    }

    /// Refuses every key but these: asked first, so that a misspelt key is not reported as missing.
    ///
    /// # Errors
    /// The first of the others, with the key that may have been meant.
    pub fn known(&self, known: &[&'static str]) -> Result<(), DeclarationError> {
        for (name, _) in self.table.iter() {
            let found = name.get_ref().as_ref();
            if known.contains(&found) {
                continue;
            }
            let error = self.source.error(
                name.span(),
                &self.child(found),
                format!("unknown key `{found}`"),
            );
            return Err(match nearest(found, known) {
                Some(known) => error.hint(format!("did you mean `{known}`?")),
                None => error.hint(format!("known keys here: {}", listed(known))),
            });
        }
        Ok(())
    }
}

fn listed(known: &[&str]) -> String {
    let mut known = known.to_vec();
    known.sort_unstable();
    known.dedup();
    known.join(", ")
}

/// The known word that takes the fewest changes to become the one found; none if it takes many.
pub fn nearest<'k>(found: &str, known: &[&'k str]) -> Option<&'k str> {
    let changes = |word: &str| strsim::osa_distance(found, word);
    let best = known.iter().min_by_key(|word| changes(word))?;
    (changes(best) * CHANGES_PART <= found.chars().count().max(CHANGES_PART)).then_some(*best)
}
