//! What the store's gateway says at each version, read strictly: an answer in another version's form is none.
//!
//! Version 0 stands for callers of redis: a key holds the record as JSON, and a write is answered with `OK`.

use serde_json::{Value, json};

/// Callers of json-server 0.17.4, whose ids here are numbers.
pub const JSON_SERVER_OLD: u32 = 11;
/// Callers of json-server 1.0.0-beta.3, whose ids are strings.
pub const JSON_SERVER_NEW: u32 = 12;

/// What a key holds, whatever the version that says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The integer.
    pub value: i64,
    /// `red`, `green`, `blue` or `yellow`.
    pub colour: String,
    /// The writer's clock; the higher one is the newer.
    pub clock: u64,
}

/// How a call ended for its caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The write is acknowledged.
    Written,
    /// The key holds this.
    Found(Record),
    /// The key was never written.
    Missing,
    /// Refused, in the words of the caller's version.
    Refused,
    /// Failed: no answer in time, or the server's fault.
    Failed,
    /// An answer that is none in the caller's version.
    Strange(String),
}

const COLOURS: [&str; 4] = ["red", "green", "blue", "yellow"];

fn record(value: Option<i64>, colour: Option<&str>, clock: Option<u64>) -> Option<Record> {
    let colour = COLOURS.into_iter().find(|name| Some(*name) == colour)?;
    Some(Record {
        value: value?,
        colour: colour.to_owned(),
        clock: clock?,
    })
}

fn has_exactly(body: &Value, keys: &[&str]) -> bool {
    body.as_object()
        .is_some_and(|map| map.len() == keys.len() && keys.iter().all(|key| map.contains_key(*key)))
}

/// What a write's body of this version says; it never holds the key where the path does.
pub fn sent(version: u32, body: &Value) -> Option<Record> {
    match version {
        0 | 1 | JSON_SERVER_OLD | JSON_SERVER_NEW => record(
            body["value"].as_i64(),
            body["colour"].as_str(),
            body["clock"].as_u64(),
        ),
        2 => {
            let shade = body["shade"].as_str()?;
            let colour = shade.to_lowercase();
            let value = body["data"].as_str()?.parse().ok();
            (shade == shade.to_uppercase())
                .then(|| record(value, Some(&colour), body["stamp"].as_u64()))?
        }
        3 => {
            let content = &body["content"];
            let exact = has_exactly(content, &["number", "tints"])
                && content["tints"]
                    .as_array()
                    .is_some_and(|tints| tints.len() == 1)
                && has_exactly(&body["mark"], &["time"]);
            exact.then(|| {
                record(
                    content["number"].as_i64(),
                    content["tints"][0].as_str(),
                    body["mark"]["time"].as_u64(),
                )
            })?
        }
        _ => None,
    }
}

/// The names under which a found record is answered.
fn answer_keys(version: u32) -> &'static [&'static str] {
    match version {
        1 => &["key", "value", "colour", "clock"],
        2 => &["name", "data", "shade", "stamp"],
        _ => &["id", "content", "mark"],
    }
}

/// How a read of `key` by a caller of this version ended.
pub fn read(version: u32, key: &str, status: u16, body: &Value) -> Outcome {
    if version == 0 {
        return match sent(0, body) {
            Some(record) if status == 200 => Outcome::Found(record),
            _ if status == 200 && body.is_null() => Outcome::Missing,
            _ => neither(status, body),
        };
    }
    if let JSON_SERVER_OLD | JSON_SERVER_NEW = version {
        return item(version, status, body);
    }
    let missing = match version {
        1 => (404, json!({"error": "no such key"})),
        2 => (410, json!({"code": "UNKNOWN_NAME"})),
        _ => (404, json!({"problem": {"kind": "missing"}})),
    };
    if status == missing.0 && *body == missing.1 {
        return Outcome::Missing;
    }
    let keys = answer_keys(version);
    if status == 200
        && has_exactly(body, keys)
        && body[keys[0]] == json!(key)
        && let Some(record) = sent(version, body)
    {
        return Outcome::Found(record);
    }
    neither(status, body)
}

/// How a call for an item of json-server ended: the item itself is the answer, with an id of the version's kind; one
/// that has nothing else was never written.
fn item(version: u32, status: u16, body: &Value) -> Outcome {
    let has_id = match version {
        JSON_SERVER_OLD => body["id"].is_u64(),
        _ => body["id"].is_string(),
    };
    if status == 200 && has_id && has_exactly(body, &["id"]) {
        return Outcome::Missing;
    }
    match sent(version, body) {
        Some(record)
            if status == 200
                && has_id
                && has_exactly(body, &["id", "value", "colour", "clock"]) =>
        {
            Outcome::Found(record)
        }
        _ => neither(status, body),
    }
}

