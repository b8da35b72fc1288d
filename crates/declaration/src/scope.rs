//! A message, or an object inside one, while rules are applied to it.

use http::header::{HeaderMap, HeaderValue};

use crate::error::Mismatch;
use crate::place::MessagePlace;
pub use crate::query::Pair;
use crate::template::Parameters;
use wire::json::Json;

/// The parts of a message beside its body.
#[derive(Debug, Default)]
pub struct Head {
    /// What stands in the template of the path, by name.
    pub parameters: Parameters,
    /// Decoded; `None` until a rule needs it.
    pub query: Option<Vec<Pair>>,
    /// All headers.
    pub headers: HeaderMap,
}

/// What rules are applied to: values are taken out, then the results are put in.
#[derive(Debug, Default)]
pub struct Scope {
    /// `None` inside an object.
    pub head: Option<Head>,
    /// The body, or the object at hand.
    pub body: Option<Json>,
}

impl Scope {
    /// An object inside a message.
    pub fn inner(body: Json) -> Self {
        Self {
            head: None,
            body: Some(body),
        }
    }

    /// A copy of the value at a place; `None` where nothing is there.
    ///
    /// # Errors
    /// What is there is not one text.
    pub fn get(&self, place: &MessagePlace) -> Result<Option<Json>, Mismatch> {
        let MessagePlace::Body(steps) = place else {
            return self.get_head(place);
        };
        Ok(self.body.as_ref().and_then(|body| body.at(steps)))
    }

    fn get_head(&self, place: &MessagePlace) -> Result<Option<Json>, Mismatch> {
        let Some(head) = &self.head else {
            return Ok(None);
        };
        let query = head.query.as_deref().unwrap_or_default();
        match place {
            MessagePlace::Path(name) => {
                let found = head.parameters.iter().find(|(n, _)| n == name);
                Ok(found.map(|(_, value)| Json::String(value.clone())))
            }
            MessagePlace::Query(name) => {
                let mut found = query.iter().filter(|pair| pair.name == *name);
                match (found.next(), found.next()) {
                    (_, Some(_)) => Err(Mismatch::new("it occurs more than once")),
                    (first, None) => Ok(first.map(|pair| Json::String(pair.value.clone()))),
                }
            }
            MessagePlace::QueryAll(name) => {
                let found = query.iter().filter(|pair| pair.name == *name);
                let found: Vec<Json> = found.map(|p| Json::String(p.value.clone())).collect();
                Ok((!found.is_empty()).then_some(Json::Array(found)))
            }
            MessagePlace::Header(name) => {
                let mut found = head.headers.get_all(name).iter();
                match (found.next(), found.next()) {
                    (_, Some(_)) => Err(Mismatch::new("it occurs more than once")),
                    (None, None) => Ok(None),
                    (Some(value), None) => {
                        let text = std::str::from_utf8(value.as_bytes());
                        let text = text.map_err(|_| Mismatch::new("it is not UTF-8"))?;
                        Ok(Some(Json::String(text.to_owned())))
                    }
                }
            }
            // Patterns are filled before anything is read by them.
            MessagePlace::Body(_) | MessagePlace::QueryNames(_) | MessagePlace::BodyNames(..) => {
                Ok(None)
            }
        }
    }

