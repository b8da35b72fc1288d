//! The variables that a CEL expression expects from outside: those that its own macros bind
//! (`items.exists(x, x > 1)`) are not among them.

use std::collections::BTreeSet;

use cel::IdedExpr;
use cel::common::ast::{EntryExpr, Expr};

/// Names that are no variables: types, as `type(x)` gives them, and where functions are kept.
const KNOWN: [&str; 13] = [
    "bool",
    "bytes",
    "double",
    "int",
    "list",
    "map",
    "null_type",
    "string",
    "timestamp",
    "type",
    "uint",
    "lists",
    "math",
];

/// The free variables of an expression.
pub(super) fn free(expression: &IdedExpr) -> Vec<String> {
    let mut found = BTreeSet::new();
    walk(expression, &mut Vec::new(), &mut found);
    found.into_iter().collect()
}

fn walk<'e>(expression: &'e IdedExpr, bound: &mut Vec<&'e str>, found: &mut BTreeSet<String>) {
    match &expression.expr {
        Expr::Unspecified | Expr::Literal(_) => {}
        Expr::Ident(name) => {
            // Names that begin so are the macros' own.
            let name = name.as_str();
            if !name.starts_with('@') && !bound.contains(&name) && !KNOWN.contains(&name) {
                found.insert(name.to_owned());
            }
        }
        Expr::Select(select) => walk(&select.operand, bound, found),
        Expr::Call(call) => {
            let target = call.target.as_deref();
            target
                .into_iter()
                .chain(&call.args)
                .for_each(|e| walk(e, bound, found));
        }
        Expr::List(list) => list.elements.iter().for_each(|e| walk(e, bound, found)),
        Expr::Map(map) => map
            .entries
            .iter()
            .for_each(|e| walk_entry(&e.expr, bound, found)),
        Expr::Struct(of) => of
            .entries
            .iter()
            .for_each(|e| walk_entry(&e.expr, bound, found)),
        Expr::Comprehension(all) => {
            walk(&all.iter_range, bound, found);
            walk(&all.accu_init, bound, found);
            let outside = bound.len();
            bound.extend([all.iter_var.as_str(), all.accu_var.as_str()]);
            bound.extend(all.iter_var2.as_deref());
            walk(&all.loop_cond, bound, found);
            walk(&all.loop_step, bound, found);
            walk(&all.result, bound, found);
            bound.truncate(outside);
        }
    }
}

fn walk_entry<'e>(entry: &'e EntryExpr, bound: &mut Vec<&'e str>, found: &mut BTreeSet<String>) {
    match entry {
        EntryExpr::StructField(field) => walk(&field.value, bound, found),
        EntryExpr::MapEntry(entry) => {
            walk(&entry.key, bound, found);
            walk(&entry.value, bound, found);
        }
    }
}