/// How a write by a caller of this version ended.
pub fn write(version: u32, status: u16, body: &Value) -> Outcome {
    let copies = |body: &Value, key: &str| matches!(body[key].as_u64(), Some(2 | 3));
    let written = match version {
        0 => status == 200 && body == "OK",
        JSON_SERVER_OLD | JSON_SERVER_NEW => {
            matches!(item(version, status, body), Outcome::Found(_))
        }
        1 => {
            status == 200
                && has_exactly(body, &["stored", "copies"])
                && body["stored"] == true
                && copies(body, "copies")
        }
        2 => {
            status == 201
                && has_exactly(body, &["result", "replicas"])
                && body["result"] == "WRITTEN"
                && copies(body, "replicas")
        }
        _ => {
            let outcome = &body["outcome"];
            status == 200
                && has_exactly(body, &["outcome"])
                && has_exactly(outcome, &["written", "replicas"])
                && outcome["written"] == true
                && copies(outcome, "replicas")
        }
    };
    if written {
        Outcome::Written
    } else {
        neither(status, body)
    }
}

fn neither(status: u16, body: &Value) -> Outcome {
    match status {
        0 | 500.. => Outcome::Failed,
        400..=499 => Outcome::Refused,
        _ => Outcome::Strange(format!("{status} {body}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examples() -> [(u32, Value, Value); 3] {
        [
            (
                1,
                json!({"key": "a", "value": 41, "colour": "red", "clock": 7}),
                json!({"stored": true, "copies": 2}),
            ),
            (
                2,
                json!({"name": "a", "data": "41", "shade": "RED", "stamp": 7}),
                json!({"result": "WRITTEN", "replicas": 2}),
            ),
            (
                3,
                json!({"id": "a", "content": {"number": 41, "tints": ["red"]}, "mark": {"time": 7}}),
                json!({"outcome": {"written": true, "replicas": 2}}),
            ),
        ]
    }

    #[test]
    fn each_version_is_understood_in_its_own_form_only() {
        let found = Record {
            value: 41,
            colour: "red".into(),
            clock: 7,
        };
        for (version, record, _) in examples() {
            for (other, body, _) in examples() {
                let outcome = read(version, "a", 200, &body);
                assert_eq!(
                    outcome == Outcome::Found(found.clone()),
                    version == other,
                    "{version} {record} {body}"
                );
            }
        }
    }

    #[test]
    fn acknowledgements_of_another_version_are_strange() {
        for (version, ..) in examples() {
            for (other, _, acknowledged) in examples() {
                let status = if other == 2 { 201 } else { 200 };
                let outcome = write(version, status, &acknowledged);
                assert_eq!(
                    outcome == Outcome::Written,
                    version == other,
                    "{version} {other}"
                );
            }
        }
    }

    #[test]
    fn redis_answers_are_understood() {
        let record = json!({"value": 41, "colour": "red", "clock": 7});
        let found = Record {
            value: 41,
            colour: "red".into(),
            clock: 7,
        };
        assert_eq!(read(0, "a", 200, &record), Outcome::Found(found));
        assert_eq!(read(0, "a", 200, &Value::Null), Outcome::Missing);
        assert_eq!(write(0, 200, &json!("OK")), Outcome::Written);
        assert_eq!(write(0, 500, &json!("LOADING")), Outcome::Failed);
        assert!(matches!(
            read(0, "a", 200, &json!("x")),
            Outcome::Strange(_)
        ));
    }

    #[test]
    fn items_of_json_server_have_ids_of_their_version() {
        let [old, new] = [json!(5), json!("5")]
            .map(|id| json!({"id": id, "value": 41, "colour": "red", "clock": 7}));
        for (version, own, other) in [(JSON_SERVER_OLD, &old, &new), (JSON_SERVER_NEW, &new, &old)]
        {
            assert!(matches!(read(version, "k", 200, own), Outcome::Found(_)));
            assert_eq!(write(version, 200, own), Outcome::Written);
            assert!(matches!(
                read(version, "k", 200, other),
                Outcome::Strange(_)
            ));
            assert!(matches!(write(version, 200, other), Outcome::Strange(_)));
            assert_eq!(write(version, 422, own), Outcome::Refused);
        }
        assert_eq!(
            read(JSON_SERVER_NEW, "k", 200, &json!({"id": "5"})),
            Outcome::Missing
        );
    }

    #[test]
    fn the_key_must_be_the_one_that_was_asked_for() {
        let [(_, body, _), ..] = examples();
        assert!(matches!(read(1, "b", 200, &body), Outcome::Strange(_)));
    }

    #[test]
    fn statuses_without_a_known_body_are_refusals_or_failures() {
        assert_eq!(
            read(1, "a", 404, &json!({"error": "bad call"})),
            Outcome::Refused
        );
        assert_eq!(
            read(2, "a", 504, &json!({"code": "NO_MAJORITY"})),
            Outcome::Failed
        );
        assert_eq!(write(3, 0, &Value::Null), Outcome::Failed);
        assert!(matches!(write(1, 204, &Value::Null), Outcome::Strange(_)));
    }
}
