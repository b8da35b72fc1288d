//! The messages: an item of a shop in the form of each version. From version to version one member has another name.

/// What the versions 1 to 4 call it.
const NAMES: [&str; 4] = ["name", "title", "label", "caption"];

/// The version of the software that answers.
pub(super) const SOFTWARE: usize = 4;

/// The name of the member at a version.
pub(super) fn name(version: usize) -> &'static str {
    NAMES[version - 1]
}

/// Lengths of messages, as they stand in paths.
pub(super) const SIZES: [(&str, usize); 2] = [("small", 200), ("large", 4096)];

/// A message of a version: of `bytes` at the software's version, a few less where the name is shorter.
pub(super) fn item(version: usize, bytes: usize) -> String {
    let text = |parts: &str, note: &str| {
        format!(
            r#"{{"id":1284,"{}":"a chair of oak","colour":"red","amount":3,"price":129.5,"stored":true,"owner":{{"name":"Ada","city":"London"}},"tags":["wood","oak"],"parts":[{parts}],"note":"{note}"}}"#,
            name(version)
        )
    };
    // As many parts as fit; the note fills what is left, by the length that the message has at the software's version.
    let longer = name(SOFTWARE).len() - name(version).len();
    let mut parts = String::new();
    for number in 1.. {
        let comma = if parts.is_empty() { "" } else { "," };
        let part =
            format!(r#"{comma}{{"part":{number},"kind":"leg","length_mm":431.5,"spare":false}}"#);
        if text(&parts, "").len() + part.len() + longer > bytes {
            break;
        }
        parts.push_str(&part);
    }
    let left = bytes.saturating_sub(text(&parts, "").len() + longer);
    text(&parts, &"x".repeat(left))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_their_length_and_differ_in_one_name() {
        for (_, bytes) in SIZES {
            assert_eq!(item(SOFTWARE, bytes).len(), bytes);
            let [old, new] = [1, SOFTWARE].map(|version| {
                serde_json::from_str::<serde_json::Value>(&item(version, bytes)).expect("JSON")
            });
            assert_eq!(old["name"], new["caption"]);
            assert_eq!(old["note"], new["note"]);
            assert_eq!(new.get("name"), None);
        }
    }
}
