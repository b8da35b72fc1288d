//! What expressions may cost. Who publishes an upgrade writes some, and callers choose how large their messages are; a macro inside a
//! macro goes through one for each item of it: without a limit, one expression would keep everything else of its thread waiting.
//!
//! A compiled expression is written anew, with a toll wherever something is gone through: the range of a macro, and what functions and
//! comparisons look at. The tolls of all expressions within one piece of work add up.

use std::cell::Cell;

use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, operators};
use cel::common::types::{CelBytes, CelInt, CelMap, CelString, DYN_TYPE};
use cel::common::value::{CowVal, Val};
use cel::{Env, ExecutionError};

/// What the expressions of one piece of work may cost together.
#[derive(Debug)]
pub struct Limit {
    /// The most steps: a step is a turn of a macro, a value that is looked at, or [`TEXT_BYTES`] of text. A million of them
    /// take about a quarter of a second.
    pub steps: u64,
    /// Whose steps they are, for people ("expressions over this message take").
    pub who: &'static str,
}

/// How many bytes of text are one step.
const TEXT_BYTES: u64 = 64;

/// What compiling a regular expression costs, which each match does anew.
const PATTERN_STEPS: u64 = 200;

/// Pays for all of a value, and gives it. No lens can write this name, nor the others.
const TOLL: &str = "@toll";
/// Pays for the length of a text.
const LENGTH: &str = "@toll_length";
/// Pays for a regular expression.
const PATTERN: &str = "@toll_pattern";
/// Pays for as many turns as a number says.
const TURNS: &str = "@toll_turns";
/// Pays for each part of a value as often as another value has parts.
const PRODUCT: &str = "@toll_product";

thread_local! {
    /// What is left for the work at hand, and of what; none outside of any.
    static LEFT: Cell<Option<(u64, &'static Limit)>> = const { Cell::new(None) };
}

/// Does work whose expressions share a limit; inside of other such work they share that one's.
pub fn within<T>(limit: &'static Limit, work: impl FnOnce() -> T) -> T {
    struct EndOfWork(Option<(u64, &'static Limit)>);
    impl Drop for EndOfWork {
        fn drop(&mut self) {
            if self.0.is_none() {
                LEFT.set(None);
            }
        }
    }
    let outside = LEFT.get();
    let _end = EndOfWork(outside);
    if outside.is_none() {
        LEFT.set(Some((limit.steps, limit)));
    }
    work()
}

/// What an evaluation gave, unless the work at hand has used up what it may cost: then it is worth nothing, since `||` and `&&` hide
/// errors of their other side.
///
/// # Errors
/// The evaluation's own, or that it took too many steps.
pub fn judged<T>(result: Result<T, ExecutionError>) -> Result<T, ExecutionError> {
    match LEFT.get() {
        Some((0, limit)) => Err(too_much(limit)),
        _ => result,
    }
}

/// Whether the work at hand has used up what it may cost.
pub fn is_used_up() -> bool {
    matches!(LEFT.get(), Some((0, _)))
}

/// Pays for so many steps.
///
/// # Errors
/// They are more than what is left.
pub fn pay(steps: u64) -> Result<(), ExecutionError> {
    let Some((left, limit)) = LEFT.get() else {
        return Ok(());
    };
    let after = left.checked_sub(steps);
    LEFT.set(Some((after.unwrap_or(0), limit)));
    match after {
        Some(_) => Ok(()),
        None => Err(too_much(limit)),
    }
}

fn too_much(limit: &Limit) -> ExecutionError {
    ExecutionError::InternalError(format!("{} more than {} steps", limit.who, limit.steps))
}

/// How many steps it takes to go through so much text.
pub fn text(bytes: usize) -> u64 {
    bytes as u64 / TEXT_BYTES
}

/// How many steps it takes to go through a value.
fn weight(value: &dyn Val) -> u64 {
    if let Some(map) = value.downcast_ref::<CelMap<'_>>() {
        let members = map.inner().values();
        return 1 + members
            .map(|member| 1 + weight(member.as_ref()))
            .sum::<u64>();
    }
    let Some(list) = value.as_iterable() else {
        return 1 + length(value);
    };
    let mut items = list.iter();
    let mut steps = 1;
    while let Some(item) = items.next() {
        steps += weight(item);
    }
    steps
}

fn length(value: &dyn Val) -> u64 {
    if let Some(value) = value.downcast_ref::<CelString<'_>>() {
        text(value.inner().len())
    } else if let Some(value) = value.downcast_ref::<CelBytes<'_>>() {
        text(value.inner().len())
    } else {
        0
    }
}

