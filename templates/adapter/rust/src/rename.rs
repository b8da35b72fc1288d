//! What changes between the versions, as functions of their own, so that `cargo test` can try them.

use indexmap::IndexMap;
use serde_json::value::RawValue;

/// A version of the software.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Paths begin with `/v1/`, items have a `colour`.
    One,
    /// Paths begin with `/v2/`, items have a `tint`.
    Two,
}

/// What cannot be shown to the other version, and why.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused(pub String);

impl Version {
    fn prefix(self) -> &'static str {
        match self {
            Version::One => "/v1/",
            Version::Two => "/v2/",
        }
    }

    fn colour(self) -> &'static str {
        match self {
            Version::One => "colour",
            Version::Two => "tint",
        }
    }
}

/// `/v1/items/7` becomes `/v2/items/7`.
pub fn target(target: &str, from: Version, to: Version) -> Result<String, Refused> {
    let rest = target
        .strip_prefix(from.prefix())
        .ok_or_else(|| Refused(format!("no path of version {from:?}: {target}")))?;
    Ok(format!("{}{rest}", to.prefix()))
}

/// `{"colour": "red"}` becomes `{"tint": "red"}`; the other members stay as they are written, in their order.
pub fn body(body: &[u8], from: Version, to: Version) -> Result<Vec<u8>, Refused> {
    // Only the members' names are looked at: what they hold is neither decoded nor written anew.
    let item: IndexMap<String, &RawValue> = serde_json::from_slice(body)
        .map_err(|_| Refused("the body is no JSON object".to_owned()))?;
    if item.contains_key(to.colour()) {
        return Err(Refused(format!(
            "version {from:?} has no `{}`",
            to.colour()
        )));
    }
    let renamed: IndexMap<String, &RawValue> = item
        .into_iter()
        .map(|(name, value)| {
            if name == from.colour() {
                (to.colour().to_owned(), value)
            } else {
                (name, value)
            }
        })
        .collect();
    serde_json::to_vec(&renamed).map_err(|why| Refused(why.to_string()))
}

#[cfg(test)]
mod tests {
    use super::Version::{One, Two};
    use super::*;

    #[test]
    fn paths_and_bodies_change_there_and_back() {
        assert_eq!(
            target("/v1/items/7?full=1", One, Two),
            Ok("/v2/items/7?full=1".to_owned())
        );
        let renamed = body(br#"{"id":7,"colour":"red"}"#, One, Two);
        assert_eq!(renamed, Ok(br#"{"id":7,"tint":"red"}"#.to_vec()));
        let back = body(br#"{"id":7,"tint":"red"}"#, Two, One);
        assert_eq!(back, Ok(br#"{"id":7,"colour":"red"}"#.to_vec()));
    }

    #[test]
    fn what_the_other_version_cannot_say_is_refused() {
        assert!(target("/v2/items/7", One, Two).is_err());
        for bad in [r#"{"tint":"red"}"#, "[]", "no"] {
            assert!(body(bad.as_bytes(), One, Two).is_err(), "{bad}");
        }
    }
}
