//! `schedule` of a class: when its nodes may upgrade.

use crate::bundle::Schedule;
use crate::bundle::reader::KeyTable;
use crate::spelling::nearest;
use serde::Deserialize as _;
use toml::de::ValueDeserializer;

pub(super) fn schedule(table: &KeyTable<'_>) -> Schedule {
    let (Some(value), Some(place)) = (table.spanned("schedule"), table.value("schedule")) else {
        return Schedule::default();
    };
    Schedule::deserialize(ValueDeserializer::from(value)).unwrap_or_else(|error| {
        let span = Some(error.span().unwrap_or(place.span));
        let key = table.key_path("schedule");
        match unknown_field(error.message()) {
            Some((field, help)) => {
                let key = format!("{key}.{field}");
                table.source().report(span, &key, "unknown key", help);
            }
            None => {
                let message = error.message().replace('\n', ", ");
                table.source().report(span, &key, message, "");
            }
        }
        Schedule::default()
    })
}

/// The field and the advice in serde's words: "unknown field `a`, expected one of `b`, `c`".
fn unknown_field(message: &str) -> Option<(String, String)> {
    let rest = message.strip_prefix("unknown field ")?;
    let mut quoted = rest.split('`').skip(1).step_by(2);
    let field = quoted.next()?;
    let mut known: Vec<&str> = quoted.collect();
    known.sort_unstable();
    let help = match nearest(field, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known keys here: {}", known.join(", ")),
    };
    Some((field.to_owned(), help))
}
