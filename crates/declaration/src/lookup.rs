//! What expressions and rules know of calls that were made before an operation's own.

use cel::Value;
use http::header::HeaderMap;
use wire::json::Json;

use crate::error::Mismatch;
pub use crate::value::answer_value;
use crate::value::object;

/// The answers to an operation's look-up calls.
#[derive(Debug)]
pub struct LookupAnswers {
    /// As expressions see them.
    pub(crate) seen: Value,
    /// Their bodies where they were successful, by name.
    bodies: Vec<(String, Option<Json>)>,
}

impl LookupAnswers {
    /// Answers by the names of their look-ups: as expressions see them, and the bodies of those that were successful.
    pub fn new(seen: Vec<(String, Value)>, bodies: Vec<(String, Option<Json>)>) -> Self {
        Self {
            seen: object(seen.into_iter()),
            bodies,
        }
    }

    /// LookupAnswers that were seen, by the names of their look-ups.
    pub fn of(made: Vec<(String, u16, HeaderMap, Option<Json>)>) -> Self {
        let seen = made.iter().map(|(name, status, headers, body)| {
            (name.clone(), answer_value(*status, headers, body.as_ref()))
        });
        Self {
            seen: object(seen.collect::<Vec<_>>().into_iter()),
            bodies: made
                .into_iter()
                .map(|(name, status, _, body)| (name, body.filter(|_| status / 100 == 2)))
                .collect(),
        }
    }

    /// What the answer to a look-up holds at a place of its body.
    ///
    /// # Errors
    /// The look-up was not made, or was not successful.
    pub fn get(&self, name: &str, steps: &[String]) -> Result<Option<Json>, Mismatch> {
        let made = self.bodies.iter().find(|(n, _)| n == name);
        let Some((_, body)) = made else {
            return Err(Mismatch::new(format!("the look-up `{name}` was not made")));
        };
        let Some(body) = body else {
            let what = format!("the look-up `{name}` found nothing");
            return Err(Mismatch::new(what));
        };
        Ok(body.at(steps))
    }
}