/// Where functions are kept, which are no values.
const NAMESPACES: [&str; 3] = ["lists", "math", "strings"];

/// Adds the tolls to an environment.
pub fn add_tolls(env: &mut Env) {
    let one = || vec![DYN_TYPE];
    let added = [
        env.add_overload(TOLL, "toll_dyn", one(), toll),
        env.add_overload(LENGTH, "toll_length_dyn", one(), toll_length),
        env.add_overload(PATTERN, "toll_pattern_dyn", one(), toll_pattern),
        env.add_overload(TURNS, "toll_turns_dyn", one(), toll_turns),
        env.add_overload(
            PRODUCT,
            "toll_product_dyn_dyn",
            vec![DYN_TYPE, DYN_TYPE],
            toll_product,
        ),
    ];
    debug_assert!(
        added.iter().all(Result::is_ok),
        "no lens can write these names"
    );
}

type Arguments<'b, 'v> = Vec<CowVal<'b, 'v>>;
type Evaluated<'b, 'v> = Result<CowVal<'b, 'v>, ExecutionError>;

/// The first argument, paid for.
fn paid<'b, 'v>(
    arguments: Arguments<'b, 'v>,
    steps: impl FnOnce(&[CowVal<'b, 'v>]) -> u64,
) -> Evaluated<'b, 'v> {
    pay(steps(&arguments))?;
    let first = arguments.into_iter().next();
    first.ok_or_else(|| ExecutionError::invalid_argument_count(1, 0))
}

fn toll<'b, 'v>(arguments: Arguments<'b, 'v>) -> Evaluated<'b, 'v> {
    paid(arguments, |all| {
        all.iter().map(|one| weight(one.as_ref())).sum()
    })
}

fn toll_length<'b, 'v>(arguments: Arguments<'b, 'v>) -> Evaluated<'b, 'v> {
    paid(arguments, |all| {
        all.iter().map(|one| length(one.as_ref())).sum()
    })
}

fn toll_pattern<'b, 'v>(arguments: Arguments<'b, 'v>) -> Evaluated<'b, 'v> {
    paid(arguments, |all| {
        let lengths = all.iter().map(|one| length(one.as_ref()));
        PATTERN_STEPS.saturating_mul(1 + lengths.sum::<u64>())
    })
}

fn toll_turns<'b, 'v>(arguments: Arguments<'b, 'v>) -> Evaluated<'b, 'v> {
    paid(arguments, |all| {
        let number = all.first().and_then(|one| one.downcast_ref::<CelInt>());
        number.map_or(0, |number| u64::try_from(*number.inner()).unwrap_or(0))
    })
}

fn toll_product<'b, 'v>(arguments: Arguments<'b, 'v>) -> Evaluated<'b, 'v> {
    paid(arguments, |all| {
        let weights = all.iter().map(|one| weight(one.as_ref()));
        weights.fold(1, u64::saturating_mul)
    })
}

/// The same expression with its tolls.
pub fn metered(expression: &IdedExpr) -> IdedExpr {
    let mut written = expression.clone();
    meter(&mut written);
    written
}

