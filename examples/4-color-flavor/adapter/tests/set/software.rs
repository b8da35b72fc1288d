//! Either version of the software, as a function from requests to replies. `tests/servers.rs` holds it against the real servers.

use color_flavor_adapter::form::{Form, Operation, Reply, Request};
use std::collections::BTreeMap;

/// A number in the set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its colour, or its flavour.
    pub(crate) word: String,
    /// The revision that put it in.
    pub(crate) inserted: u64,
    /// The revision that changed it last: its `ETag`.
    pub(crate) changed: u64,
}

/// A server with its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Software {
    /// Its version.
    pub(crate) form: Form,
    /// How many changes there have been.
    pub(crate) revision: u64,
    /// The set.
    pub(crate) numbers: BTreeMap<i64, Entry>,
}

impl Software {
    /// An empty set of version 1.
    pub(crate) fn new() -> Self {
        Self {
            form: Form::Colours,
            revision: 0,
            numbers: BTreeMap::new(),
        }
    }

    /// Answers a request.
    pub(crate) fn answer(&mut self, request: &Request) -> Reply {
        let form = self.form;
        match form.read(request) {
            Err(reply) => reply,
            Ok(Operation::Health) => Reply {
                status: 200,
                etag: None,
                body: b"{}".to_vec(),
            },
            Ok(Operation::List) => {
                let numbers: Vec<i64> = self.numbers.keys().copied().collect();
                form.list(&numbers)
            }
            Ok(Operation::Get(number)) => self.shown(200, number),
            Ok(Operation::Insert(number, _)) if self.numbers.contains_key(&number) => {
                form.present()
            }
            Ok(Operation::Insert(number, word)) => {
                let inserted = self.revision + 1;
                self.change(number, word, inserted);
                self.shown(201, number)
            }
            Ok(Operation::Set(number, word)) => {
                if let Some(entry) = self.numbers.get(&number) {
                    let inserted = entry.inserted;
                    self.change(number, word, inserted);
                }
                self.shown(200, number)
            }
            Ok(Operation::Delete(number)) => match self.numbers.remove(&number) {
                Some(_) => Reply {
                    status: 204,
                    etag: None,
                    body: Vec::new(),
                },
                None => form.absent(),
            },
        }
    }

    fn change(&mut self, number: i64, word: String, inserted: u64) {
        self.revision += 1;
        let entry = Entry {
            word,
            inserted,
            changed: self.revision,
        };
        self.numbers.insert(number, entry);
    }

    fn shown(&self, status: u16, number: i64) -> Reply {
        match self.numbers.get(&number) {
            Some(entry) => {
                let etag = format!("\"{}\"", entry.changed);
                self.form.shown(status, number, &entry.word, etag)
            }
            None => self.form.absent(),
        }
    }
}
