//! What an expression is known to give before any message is there, so that one that can only fail is refused when it is written.
//!
//! Most of a message has no type (`body` may be anything), and nothing is said about that: only what fails for every message is
//! wrong. Functions that are not listed here may give, and take, anything.

use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators};

/// What a value is known to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Unknown,
    Null,
    Bool,
    Int,
    UInt,
    Double,
    Text,
    Bytes,
    List,
    Map,
    /// A map of texts, as a message's headers are.
    Texts,
}

impl Type {
    fn name(self) -> &'static str {
        match self {
            Self::Unknown => "anything",
            Self::Null => "null",
            Self::Bool => "a boolean",
            Self::Int | Self::UInt | Self::Double => "a number",
            Self::Text => "a string",
            Self::Bytes => "bytes",
            Self::List => "a list",
            Self::Map | Self::Texts => "a map",
        }
    }

    fn is_number(self) -> bool {
        matches!(self, Self::Int | Self::UInt | Self::Double)
    }

    fn is_map(self) -> bool {
        matches!(self, Self::Map | Self::Texts)
    }

    fn may_be(self, wanted: &[Self]) -> bool {
        self == Self::Unknown
            || wanted.contains(&self)
            || self.is_map() && wanted.contains(&Self::Map)
    }
}

/// Functions of strings, and what they give.
const OF_TEXT: [(&str, Type); 17] = [
    ("matches", Type::Bool),
    ("contains", Type::Bool),
    ("startsWith", Type::Bool),
    ("endsWith", Type::Bool),
    ("charAt", Type::Text),
    ("indexOf", Type::Int),
    ("lastIndexOf", Type::Int),
    ("lowerAscii", Type::Text),
    ("upperAscii", Type::Text),
    ("replace", Type::Text),
    ("split", Type::List),
    ("substring", Type::Text),
    ("trim", Type::Text),
    ("quote", Type::Text),
    ("format", Type::Text),
    ("join", Type::Text),
    ("reverse", Type::Unknown),
];

/// Those of them that lists have too.
const OF_LISTS_TOO: [&str; 4] = ["join", "reverse", "format", "contains"];

/// Says what can only fail in an expression, if anything can.
pub(crate) fn check(expression: &IdedExpr) -> Result<(), String> {
    infer(expression, &mut Vec::new()).map(drop)
}

/// What an expression gives; `bound` are the names that macros have given to something else.
fn infer<'e>(expression: &'e IdedExpr, bound: &mut Vec<&'e str>) -> Result<Type, String> {
    Ok(match &expression.expr {
        Expr::Unspecified => Type::Unknown,
        Expr::Literal(literal) => literal_type(literal),
        Expr::Ident(name) if bound.contains(&name.as_str()) => Type::Unknown,
        Expr::Ident(name) => variable(name),
        Expr::Select(select) => {
            let of = infer(&select.operand, bound)?;
            if !of.may_be(&[Type::Map]) {
                return Err(format!("`.{}` is asked of {}", select.field, of.name()));
            }
            match of {
                _ if select.test => Type::Bool,
                Type::Texts => Type::Text,
                _ => Type::Unknown,
            }
        }
        Expr::Call(call) => infer_call(call, bound)?,
        Expr::List(list) => {
            for element in &list.elements {
                infer(element, bound)?;
            }
            Type::List
        }
        Expr::Map(map) => {
            for entry in &map.entries {
                infer_entry(&entry.expr, bound)?;
            }
            Type::Map
        }
        Expr::Struct(_) => Type::Unknown,
        Expr::Comprehension(all) => {
            let range = infer(&all.iter_range, bound)?;
            if !range.may_be(&[Type::List, Type::Map]) {
                return Err(format!("a macro goes through {}", range.name()));
            }
            infer(&all.accu_init, bound)?;
            let outside = bound.len();
            bound.extend([all.iter_var.as_str(), all.accu_var.as_str()]);
            bound.extend(all.iter_var2.as_deref());
            for part in [&all.loop_cond, &all.loop_step, &all.result] {
                infer(part, bound)?;
            }
            bound.truncate(outside);
            Type::Unknown
        }
    })
}