fn meter(expression: &mut IdedExpr) {
    match &mut expression.expr {
        Expr::Unspecified | Expr::Literal(_) | Expr::Ident(_) => {}
        Expr::Select(select) => meter(&mut select.operand),
        Expr::Call(call) => meter_call(call),
        Expr::List(list) => list.elements.iter_mut().for_each(meter),
        Expr::Map(map) => map
            .entries
            .iter_mut()
            .for_each(|of| meter_entry(&mut of.expr)),
        Expr::Struct(of) => of
            .entries
            .iter_mut()
            .for_each(|of| meter_entry(&mut of.expr)),
        Expr::Comprehension(all) => {
            for part in [
                &mut all.iter_range,
                &mut all.accu_init,
                &mut all.loop_cond,
                &mut all.loop_step,
                &mut all.result,
            ] {
                meter(part);
            }
            wrap(TOLL, &mut all.iter_range);
        }
    }
}

fn meter_entry(entry: &mut EntryExpr) {
    match entry {
        EntryExpr::StructField(field) => meter(&mut field.value),
        EntryExpr::MapEntry(entry) => {
            meter(&mut entry.key);
            meter(&mut entry.value);
        }
    }
}

fn meter_call(call: &mut CallExpr) {
    let mut parts: Vec<&mut IdedExpr> = call.target.as_deref_mut().into_iter().collect();
    parts.extend(call.args.iter_mut());
    parts.iter_mut().for_each(|part| meter(part));
    // What a macro adds to its result is its own, and is added in place.
    let is_macros_own =
        |part: &&mut IdedExpr| matches!(&part.expr, Expr::Ident(name) if name.starts_with('@'));
    if parts.iter().any(is_macros_own) {
        return;
    }
    parts.retain(
        |part| !matches!(&part.expr, Expr::Ident(name) if NAMESPACES.contains(&name.as_str())),
    );
    let is_literal = |part: &&mut IdedExpr| matches!(part.expr, Expr::Literal(_));
    match call.func_name.as_str() {
        operators::CONDITIONAL
        | operators::LOGICAL_AND
        | operators::LOGICAL_OR
        | operators::LOGICAL_NOT
        | operators::NOT_STRICTLY_FALSE
        | operators::SUBSTRACT
        | operators::MULTIPLY
        | operators::DIVIDE
        | operators::MODULO
        | operators::NEGATE
        | operators::INDEX
        | operators::OPT_INDEX
        | operators::OPT_SELECT => {}
        // Nothing is compared beyond the shorter of the two.
        operators::EQUALS
        | operators::NOT_EQUALS
        | operators::LESS
        | operators::LESS_EQUALS
        | operators::GREATER
        | operators::GREATER_EQUALS
            if parts.iter().any(is_literal) => {}
        "size" => parts.into_iter().for_each(|part| wrap(LENGTH, part)),
        "range" | "lists.range" => parts.into_iter().for_each(|part| wrap(TURNS, part)),
        "matches" => {
            let last = parts.len().saturating_sub(1);
            for (index, part) in parts.into_iter().enumerate() {
                wrap(if index == last { PATTERN } else { TOLL }, part);
            }
        }
        // Each place may take the whole of what is put there; each item is compared with all others.
        "replace" | "join" => {
            let first = parts.first().map(|part| (**part).clone());
            if let (Some(first), Some(last)) = (first, parts.last_mut()) {
                wrap(PRODUCT, last);
                add_argument(last, first);
            }
        }
        "distinct" => parts.into_iter().for_each(|part| {
            let same = part.clone();
            wrap(PRODUCT, part);
            add_argument(part, same);
        }),
        name if name.starts_with('@') && name != operators::IN => {}
        _ => parts.into_iter().for_each(|part| {
            if !matches!(part.expr, Expr::Literal(_)) {
                wrap(TOLL, part);
            }
        }),
    }
}

/// Puts a toll before an expression.
fn wrap(toll: &str, expression: &mut IdedExpr) {
    let id = expression.id;
    let inner = std::mem::take(expression);
    let call = CallExpr {
        func_name: toll.to_owned(),
        target: None,
        args: vec![inner],
    };
    *expression = IdedExpr {
        id,
        expr: Expr::Call(call),
    };
}

fn add_argument(toll: &mut IdedExpr, argument: IdedExpr) {
    if let Expr::Call(call) = &mut toll.expr {
        call.args.push(argument);
    }
}
