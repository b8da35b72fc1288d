//! `[once.NAME]`: what is done once for the whole system, when every node has settled.

use super::{check_name, software};
use crate::bundle::OnceCommand;
use crate::bundle::reader::KeyTable;
use crate::expression::Allowed;
use std::collections::BTreeMap;

/// How long it may take when nothing else is said, milliseconds.
const TIMEOUT_MS: u64 = 60_000;

pub(super) fn once(root: &KeyTable<'_>) -> BTreeMap<String, OnceCommand> {
    let mut all = BTreeMap::new();
    for (name, table) in root.named_tables("once") {
        check_name(root.source(), &name, "something that is done once");
        let class = table.string("class");
        if class.is_none() && !table.has("class") {
            table.missing("class", "write `class = \"NAME\"`: a node of it does this");
        }
        let command = software::command(&table, &Allowed::BESIDE);
        let timeout_ms = table.duration_ms("timeout_ms", TIMEOUT_MS);
        table.finish();
        let once = OnceCommand {
            class: class.map_or_else(String::new, |at| at.value),
            command,
            timeout_ms,
        };
        all.insert(name.value, once);
    }
    all
}
