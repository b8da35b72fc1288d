//! Tables of values, bijective, with declared exceptions.

use std::collections::HashMap;

use call::Side;
use declaration::Mismatch;
use wire::json::Json;

/// A table of values: old and new.
#[derive(Clone, Debug, Default)]
pub(crate) struct ValueTable {
    to_new: HashMap<Json, Json>,
    to_old: HashMap<Json, Json>,
    /// What an old value becomes that is not in the table.
    pub(crate) otherwise_new: Option<Json>,
    /// What a new value becomes that is not in the table.
    pub(crate) otherwise_old: Option<Json>,
}

impl ValueTable {
    /// Adds a pair; the error names what stands in the way of going back.
    pub(crate) fn add(&mut self, old: Json, new: Json) -> Result<(), String> {
        if let Some(there) = self.to_new.get(&old) {
            return Err(format!("old {old} has two new values, {there} and {new}"));
        }
        if let Some(there) = self.to_old.get(&new) {
            return Err(format!("new {new} has two old values, {there} and {old}"));
        }
        self.to_new.insert(old.clone(), new.clone());
        self.to_old.insert(new, old);
        Ok(())
    }

    pub(crate) fn apply(&self, value: &Json, toward: Side) -> Result<Json, Mismatch> {
        let (table, otherwise) = match toward {
            Side::New => (&self.to_new, &self.otherwise_new),
            Side::Old => (&self.to_old, &self.otherwise_old),
        };
        let found = table.get(value).or(otherwise.as_ref());
        found
            .cloned()
            .ok_or_else(|| Mismatch::new(format!("{} is not in the table", brief(value))))
    }
}

/// A value as messages show it.
pub(super) fn brief(value: &Json) -> String {
    match value {
        Json::Array(_) | Json::Object(_) => value.kind().to_owned(),
        scalar => {
            let text = scalar.to_string();
            if text.chars().count() > 40 {
                text.chars().take(40).collect::<String>() + "…"
            } else {
                text
            }
        }
    }
}