    /// The names in the holes of a pattern, as far as the message has such names.
    pub fn names(&self, place: &MessagePlace) -> Vec<String> {
        let mut names = Vec::new();
        match place {
            MessagePlace::QueryNames(pattern) => {
                let heads = self.head.iter();
                let pairs = heads.flat_map(|head| head.query.iter().flatten());
                names.extend(
                    pairs
                        .filter_map(|pair| pattern.hole_of(&pair.name))
                        .map(str::to_owned),
                );
            }
            MessagePlace::BodyNames(steps, pattern) => {
                let mut fits = |object: &Json| {
                    if let Json::Object(members) = object {
                        let found = members.iter().filter_map(|(n, _)| pattern.hole_of(n));
                        names.extend(found.map(str::to_owned));
                    }
                };
                match &self.body {
                    Some(body @ Json::Object(_)) if steps.is_empty() => fits(body),
                    Some(body) => body.at(steps).iter().for_each(fits),
                    None => {}
                }
            }
            _ => {}
        }
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Takes the value out, perhaps undecoded; objects that this empties go too, save the body itself.
    ///
    /// # Errors
    /// What is there is not one text.
    pub fn take(&mut self, place: &MessagePlace) -> Result<Option<Json>, Mismatch> {
        if let MessagePlace::Body(steps) = place {
            return Ok(match (&mut self.body, steps.split_first()) {
                (body, None) => body.take(),
                (Some(body), Some((first, rest))) => take_member(body, first, rest),
                (None, Some(_)) => None,
            });
        }
        let value = self.get_head(place)?;
        let Some(head) = &mut self.head else {
            return Ok(None);
        };
        match place {
            MessagePlace::Path(name) => head.parameters.retain(|(n, _)| n != name),
            MessagePlace::Query(name) | MessagePlace::QueryAll(name) => {
                head.query
                    .get_or_insert_default()
                    .retain(|pair| pair.name != *name);
            }
            MessagePlace::Header(name) => {
                head.headers.remove(name);
            }
            MessagePlace::Body(_) | MessagePlace::QueryNames(_) | MessagePlace::BodyNames(..) => {}
        }
        Ok(value)
    }

    /// Puts a value where nothing is yet.
    ///
    /// # Errors
    /// There is a value already, or the place cannot hold this one.
    pub fn put(&mut self, place: &MessagePlace, value: Json) -> Result<(), Mismatch> {
        if let MessagePlace::Body(steps) = place {
            return put_member(&mut self.body, steps, value);
        }
        if self.get_head(place)?.is_some() {
            return Err(occupied(place));
        }
        let Some(head) = &mut self.head else {
            return Err(Mismatch::new("only bodies are known here"));
        };
        match place {
            MessagePlace::Path(name) => head.parameters.push((name.clone(), text_of(value)?)),
            MessagePlace::Query(name) => {
                let pair = Pair::new(name.clone(), text_of(value)?);
                head.query.get_or_insert_default().push(pair);
            }
            MessagePlace::QueryAll(name) => {
                let Json::Array(items) = value else {
                    return Err(Mismatch::new(format!(
                        "an array is needed, not {}",
                        value.kind()
                    )));
                };
                let query = head.query.get_or_insert_default();
                for item in items {
                    query.push(Pair::new(name.clone(), text_of(item)?));
                }
            }
            MessagePlace::Header(name) => {
                let text = text_of(value)?;
                let value = HeaderValue::from_bytes(text.as_bytes());
                let value = value.map_err(|_| Mismatch::new("no header can hold this text"))?;
                head.headers.insert(name.clone(), value);
            }
            MessagePlace::Body(_) | MessagePlace::QueryNames(_) | MessagePlace::BodyNames(..) => {}
        }
        Ok(())
    }
}

/// Text as paths, queries and headers need it: anything else must be converted by a rule, so that
/// the way back is known.
fn text_of(value: Json) -> Result<String, Mismatch> {
    match value {
        Json::String(text) => Ok(text),
        other => Err(Mismatch::new(format!(
            "paths, queries and headers hold strings, not {}",
            other.kind()
        ))),
    }
}

fn occupied(place: &MessagePlace) -> Mismatch {
    Mismatch::new(format!("there is already a value at {place}"))
}

fn take_member(object: &mut Json, name: &str, rest: &[String]) -> Option<Json> {
    let Some((next, rest)) = rest.split_first() else {
        return object.remove(name);
    };
    let inner = object.get_mut(name)?;
    let value = take_member(inner, next, rest)?;
    if matches!(inner, Json::Object(members) if members.is_empty()) {
        object.remove(name);
    }
    Some(value)
}

fn put_member(slot: &mut Option<Json>, steps: &[String], value: Json) -> Result<(), Mismatch> {
    let Some((name, rest)) = steps.split_first() else {
        return match slot {
            Some(there) if !there.is_vacant() => Err(Mismatch::new("there is already a value")),
            _ => {
                *slot = Some(value);
                Ok(())
            }
        };
    };
    let object = slot.get_or_insert_with(|| Json::Object(Vec::new()));
    put_into(object, name, rest, value)
}

fn put_into(object: &mut Json, name: &str, rest: &[String], value: Json) -> Result<(), Mismatch> {
    if !matches!(object, Json::Object(_)) {
        let kind = object.kind();
        return Err(Mismatch::new(format!(
            "`{name}` needs an object around it, not {kind}"
        )));
    }
    if let Some(inner) = object.get_mut(name) {
        return match rest.split_first() {
            Some((next, rest)) => put_into(inner, next, rest, value),
            None => Err(Mismatch::new(format!("there is already a value `{name}`"))),
        };
    }
    let value = rest.iter().rev().fold(value, |value, step| {
        Json::Object(vec![(step.clone(), value)])
    });
    if let Json::Object(members) = object {
        members.push((name.to_owned(), value));
    }
    Ok(())
}
