//! What can be told of an expression before any node is there: what it takes at least, and that it can only fail.

use super::{ONE, cost, evaluated, names, plain};
use cel::IdedExpr;
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, operators};

/// Refuses what takes too many steps, or fails, whatever the node.
pub(super) fn check(expression: &IdedExpr) -> Result<(), String> {
    if turns(expression) > ONE.steps {
        return Err(format!(
            "it goes through its lists more than {} times; write fewer macros within one another, or shorter lists",
            ONE.steps
        ));
    }
    let problem = constant_problem(expression, true);
    problem.map_or(Ok(()), |problem| {
        Err(format!("it can only fail: {problem}"))
    })
}

/// How many turns its macros take; ranges that only a node knows count as one.
fn turns(expression: &IdedExpr) -> u64 {
    let all = |parts: &mut dyn Iterator<Item = &IdedExpr>| {
        parts.fold(0, |sum: u64, part| sum.saturating_add(turns(part)))
    };
    match &expression.expr {
        Expr::Comprehension(macro_) => {
            let each = [&macro_.loop_cond, &macro_.loop_step];
            let each = all(&mut each.into_iter()).saturating_add(1);
            let once = [&macro_.iter_range, &macro_.accu_init, &macro_.result];
            let once = all(&mut once.into_iter());
            size(&macro_.iter_range)
                .saturating_mul(each)
                .saturating_add(once)
        }
        other => all(&mut parts(other).into_iter()),
    }
}

/// How many items a range has at most; one where only a node knows it.
fn size(range: &IdedExpr) -> u64 {
    match &range.expr {
        Expr::List(list) => list.elements.len() as u64,
        Expr::Map(map) => map.entries.len() as u64,
        Expr::Comprehension(inner) if gives_list(inner) => size(&inner.iter_range),
        Expr::Call(call) if call.func_name == operators::ADD => {
            call.args.iter().map(size).fold(0, u64::saturating_add)
        }
        _ => 1,
    }
}

fn gives_list(of: &ComprehensionExpr) -> bool {
    matches!(of.accu_init.expr, Expr::List(_))
}

/// What fails in a part that gives the same everywhere: taking too long wherever it stands, anything else only where it is `certain` to
/// be evaluated.
fn constant_problem(expression: &IdedExpr, certain: bool) -> Option<String> {
    if matches!(expression.expr, Expr::Literal(_) | Expr::Ident(_)) {
        return None;
    }
    if names::is_closed(expression) {
        return cost::within(&ONE, || {
            let given = evaluated(&cost::metered(expression), None);
            given
                .err()
                .filter(|_| certain || cost::is_used_up())
                .map(|error| plain(&error))
        });
    }
    match &expression.expr {
        Expr::Call(call) => of_call(call, certain),
        Expr::Comprehension(all) => constant_problem(&all.iter_range, certain).or_else(|| {
            let rest = [&all.loop_cond, &all.loop_step, &all.result];
            rest.into_iter()
                .find_map(|part| constant_problem(part, false))
        }),
        other => parts(other)
            .into_iter()
            .find_map(|part| constant_problem(part, certain)),
    }
}

/// Only the first of a choice's or a condition's parts is certain to be evaluated, and `&&` and `||` may hide its failure.
fn of_call(call: &CallExpr, certain: bool) -> Option<String> {
    let hides = [
        operators::LOGICAL_AND,
        operators::LOGICAL_OR,
        operators::NOT_STRICTLY_FALSE,
    ];
    let hides = hides.contains(&call.func_name.as_str());
    let chooses = call.func_name == operators::CONDITIONAL;
    let mut parts = call
        .target
        .as_deref()
        .into_iter()
        .chain(&call.args)
        .enumerate();
    parts.find_map(|(index, part)| {
        constant_problem(part, certain && !hides && !(chooses && index > 0))
    })
}

/// The parts of an expression.
fn parts(expression: &Expr) -> Vec<&IdedExpr> {
    match expression {
        Expr::Unspecified | Expr::Literal(_) | Expr::Ident(_) => Vec::new(),
        Expr::Select(select) => vec![&select.operand],
        Expr::Call(call) => call
            .target
            .as_deref()
            .into_iter()
            .chain(&call.args)
            .collect(),
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Map(map) => map
            .entries
            .iter()
            .flat_map(|of| of_entry(&of.expr))
            .collect(),
        Expr::Struct(of) => of
            .entries
            .iter()
            .flat_map(|of| of_entry(&of.expr))
            .collect(),
        Expr::Comprehension(all) => vec![
            &all.iter_range,
            &all.accu_init,
            &all.loop_cond,
            &all.loop_step,
            &all.result,
        ],
    }
}

fn of_entry(entry: &EntryExpr) -> Vec<&IdedExpr> {
    match entry {
        EntryExpr::StructField(field) => vec![&field.value],
        EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
    }
}