fn infer_entry<'e>(entry: &'e EntryExpr, bound: &mut Vec<&'e str>) -> Result<(), String> {
    match entry {
        EntryExpr::StructField(field) => infer(&field.value, bound).map(drop),
        EntryExpr::MapEntry(entry) => {
            infer(&entry.key, bound)?;
            infer(&entry.value, bound).map(drop)
        }
    }
}

fn literal_type(literal: &LiteralValue) -> Type {
    match literal {
        LiteralValue::Boolean(_) => Type::Bool,
        LiteralValue::Bytes(_) => Type::Bytes,
        LiteralValue::Double(_) => Type::Double,
        LiteralValue::Int(_) => Type::Int,
        LiteralValue::Null => Type::Null,
        LiteralValue::String(_) => Type::Text,
        LiteralValue::UInt(_) => Type::UInt,
    }
}

fn variable(name: &str) -> Type {
    match name {
        "method" | "name" => Type::Text,
        "status" => Type::Int,
        "path" | "query" | "header" => Type::Texts,
        "queries" | "request" | "lookup" => Type::Map,
        _ => Type::Unknown,
    }
}

fn infer_call<'e>(call: &'e CallExpr, bound: &mut Vec<&'e str>) -> Result<Type, String> {
    let target = match call.target.as_deref() {
        // Where functions are kept is no value.
        Some(IdedExpr {
            expr: Expr::Ident(name),
            ..
        }) if !bound.contains(&name.as_str()) && variable(name) == Type::Unknown => {
            Some(Type::Unknown)
        }
        Some(target) => Some(infer(target, bound)?),
        None => None,
    };
    let mut arguments = Vec::new();
    for argument in &call.args {
        arguments.push(infer(argument, bound)?);
    }
    let name = call.func_name.as_str();
    match (name, &arguments[..]) {
        (operators::LOGICAL_AND | operators::LOGICAL_OR | operators::LOGICAL_NOT, all) => {
            match all.iter().find(|one| !one.may_be(&[Type::Bool])) {
                Some(other) => Err(format!("a condition is {}", other.name())),
                None => Ok(Type::Bool),
            }
        }
        (operators::CONDITIONAL, [condition, a, b]) => match condition.may_be(&[Type::Bool]) {
            false => Err(format!("the condition of `?` is {}", condition.name())),
            true if a == b => Ok(*a),
            true => Ok(Type::Unknown),
        },
        (operators::EQUALS | operators::NOT_EQUALS, _) => Ok(Type::Bool),
        (
            operators::LESS
            | operators::LESS_EQUALS
            | operators::GREATER
            | operators::GREATER_EQUALS,
            [a, b],
        ) => {
            if compared(*a, *b) {
                Ok(Type::Bool)
            } else {
                Err(format!("{} is compared with {}", a.name(), b.name()))
            }
        }
        (operators::ADD, [a, b]) => added(*a, *b),
        (
            operators::SUBSTRACT | operators::MULTIPLY | operators::DIVIDE | operators::MODULO,
            [a, b],
        ) => calculated(name, *a, *b),
        (operators::IN, [_, within]) => {
            if within.may_be(&[Type::List, Type::Map]) {
                Ok(Type::Bool)
            } else {
                Err(format!("`in` looks into {}", within.name()))
            }
        }
        (operators::INDEX, [of, _]) => match of {
            Type::Texts => Ok(Type::Text),
            of if of.may_be(&[Type::List, Type::Map]) => Ok(Type::Unknown),
            of => Err(format!("`[...]` is asked of {}", of.name())),
        },
        ("size", [_]) | ("int", [_]) => Ok(Type::Int),
        ("string", [_]) => Ok(Type::Text),
        ("double", [_]) => Ok(Type::Double),
        ("uint", [_]) => Ok(Type::UInt),
        ("bool", [_]) => Ok(Type::Bool),
        ("size", []) if target.is_some() => Ok(Type::Int),
        _ => function(name, target),
    }
}

