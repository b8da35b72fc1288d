//! An object keyed by a name at one version, an array of items with that name at the other.

use std::collections::HashSet;

use call::Side;
use declaration::Mismatch;
use wire::json::Json;

/// `{"a": …}` at one side, `[{"<key>": "a", …}]` at the other.
#[derive(Debug)]
pub(crate) struct Entries {
    /// The side that has the object.
    pub(crate) object: Side,
    /// The items' member that holds the name.
    pub(crate) key: String,
    /// The items' member that holds the value; without it the value's own members stand beside the
    /// key.
    pub(crate) value: Option<String>,
}

impl Entries {
    pub(crate) fn apply(&self, value: Json, toward: Side) -> Result<Json, Mismatch> {
        match value {
            Json::Object(members) if toward != self.object => members
                .into_iter()
                .map(|(name, v)| self.item(name, v))
                .collect::<Result<_, _>>()
                .map(Json::Array),
            Json::Array(items) if toward == self.object => {
                let mut seen = HashSet::with_capacity(items.len());
                let mut members = Vec::with_capacity(items.len());
                for item in items {
                    let (name, value) = self.member(item)?;
                    if !seen.insert(name.clone()) {
                        return Err(Mismatch::new(format!(
                            "two items have the {} \"{name}\"",
                            self.key
                        )));
                    }
                    members.push((name, value));
                }
                Ok(Json::Object(members))
            }
            other => Err(Mismatch::new(format!(
                "{} has no entries to turn around",
                other.kind()
            ))),
        }
    }

    fn item(&self, name: String, value: Json) -> Result<Json, Mismatch> {
        let mut members = vec![(self.key.clone(), Json::String(name))];
        match (&self.value, value) {
            (Some(label), value) => members.push((label.clone(), value)),
            (None, Json::Object(own)) if own.iter().all(|(n, _)| *n != self.key) => {
                members.extend(own);
            }
            (None, Json::Object(_)) => {
                return Err(Mismatch::new(format!(
                    "an entry already has `{}`",
                    self.key
                )));
            }
            (None, other) => {
                return Err(Mismatch::new(format!(
                    "an entry is {}, not an object",
                    other.kind()
                )));
            }
        }
        Ok(Json::Object(members))
    }

    fn member(&self, mut item: Json) -> Result<(String, Json), Mismatch> {
        let Some(Json::String(name)) = item.remove(&self.key) else {
            return Err(Mismatch::new(format!(
                "an item has no string `{}`",
                self.key
            )));
        };
        let Some(label) = &self.value else {
            return Ok((name, item));
        };
        let value = item.remove(label);
        let value = value.ok_or_else(|| Mismatch::new(format!("an item has no `{label}`")))?;
        if item.is_vacant() {
            Ok((name, value))
        } else {
            Err(Mismatch::new(format!(
                "an item has more than `{}` and `{label}`",
                self.key
            )))
        }
    }
}
