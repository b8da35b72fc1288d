//! `schedule` of a class: when its nodes may upgrade.

use crate::bundle::Schedule;
use crate::bundle::read::Table;
use serde::Deserialize as _;
use toml::de::ValueDeserializer;

pub(super) fn schedule(table: &Table<'_>) -> Schedule {
    let Some(value) = table.spanned("schedule") else {
        return Schedule::default();
    };
    let place = table.value("schedule");
    Schedule::deserialize(ValueDeserializer::from(value)).unwrap_or_else(|error| {
        let span = error.span().or(place.map(|at| at.span));
        let message = error.message().replace('\n', ", ");
        table
            .source()
            .report(span, &table.key_path("schedule"), message, "");
        Schedule::default()
    })
}
