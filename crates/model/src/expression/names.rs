//! Which names an expression uses: unknown ones are refused when it is compiled, not years later at a node.

use crate::spelling::nearest;
use cel::common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue};
use std::collections::BTreeSet;

/// The names that an expression may use at its place in the file.
#[derive(Clone, Debug)]
pub struct Allowed {
    roots: &'static [&'static str],
    node: &'static [&'static str],
    services: Option<BTreeSet<String>>,
    /// The folder of the bundle that `software` stands for; none for an archive or where there is none.
    folder: Option<String>,
}

/// The fields of `event`.
pub const EVENT_FIELDS: &[&str] = &[
    "author", "kind", "severity", "message", "number", "proven", "version",
];

/// The fields of `node`.
const NODE_FIELDS: &[&str] = &["name", "class", "attributes"];

/// What commands may use.
const EVERYTHING: &[&str] = &[
    "attributes",
    "bundle",
    "node",
    "ports",
    "software",
    "state",
    "vars",
    "version",
];

impl Allowed {
    /// What is known of a node before anything is chosen for it: for filters.
    pub const NODE: Self = Self {
        roots: &["attributes", "node"],
        node: NODE_FIELDS,
        services: None,
        folder: None,
    };
    /// What has happened, and the node that it happened at: for choosing events.
    pub const EVENT: Self = Self {
        roots: &["attributes", "event", "node"],
        node: NODE_FIELDS,
        services: None,
        folder: None,
    };
    /// What holds for a node at every version: for ports (a class that takes a number without a restart keeps them), the
    /// user, and an adopted state directory.
    pub const LASTING: Self = Self {
        roots: &["attributes", "node", "vars"],
        node: &["name", "attributes"],
        services: None,
        folder: None,
    };

    /// Everything, for a command that is run beside software whose services are not known yet.
    pub const BESIDE: Self = Self {
        roots: EVERYTHING,
        node: NODE_FIELDS,
        services: None,
        folder: None,
    };

    /// These names and no other.
    pub(super) const fn of_roots(roots: &'static [&'static str]) -> Self {
        Self {
            roots,
            node: &[],
            services: None,
            folder: None,
        }
    }

    /// Everything but paths, with the ports of these services: for addresses.
    pub fn with_ports(services: BTreeSet<String>) -> Self {
        let roots = &["attributes", "node", "ports", "vars", "version"];
        Self {
            roots,
            node: NODE_FIELDS,
            services: Some(services),
            folder: None,
        }
    }

    /// The same, and `software` stands for this folder of the bundle.
    pub fn shipped_in(self, folder: Option<String>) -> Self {
        Self { folder, ..self }
    }

    /// The path in the bundle that a word of a command leads to, where it names one and nothing else.
    pub fn path_in_bundle(&self, word: &str) -> Option<String> {
        let path = match (word.strip_prefix("${bundle}/"), &self.folder) {
            (Some(path), _) => path.to_owned(),
            (None, Some(folder)) => format!("{folder}/{}", word.strip_prefix("${software}/")?),
            (None, None) => return None,
        };
        (!path.contains('$')).then(|| path.trim_end_matches('/').to_owned())
    }

    /// Everything, with the ports of these services: for commands.
    pub fn everything(services: BTreeSet<String>) -> Self {
        Self {
            roots: EVERYTHING,
            node: NODE_FIELDS,
            services: Some(services),
            folder: None,
        }
    }

    /// As before, without `software`: for a class that ships none.
    pub fn without_software(services: BTreeSet<String>) -> Self {
        let roots = &[
            "attributes",
            "bundle",
            "node",
            "ports",
            "state",
            "vars",
            "version",
        ];
        Self {
            roots,
            node: NODE_FIELDS,
            services: Some(services),
            folder: None,
        }
    }
}

/// What a filter compares with what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Landmarks {
    pub(crate) attributes: BTreeSet<String>,
    pub(crate) literals: BTreeSet<String>,
}

pub(super) fn landmarks(expression: &IdedExpr) -> Landmarks {
    let mut found = Landmarks::default();
    walk(expression, &mut |expression| match expression {
        Expr::Literal(LiteralValue::String(text)) => {
            found.literals.insert(text.inner().to_owned());
        }
        Expr::Select(select) if is_attributes(&select.operand.expr) => {
            found.attributes.insert(select.field.clone());
        }
        Expr::Call(call) if call.func_name == "_[_]" && call.args.len() == 2 => {
            if let (true, Expr::Literal(LiteralValue::String(name))) =
                (is_attributes(&call.args[0].expr), &call.args[1].expr)
            {
                found.attributes.insert(name.inner().to_owned());
            }
        }
        _ => {}
    });
    found
}

