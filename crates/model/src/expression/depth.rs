//! How deeply an expression is nested. Whatever evaluates, walks or drops it goes as deep on its thread's stack: an expression that is
//! sound here is so on every thread of every program.

use cel::common::ast::{EntryExpr, Expr, IdedExpr};

/// The deepest nesting. Each term of `a + b + c` nests the terms before it once more; of what people write hardly anything is deeper
/// than ten, and half of a thread's usual stack of 2 MiB holds it.
pub const EXPRESSION_DEPTH_MAX: usize = 64;

/// An expression is nested too deeply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "its terms are nested more than {EXPRESSION_DEPTH_MAX} deep; write a long row of them as a list (`x in [...]`) or with parentheses around its halves"
)]
pub struct TooDeep;

/// Refuses what is nested too deeply.
///
/// # Errors
/// It is.
pub fn check(expression: &IdedExpr) -> Result<(), TooDeep> {
    if is_deeper(expression, EXPRESSION_DEPTH_MAX) {
        Err(TooDeep)
    } else {
        Ok(())
    }
}

fn is_deeper(expression: &IdedExpr, left: usize) -> bool {
    let Some(left) = left.checked_sub(1) else {
        return true;
    };
    let entry = |entry: &EntryExpr| match entry {
        EntryExpr::StructField(field) => is_deeper(&field.value, left),
        EntryExpr::MapEntry(entry) => is_deeper(&entry.key, left) || is_deeper(&entry.value, left),
    };
    match &expression.expr {
        Expr::Unspecified | Expr::Literal(_) | Expr::Ident(_) => false,
        Expr::Select(select) => is_deeper(&select.operand, left),
        Expr::Call(call) => {
            let mut parts = call.target.as_deref().into_iter().chain(&call.args);
            parts.any(|part| is_deeper(part, left))
        }
        Expr::List(list) => list.elements.iter().any(|part| is_deeper(part, left)),
        Expr::Map(map) => map.entries.iter().any(|of| entry(&of.expr)),
        Expr::Struct(of) => of.entries.iter().any(|of| entry(&of.expr)),
        Expr::Comprehension(all) => [
            &all.iter_range,
            &all.accu_init,
            &all.loop_cond,
            &all.loop_step,
            &all.result,
        ]
        .into_iter()
        .any(|part| is_deeper(part, left)),
    }
}
