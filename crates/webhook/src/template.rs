//! What a message says: text with placeholders, `{{message}}`. No more than that: whoever wants conditions has filters.

use crate::SettingsError;
use model::spelling::nearest;

/// The longest template, in bytes.
const TEMPLATE_BYTES_MAX: usize = 16 * 1024;

/// What can stand in a template, each with what it stands for.
pub(crate) const PLACEHOLDERS: [&str; 13] = [
    "author", "class", "epoch", "icon", "id", "kind", "severity", "message", "node", "number",
    "system", "time", "version",
];

/// A template that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageTemplate(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Value(&'static str),
}

impl MessageTemplate {
    /// Reads one.
    ///
    /// # Errors
    /// It is too long, a placeholder is not known, or one does not end.
    pub fn read(text: &str) -> Result<Self, SettingsError> {
        let wrong = |place: usize, problem: String| {
            let line = text[..place].lines().count().max(1);
            SettingsError::new("template", format!("line {line}: {problem}"))
        };
        if text.len() > TEMPLATE_BYTES_MAX {
            return Err(wrong(
                0,
                format!("it has {TEMPLATE_BYTES_MAX} bytes at most"),
            ));
        }
        let (mut pieces, mut at) = (Vec::new(), 0);
        while let Some(found) = text[at..].find("{{") {
            let begin = at + found;
            let rest = &text[begin + 2..];
            let end = rest.find("}}").ok_or_else(|| {
                wrong(
                    begin + 1,
                    "a placeholder begins with `{{` and does not end; write `}}`".to_owned(),
                )
            })?;
            let name = rest[..end].trim();
            let known = PLACEHOLDERS.iter().find(|known| **known == name);
            let known = known.ok_or_else(|| wrong(begin + 1, unknown(name)))?;
            pieces.push(Piece::Text(text[at..begin].to_owned()));
            pieces.push(Piece::Value(known));
            at = begin + 2 + end + 2;
        }
        pieces.push(Piece::Text(text[at..].to_owned()));
        Ok(Self(pieces))
    }

    /// The text with these values in it.
    pub(crate) fn filled(&self, mut value: impl FnMut(&'static str) -> String) -> String {
        let pieces = self.0.iter().map(|piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Value(name) => value(name),
        });
        pieces.collect()
    }
}

fn unknown(name: &str) -> String {
    let near = nearest(name, PLACEHOLDERS);
    let hint = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
    let known = PLACEHOLDERS.join(", ");
    format!("`{{{{{name}}}}}` is not known here (known: {known}){hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled_and_all_else_stays() {
        let template = MessageTemplate::read("{ {{kind}}: {{ message }} } }}").expect("one");
        let filled = template.filled(|name| format!("<{name}>"));
        assert_eq!(filled, "{ <kind>: <message> } }}");
    }

    #[test]
    fn a_value_is_not_read_as_a_template() {
        let template = MessageTemplate::read("{{message}}").expect("one");
        assert_eq!(template.filled(|_| "{{author}}".to_owned()), "{{author}}");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let told = |text: &str| MessageTemplate::read(text).expect_err("wrong").to_string();
        let unknown = told("one\ntwo {{mesage}}");
        assert!(
            unknown.contains("line 2") && unknown.contains("did you mean `message`?"),
            "{unknown}"
        );
        assert!(told("{{message").contains("does not end"));
        assert!(told(&"x".repeat(TEMPLATE_BYTES_MAX + 1)).contains("bytes at most"));
    }
}