/// A function that belongs to a value.
fn function(name: &str, target: Option<Type>) -> Result<Type, String> {
    let Some((_, gives)) = OF_TEXT.iter().find(|(known, _)| *known == name) else {
        return Ok(Type::Unknown);
    };
    let wanted: &[Type] = if OF_LISTS_TOO.contains(&name) {
        &[Type::Text, Type::List]
    } else {
        &[Type::Text]
    };
    match target {
        Some(target) if !target.may_be(wanted) => {
            Err(format!("`{name}` is asked of {}", target.name()))
        }
        _ => Ok(*gives),
    }
}

fn compared(a: Type, b: Type) -> bool {
    let is_unknown = a == Type::Unknown || b == Type::Unknown;
    is_unknown || a == b && a != Type::Null || a.is_number() && b.is_number()
}

fn added(a: Type, b: Type) -> Result<Type, String> {
    let sums = [
        Type::Int,
        Type::UInt,
        Type::Double,
        Type::Text,
        Type::Bytes,
        Type::List,
    ];
    match (a, b) {
        (Type::Unknown, other) | (other, Type::Unknown)
            if other == Type::Unknown || sums.contains(&other) =>
        {
            Ok(other)
        }
        (a, b) if a == b && sums.contains(&a) => Ok(a),
        (a, b) => Err(format!("`+` is given {} and {}", a.name(), b.name())),
    }
}

fn calculated(operator: &str, a: Type, b: Type) -> Result<Type, String> {
    let sign = operator.trim_matches('_');
    match (a, b) {
        (Type::Unknown, other) | (other, Type::Unknown)
            if other == Type::Unknown || other.is_number() =>
        {
            Ok(other)
        }
        (a, b) if a == b && a.is_number() => Ok(a),
        (a, b) => Err(format!("`{sign}` is given {} and {}", a.name(), b.name())),
    }
}

#[cfg(test)]
mod tests {
    use crate::expression::MeteredExpression;

    fn problem(text: &str) -> Option<String> {
        MeteredExpression::compile(text).err().map(String::from)
    }

    #[test]
    fn what_can_only_fail_is_refused() {
        for (text, problem_is) in [
            ("path.matches('x') + 'y'", "`matches` is asked of a map"),
            (
                "path.id.matches('x') + 'y'",
                "`+` is given a boolean and a string",
            ),
            ("path.id + 1", "`+` is given a string and a number"),
            ("1 + 2u", "`+` is given a number and a number"),
            ("query.a - 1", "`-` is given a string and a number"),
            ("status && true", "a condition is a number"),
            ("!method", "a condition is a string"),
            ("status ? 1 : 2", "the condition of `?` is a number"),
            ("method < 5", "a string is compared with a number"),
            ("'a' in method", "`in` looks into a string"),
            ("method.length", "`.length` is asked of a string"),
            ("status[0]", "`[...]` is asked of a number"),
            ("method.all(x, true)", "a macro goes through a string"),
            ("size(body) + 'x'", "`+` is given a number and a string"),
            ("['a'.size() - 'b']", "`-` is given a number and a string"),
        ] {
            let found = problem(text).unwrap_or_default();
            assert!(found.contains(problem_is), "{text}: {found}");
        }
    }

    #[test]
    fn what_may_work_is_not_judged() {
        for text in [
            "body.a + 'x'",
            "body.a + body.b",
            "body.items.map(x, x.n + 1)",
            "path.id + query.x",
            "has(body.a) ? body.a : 'none'",
            "math.greatest(1, 2) + 1",
            "lists.range(3).map(path, path + 1)",
            "queries.tag.join(',')",
            "'%s'.format([body.a])",
            "request.query.a + '&'",
            "value.split(' ')[0] + '!'",
            "status >= 400 && header['x'] != 'y'",
            "int(path.id) + 1",
            "[1] + [2]",
            "body.a == null || type(body.a) == int",
            "at(body, 'a.b') == 3",
        ] {
            assert_eq!(problem(text), None, "{text}");
        }
    }
}
