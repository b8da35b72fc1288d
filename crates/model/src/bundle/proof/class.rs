//! `[class.NAME]`: what an upgrade says about a class.

use super::{check_name, lifecycle, schedule, service, software};
use crate::bundle::reader::KeyTable;
use crate::bundle::{Class, ClassUpgrade, State, Transform};
use crate::expression::{Allowed, Expression};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

/// How long a transform may take when nothing else is said, milliseconds.
const TRANSFORM_TIMEOUT_MS: u64 = 600_000;

pub(super) fn classes(
    root: &KeyTable<'_>,
    removed: &BTreeSet<String>,
) -> BTreeMap<String, ClassUpgrade> {
    let mut classes = BTreeMap::new();
    for (name, table) in root.named_tables("class") {
        check_name(root.source(), &name, "a class");
        if removed.contains(&name.value) {
            root.source().wrong(
                &name,
                "the class is also listed under `removed.classes`",
                "delete one of the two",
            );
        }
        classes.insert(name.value.clone(), class(name.value, table));
    }
    classes
}

fn class(name: String, table: KeyTable<'_>) -> ClassUpgrade {
    let source = table.source();
    let first = source.first;
    let added = table.boolean("added", first);
    let was = table.string("was");
    if let Some(at) = &was {
        if first {
            source.wrong(
                at,
                "the first version has no classes before it",
                "delete this key",
            );
        } else if added {
            source.wrong(
                at,
                "a class is either `added` or `was` another",
                "delete one of the two",
            );
        }
    }
    let filter = table.string("filter");
    if let (Some(at), true) = (&filter, added) {
        source.wrong(
            at,
            "an added class has no nodes to choose from",
            "delete this key",
        );
    }
    let filter = filter.and_then(|at| source.expression(&at, &Allowed::NODE, Expression::truth));
    let definition = if table.has("software") {
        Some(definition(&table, added || first))
    } else {
        no_definition(&table, added || first, was.is_some() || filter.is_some());
        None
    };
    let schedule = schedule::schedule(&table);
    let was = was.map(|at| at.value).filter(|was| *was != name);
    table.finish();
    ClassUpgrade {
        name,
        added,
        was,
        filter,
        schedule,
        definition,
    }
}

/// A class without software is only renamed or split.
fn no_definition(table: &KeyTable<'_>, added: bool, renamed: bool) {
    let parts = ["service", "state", "lifecycle"];
    let part = parts.into_iter().find(|part| table.has(part));
    if added {
        table.missing(
            "software",
            "a new class says what it runs: `[class.NAME.software]` with a `command`",
        );
    } else if let Some(part) = part {
        let help = "say what the class runs, or leave out all of `software`, `service`, `state` and `lifecycle`";
        table.missing(
            "software",
            &format!("`{part}` belongs to new software: {help}"),
        );
    } else if !renamed {
        let help = "say what the class runs, or delete the table: a class that is not mentioned stays as it is";
        table.missing("software", help);
    }
}

fn definition(table: &KeyTable<'_>, new: bool) -> Class {
    let services: BTreeSet<String> = table
        .named_tables("service")
        .into_iter()
        .map(|(name, _)| name.value)
        .collect();
    let ships = table
        .table("software")
        .is_some_and(|software| software.has("path"));
    let allowed = if ships {
        Allowed::everything(services.clone()).shipped_in(software::folder(table))
    } else {
        Allowed::without_software(services.clone())
    };
    let services = service::services(table, &services);
    Class {
        software: software::software(table, &allowed),
        lifecycle: lifecycle::lifecycle(table.table("lifecycle"), table, &services, &allowed),
        state: table
            .table("state")
            .map(|state_table| state(state_table, new, &allowed))
            .unwrap_or_default(),
        services,
    }
}

fn state(table: KeyTable<'_>, new: bool, allowed: &Allowed) -> State {
    let source = table.source();
    let adopt = table.string("adopt");
    if let (Some(at), false) = (&adopt, new) {
        let problem =
            "only a new class adopts a directory; here the state comes from the version before";
        source.wrong(at, problem, "delete this key");
    }
    let (forward, reverse) = (
        transform(&table, "transform", allowed),
        transform(&table, "reverse", allowed),
    );
    if new {
        for key in ["transform", "reverse"] {
            if let Some(at) = table.place(key) {
                source.wrong(
                    &at,
                    "a new class has no older state to convert",
                    "delete this key",
                );
            }
        }
    }
    let shared = table.strings("shared").unwrap_or_default();
    for at in &shared {
        if !is_within(&at.value) {
            let problem = format!("`{}` does not lie in the state", at.value);
            source.wrong(
                at,
                problem,
                "write the link's path as seen from the state, without `..`",
            );
        }
    }
    let set_user_id = table.boolean("set_user_id", false);
    table.finish();
    State {
        adopt: adopt.and_then(|at| source.template(&at, &Allowed::LASTING)),
        transform: forward,
        reverse,
        shared: shared.into_iter().map(|at| at.value).collect(),
        set_user_id,
    }
}

/// A relative path that goes down only; `.` is the whole state.
fn is_within(path: &str) -> bool {
    let plain = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    !path.is_empty() && Path::new(path).components().all(plain)
}

fn transform(table: &KeyTable<'_>, key: &'static str, allowed: &Allowed) -> Option<Transform> {
    let inner = table.table(key)?;
    let command = software::command(&inner, allowed);
    let timeout_ms = inner.duration_ms("timeout_ms", TRANSFORM_TIMEOUT_MS);
    inner.finish();
    Some(Transform {
        command,
        timeout_ms,
    })
}
