//! The messages: an item of a shop in the form of each version. From version to version one member has another name, and paths another
//! beginning; the third version's are those of the first again, so that two adapters make a chain of any length.

/// What odd versions call it, then even ones.
const NAMES: [&str; 2] = ["colour", "tint"];

/// The version of the software that answers.
pub(in crate::bench) const SOFTWARE: usize = 5;

/// The name of the member at a version.
pub(in crate::bench) fn name(version: usize) -> &'static str {
    NAMES[(version - 1) % NAMES.len()]
}

/// What the paths of a version begin with.
pub(in crate::bench) fn prefix(version: usize) -> String {
    format!("/v{}/", 1 + (version - 1) % NAMES.len())
}

/// Lengths of messages, as they stand in paths.
pub(in crate::bench) const SIZES: [(&str, usize); 3] =
    [("small", 200), ("large", 4 << 10), ("huge", 64 << 10)];

/// A message of a version: of `bytes` at the software's version, a few less where the name is shorter.
pub(in crate::bench) fn item(version: usize, bytes: usize) -> String {
    let text = |version: usize, parts: &str, note: &str| {
        format!(
            r#"{{"id":1284,"{}":"dark red","kind":"chair","wood":"oak","amount":3,"price":129.5,"stored":true,"owner":{{"name":"Ada","city":"London"}},"tags":["wood","oak"],"parts":[{parts}],"note":"{note}"}}"#,
            name(version)
        )
    };
    // As many parts as fit at the software's version; the note fills what is left.
    let mut parts = String::new();
    for number in 1.. {
        let comma = if parts.is_empty() { "" } else { "," };
        let part =
            format!(r#"{comma}{{"part":{number},"kind":"leg","length_mm":431.5,"spare":false}}"#);
        if text(SOFTWARE, &parts, "").len() + part.len() > bytes {
            break;
        }
        parts.push_str(&part);
    }
    let left = bytes.saturating_sub(text(SOFTWARE, &parts, "").len());
    text(version, &parts, &"x".repeat(left))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_their_length_and_differ_in_one_name() {
        for (_, bytes) in SIZES {
            assert_eq!(item(SOFTWARE, bytes).len(), bytes);
            let [old, new] = [SOFTWARE - 1, SOFTWARE].map(|version| {
                serde_json::from_str::<serde_json::Value>(&item(version, bytes)).expect("JSON")
            });
            assert_eq!(old["tint"], new["colour"]);
            assert_eq!(old["note"], new["note"]);
            assert_eq!(new.get("tint"), None);
        }
    }
}
