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
pub(crate) fn free(expression: &IdedExpr) -> Vec<String> {
    let mut found = BTreeSet::new();
    walk(expression, &mut Vec::new(), &mut found);
    found.into_iter().collect()
}

/// The members of a variable that an expression uses (`request.query`); none where it uses the variable in another way, and so
/// perhaps all of it.
pub(crate) fn members(expression: &IdedExpr, variable: &str) -> Option<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    all_are_members(expression, variable, &mut found).then_some(found)
}

fn all_are_members(expression: &IdedExpr, variable: &str, found: &mut BTreeSet<String>) -> bool {
    let is_it = |of: &IdedExpr| matches!(&of.expr, Expr::Ident(name) if name == variable);
    let mut all = |of: &IdedExpr| all_are_members(of, variable, found);
    match &expression.expr {
        Expr::Unspecified | Expr::Literal(_) => true,
        Expr::Ident(_) => !is_it(expression),
        Expr::Select(select) if is_it(&select.operand) => {
            found.insert(select.field.clone());
            true
        }
        Expr::Select(select) => all(&select.operand),
        Expr::Call(call) => call
            .target
            .as_deref()
            .into_iter()
            .chain(&call.args)
            .all(all),
        Expr::List(list) => list.elements.iter().all(all),
        Expr::Map(map) => map.entries.iter().all(|of| match &of.expr {
            EntryExpr::StructField(field) => all(&field.value),
            EntryExpr::MapEntry(entry) => all(&entry.key) && all(&entry.value),
        }),
        Expr::Struct(_) => false,
        Expr::Comprehension(of) => [
            &of.iter_range,
            &of.accu_init,
            &of.loop_cond,
            &of.loop_step,
            &of.result,
        ]
        .into_iter()
        .all(all),
    }
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