fn is_attributes(expression: &Expr) -> bool {
    match expression {
        Expr::Ident(name) => name == "attributes",
        Expr::Select(select) => {
            select.field == "attributes"
                && matches!(&select.operand.expr, Expr::Ident(name) if name == "node")
        }
        _ => false,
    }
}

/// The names that macros bind.
fn bound(expression: &IdedExpr) -> BTreeSet<String> {
    let mut bound = BTreeSet::new();
    walk(expression, &mut |expression| {
        if let Expr::Comprehension(comprehension) = expression {
            bound.insert(comprehension.iter_var.clone());
            bound.insert(comprehension.accu_var.clone());
            bound.extend(comprehension.iter_var2.clone());
        }
    });
    bound
}

/// Whether nothing in it comes from elsewhere.
pub(super) fn is_closed(expression: &IdedExpr) -> bool {
    let bound = bound(expression);
    let mut closed = true;
    walk(expression, &mut |expression| {
        if let Expr::Ident(name) = expression {
            closed &= bound.contains(name) || TYPE_NAMES.contains(&name.as_str());
        }
    });
    closed
}

/// Refuses names that are not there; the message names the nearest one that is.
pub(super) fn check(expression: &IdedExpr, allowed: &Allowed) -> Result<(), String> {
    let bound = bound(expression);
    let mut problem = None;
    walk(expression, &mut |expression| {
        let found = match expression {
            Expr::Ident(name) if !bound.contains(name) => root_problem(name, allowed),
            Expr::Select(select) => field_problem(&select.operand.expr, &select.field, allowed),
            _ => None,
        };
        if problem.is_none() {
            problem = found;
        }
    });
    problem.map_or(Ok(()), Err)
}

fn root_problem(name: &str, allowed: &Allowed) -> Option<String> {
    if name.starts_with('@') || TYPE_NAMES.contains(&name) || allowed.roots.contains(&name) {
        return None;
    }
    let hint = nearest(name, allowed.roots.iter().copied())
        .map_or(String::new(), |near| format!("; did you mean `{near}`?"));
    Some(format!(
        "`{name}` is not known here (known: {}){hint}",
        allowed.roots.join(", ")
    ))
}

/// Names of types are values in CEL (`type(x) == int`).
const TYPE_NAMES: [&str; 10] = [
    "bool",
    "bytes",
    "double",
    "int",
    "list",
    "map",
    "null_type",
    "string",
    "type",
    "uint",
];

fn field_problem(operand: &Expr, field: &str, allowed: &Allowed) -> Option<String> {
    let Expr::Ident(root) = operand else {
        return None;
    };
    let known: Vec<&str> = match (root.as_str(), &allowed.services) {
        ("node", _) => allowed.node.to_vec(),
        ("event", _) if allowed.roots.contains(&"event") => EVENT_FIELDS.to_vec(),
        ("ports", Some(services)) => services.iter().map(String::as_str).collect(),
        _ => return None,
    };
    if known.contains(&field) {
        return None;
    }
    let list = if known.is_empty() {
        "none".to_owned()
    } else {
        known.join(", ")
    };
    let hint =
        nearest(field, known).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
    Some(format!("`{root}` has no `{field}` (it has: {list}){hint}"))
}

/// Visits every part of an expression, outer ones first.
fn walk(expression: &IdedExpr, visit: &mut dyn FnMut(&Expr)) {
    visit(&expression.expr);
    match &expression.expr {
        Expr::Call(call) => {
            call.target.iter().for_each(|target| walk(target, visit));
            call.args.iter().for_each(|argument| walk(argument, visit));
        }
        Expr::Comprehension(c) => {
            for part in [
                &c.iter_range,
                &c.accu_init,
                &c.loop_cond,
                &c.loop_step,
                &c.result,
            ] {
                walk(part, visit);
            }
        }
        Expr::List(list) => list
            .elements
            .iter()
            .for_each(|element| walk(element, visit)),
        Expr::Map(map) => walk_entries(map.entries.iter().map(|e| &e.expr), visit),
        Expr::Struct(fields) => walk_entries(fields.entries.iter().map(|e| &e.expr), visit),
        Expr::Select(select) => walk(&select.operand, visit),
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
    }
}

fn walk_entries<'a>(entries: impl Iterator<Item = &'a EntryExpr>, visit: &mut dyn FnMut(&Expr)) {
    for entry in entries {
        match entry {
            EntryExpr::StructField(field) => walk(&field.value, visit),
            EntryExpr::MapEntry(entry) => {
                walk(&entry.key, visit);
                walk(&entry.value, visit);
            }
        }
    }
}
