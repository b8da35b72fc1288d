//! What must hold for all lenses, all bodies and all texts.

use crate::support::generate::*;
use crate::support::*;
use call::{Chain, Direction};
use lens::Lens;
use proptest::prelude::*;
use wire::json::Json;

/// Numbers of exactly the same value are the same: `5.0` may come back as `5`, `2e3` as `2000`.
fn plain(json: Json) -> Json {
    match json {
        Json::Integer(_) | Json::Number(_) => Json::Number(decimal(&json.to_string()).into()),
        Json::Array(items) => Json::Array(items.into_iter().map(plain).collect()),
        Json::Object(members) => Json::Object(
            members
                .into_iter()
                .map(|(name, value)| (name, plain(value)))
                .collect(),
        ),
        other => other,
    }
}

/// A number as its significant digits and a power of ten.
fn decimal(text: &str) -> String {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let (sign, whole) = whole
        .strip_prefix('-')
        .map_or(("", whole), |whole| ("-", whole));
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_end_matches('0');
    let zeros = (digits.len() - significant.len()) as i64;
    let exponent = exponent.parse::<i64>().expect("an exponent") - fraction.len() as i64 + zeros;
    match significant.trim_start_matches('0') {
        "" => "0".to_owned(),
        significant => format!("{sign}{significant}e{exponent}"),
    }
}

fn post(chain: &Chain, target: &str, body: &Json) -> Result<Json, String> {
    let call = Wire {
        start: format!("POST {target}"),
        headers: vec![],
        body: Some(body.clone()),
    };
    let outcome = send(chain, call, wire("200", ""));
    match outcome.answer {
        Ok(_) => Ok(outcome.seen.expect("delegated").body.unwrap_or(Json::Null)),
        Err(refusal) => Err(refusal.reason),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn json_is_written_as_it_was_read(value in any_json()) {
        let text = value.to_string();
        prop_assert_eq!(Json::parse(text.as_bytes(), 64), Ok(value));
    }

    #[test]
    fn decoding_the_outside_first_changes_nothing(value in any_json(), at in 0..200usize, byte in 0..128u8) {
        // With spaces, as only undecoded parts keep them.
        let mut text = value.to_string().replace(",\"", " , \"").into_bytes();
        let outside = Json::parse_outside(text.clone().into(), 64);
        let written = outside.clone().map(|outside| outside.to_string());
        let whole = Json::parse(&text, 64);
        prop_assert_eq!(outside.map(Json::decoded), whole.clone());
        prop_assert_eq!(written.map(|written| Json::parse(written.as_bytes(), 64)), Ok(whole));
        // What is not JSON is found where nothing is decoded too.
        if let Some(place) = text.get_mut(at) {
            *place = byte;
        }
        let outside = Json::parse_outside(text.clone().into(), 64).map(Json::decoded);
        prop_assert_eq!(outside, Json::parse(&text, 64));
    }

    #[test]
    fn json_parsing_agrees_with_serde(text in r#"[\[\]{}:,"a0-9.eE+\\ -]{0,12}|.{0,12}"#) {
        let ours = Json::parse(text.as_bytes(), 64).is_ok();
        let theirs = serde_json::from_str::<serde_json::Value>(&text);
        // Serde stops at numbers beyond a double, which are numbers all the same.
        let range = theirs.as_ref().is_err_and(|error| error.to_string().contains("out of range"));
        prop_assert!(range || ours == theirs.is_ok());
    }

    #[test]
    fn the_way_back_leads_to_where_one_came_from(fields in fields()) {
        let (lens, body) = lens_and_body(&fields);
        let new = post(&past(&lens), "/o", &body);
        prop_assert!(new.is_ok(), "{:?}", new);
        let back = post(&future(&lens), "/n", &new.unwrap_or(Json::Null));
        prop_assert_eq!(back, Ok(body));
    }

    #[test]
    fn two_steps_and_back(first in fields()) {
        let (one, body) = lens_and_body(&first);
        // The second step renames what the first has made.
        let rules = (0..4).map(|i| format!("{{ old = 'body.x.n{i}', new = 'body.y.z{i}', optional = true }}"));
        let rules = rules.collect::<Vec<_>>().join(",");
        let two = crate::support::lens(&format!("[[operation]]\nold = 'POST /n'\nnew = 'POST /m'\nrequest = [{rules}]"));
        let there = lens::chain(vec![(one.clone(), Direction::Past), (two.clone(), Direction::Past)]);
        let back = lens::chain(vec![(two, Direction::Future), (one, Direction::Future)]);
        let new = post(&there, "/o", &body);
        prop_assert!(new.is_ok(), "{:?}", new);
        prop_assert_eq!(post(&back, "/m", &new.unwrap_or(Json::Null)), Ok(body));
    }

    /// Whatever a caller sends is either refused or can be brought back.
    #[test]
    fn never_a_silent_difference(fields in fields(), odd in any_json(), at in 0..4usize, whole in any::<bool>()) {
        let mut changed = fields.clone();
        changed[at].value = odd.clone();
        let (lens, body) = lens_and_body(&changed);
        let body = if whole { sorted(odd) } else { body };
        if let Ok(new) = post(&past(&lens), "/o", &body) {
            prop_assert_eq!(post(&future(&lens), "/n", &new).map(|back| plain(back.decoded())), Ok(plain(body)));
        }
    }

    /// Odd files are refused, not crashed on.
    #[test]
    fn any_text_is_a_lens_or_an_error(cut in 0..400usize, from in ".{0,4}", at in 0..400usize) {
        let text = "[map.c]\nred = 1\n[[operation]]\nold = 'PUT /a/{id}'\nnew = 'POST /b'\nrequest = [\n\
            { old = 'path.id', new = 'body.id', convert = ['string', 'integer'] },\n\
            { old = 'body.c', new = 'body.c', map = 'c', when = { old = 'body.x == 1', new = 'true' } },\n]\n\
            [[operation.response]]\nstatus = { old = 200, new = 201 }\nrules = [{ old = 'body.a', echo = 'path.id' }]";
        let mut text: String = text.chars().take(cut).collect();
        if let Some((index, _)) = text.char_indices().nth(at) {
            text.insert_str(index, &from);
        }
        let _ = Lens::parse("odd.toml", &text);
    }
}
