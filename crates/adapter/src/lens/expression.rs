//! CEL expressions: conditions and computed values.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};

use cel::common::types::{CelNull, CelString, DYN_TYPE, STRING_TYPE};
use cel::common::value::CowVal;
use cel::objects::{Key, Map};
use cel::{Context, Env, ExecutionError, IdedExpr, Value, extensions};
use model::expression::cost::{self, Limit};
use model::expression::{EXPRESSION_BYTES_MAX, check_depth};

use super::error::Mismatch;
use super::lookup::Answers;
use super::scope::Scope;
use super::types;
use super::variables;
use wire::json::Json;

/// What the expressions over one message may cost, about a quarter of a second.
static OVER_A_MESSAGE: Limit = Limit {
    steps: 1_000_000,
    who: "expressions over this message take",
};

/// How many values are made for expressions in the time of one step.
const VALUES_MADE: u64 = 8;

/// The standard functions, with those for strings and numbers.
static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    for extension in [extensions::strings, extensions::math, extensions::lists] {
        let added = env.add_extension(extension);
        debug_assert!(added.is_ok(), "the standard extensions do not collide");
    }
    let added = env.add_overload("at", "at_dyn_string", vec![DYN_TYPE, STRING_TYPE], at);
    debug_assert!(added.is_ok(), "nothing else is called so");
    cost::add_tolls(&mut env);
    Arc::new(env)
});

/// The variables that expressions may use.
pub(crate) const VARIABLES: [&str; 10] = [
    "value", "name", "this", "method", "path", "query", "queries", "header", "body", "status",
];
/// The answers to the look-up calls of an operation, by their names.
pub(crate) const LOOKUP: &str = "lookup";
/// The caller's request, in answers.
pub(crate) const REQUEST: &str = "request";

/// A compiled expression.
pub(crate) struct Expression {
    text: String,
    /// With its tolls.
    program: IdedExpr,
    variables: Vec<String>,
    /// The members of the caller's request that it uses; none where it may use all of them.
    of_request: Option<BTreeSet<String>>,
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expression({})", self.text)
    }
}

/// What an expression sees of a message beside its scope.
#[derive(Clone, Copy, Default)]
pub(crate) struct Surroundings<'c> {
    pub(crate) method: &'c str,
    pub(crate) status: Option<u16>,
    /// The caller's request, prepared by [`request_value`].
    pub(crate) request: Option<&'c Value>,
    /// Values that answers echo from the caller's request.
    pub(crate) echoes: &'c [Option<Json>],
    /// The answers to look-up calls.
    pub(crate) lookup: Option<&'c Answers>,
    /// What stands in the hole of the name that a pattern was found for.
    pub(crate) name: Option<&'c str>,
}

impl Expression {
    /// Compiles; the error says what is wrong in one line.
    pub(crate) fn compile(text: &str) -> Result<Expression, String> {
        if text.len() > EXPRESSION_BYTES_MAX {
            return Err(format!(
                "the expression is longer than {EXPRESSION_BYTES_MAX} bytes"
            ));
        }
        // The parser underneath is others' code: whatever it does with odd input must not end the process.
        let compiled = catch_unwind(AssertUnwindSafe(|| ENVIRONMENT.compile(text)));
        let program = match compiled {
            Ok(Ok(program)) => program,
            Ok(Err(errors)) => {
                let text = errors.to_string();
                let line = text.lines().next().unwrap_or("not CEL").to_owned();
                return Err(format!("not a CEL expression: {line}"));
            }
            Err(_) => return Err("not a CEL expression".to_owned()),
        };
        check_depth(program.expression()).map_err(|why| format!("the expression: {why}"))?;
        types::check(program.expression()).map_err(|why| format!("it can only fail: {why}"))?;
        let variables = variables::free(program.expression());
        let of_request = variables::members(program.expression(), REQUEST);
        Ok(Expression {
            text: text.to_owned(),
            program: cost::metered(program.expression()),
            variables,
            of_request,
        })
    }

    /// The expression as it is written.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it uses a variable, or this member of the caller's request (`request.body`).
    pub(crate) fn uses(&self, variable: &str) -> bool {
        match variable.split_once('.') {
            Some((REQUEST, member)) => {
                self.uses(REQUEST)
                    && (self.of_request.as_ref()).is_none_or(|used| used.contains(member))
            }
            _ => self.variables.iter().any(|v| v == variable),
        }
    }

    pub(crate) fn variables(&self) -> &[String] {
        &self.variables
    }

    /// Evaluates over a message; `value` is the one a rule has at hand.
    pub(crate) fn evaluate(
        &self,
        scope: &Scope,
        value: Option<&Json>,
        around: Surroundings<'_>,
    ) -> Result<Json, Mismatch> {
        let result = over_a_message(|| {
            let mut context = Context::with_env(ENVIRONMENT.clone());
            for variable in &self.variables {
                if let Some(json) = variable_json(variable, scope, value) {
                    made(json)?;
                }
                if let Some(found) = variable_value(variable, scope, value, around) {
                    context.add_variable_from_value(variable.as_str(), found);
                }
            }
            cost::judged(Value::resolve(&self.program, &context))
        });
        let result = result.map_err(|error| Mismatch::new(format!("`{}`: {error}", self.text)))?;
        from_cel(&result)
            .ok_or_else(|| Mismatch::new(format!("`{}` gives what JSON cannot hold", self.text)))
    }

    /// Evaluates a condition.
    pub(crate) fn holds(&self, scope: &Scope, around: Surroundings<'_>) -> Result<bool, Mismatch> {
        self.holds_for(scope, None, around)
    }

    /// Evaluates a condition over the value that a rule has at hand.
    pub(crate) fn holds_for(
        &self,
        scope: &Scope,
        value: Option<&Json>,
        around: Surroundings<'_>,
    ) -> Result<bool, Mismatch> {
        match self.evaluate(scope, value, around)? {
            Json::Bool(holds) => Ok(holds),
            other => Err(Mismatch::new(format!(
                "the condition `{}` gives {}, not a boolean",
                self.text,
                other.kind()
            ))),
        }
    }
}

/// Does work over one message, whose expressions share a limit.
pub(super) fn over_a_message<T>(work: impl FnOnce() -> T) -> T {
    cost::within(&OVER_A_MESSAGE, work)
}

/// Pays for a value that is made for an expression.
fn made(json: &Json) -> Result<(), ExecutionError> {
    cost::pay(weight(json) / VALUES_MADE)
}

fn weight(json: &Json) -> u64 {
    match json {
        Json::Array(items) => 1 + items.iter().map(weight).sum::<u64>(),
        Json::Object(members) => {
            let member = |(name, value): &(String, Json)| cost::text(name.len()) + weight(value);
            1 + members.iter().map(member).sum::<u64>()
        }
        Json::String(value) => 1 + cost::text(value.len()),
        Json::Undecoded(_) => weight(&json.clone().decoded()),
        Json::Null | Json::Bool(_) | Json::Integer(_) | Json::Number(_) => 1,
    }
}

/// The part of a message that a variable is made of.
fn variable_json<'j>(name: &str, scope: &'j Scope, value: Option<&'j Json>) -> Option<&'j Json> {
    match name {
        "value" => value,
        "this" | "body" => scope.body.as_ref(),
        _ => None,
    }
}

fn variable_value(
    name: &str,
    scope: &Scope,
    value: Option<&Json>,
    around: Surroundings<'_>,
) -> Option<Value> {
    let head = scope.head.as_ref();
    match name {
        "value" => value.map(to_cel),
        "name" => around.name.map(string),
        LOOKUP => around.lookup.map(|answers| answers.seen.clone()),
        "this" | "body" => Some(scope.body.as_ref().map_or(Value::Null, to_cel)),
        "method" => Some(string(around.method)),
        "status" => around.status.map(|status| Value::Int(i64::from(status))),
        "path" => head.map(|head| strings(head.parameters.iter().cloned())),
        "query" => head.map(|head| {
            let pairs = head.query.iter().flatten();
            strings(pairs.map(|pair| (pair.name.clone(), pair.value.clone())))
        }),
        "queries" => head.map(queries),
        "header" => head.map(|head| headers(&head.headers)),
        REQUEST => around.request.cloned(),
        _ => None,
    }
}

/// A caller's request as the variable `request` shows it in answers; `target` is its path and
/// query as they came.
pub(crate) fn request_value(scope: &Scope, method: &str, target: &str) -> Value {
    let around = Surroundings {
        method,
        ..Surroundings::default()
    };
    let member = |name: &str| {
        let value = variable_value(name, scope, None, around)?;
        Some((Key::String(Arc::new(name.to_owned())), value))
    };
    let members = ["method", "path", "query", "queries", "header", "body"]
        .into_iter()
        .filter_map(member)
        .chain([(Key::String(Arc::new("target".to_owned())), string(target))]);
    Value::Map(Map {
        map: Arc::new(members.collect()),
    })
}

/// An answer to a look-up call as expressions see it.
pub(crate) fn answer_value(status: u16, header: &http::HeaderMap, body: Option<&Json>) -> Value {
    let members = [
        ("status", Value::Int(i64::from(status))),
        ("header", headers(header)),
        ("body", body.map_or(Value::Null, to_cel)),
    ];
    object(members.into_iter().map(|(n, value)| (n.to_owned(), value)))
}

/// An object of some values.
pub(crate) fn object(members: impl Iterator<Item = (String, Value)>) -> Value {
    let members = members.map(|(name, value)| (Key::String(Arc::new(name)), value));
    Value::Map(Map {
        map: Arc::new(members.collect()),
    })
}

/// `at(value, "a.b")`: what is there, or null.
fn at<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let mut arguments = arguments.into_iter();
    let (Some(mut found), Some(path)) = (arguments.next(), arguments.next()) else {
        return Err(ExecutionError::function_error(
            "at",
            "takes a value and a path",
        ));
    };
    let path = path.downcast_ref::<CelString>();
    let path = path.map_or("", |path| path.inner()).to_owned();
    for step in path.split('.') {
        let inner = found
            .as_indexer()
            .and_then(|object| object.get(&CelString::from(step)).ok());
        found = match inner {
            Some(inner) => CowVal::Owned(inner.clone_as_boxed()),
            None => return Ok(CowVal::owned(CelNull)),
        };
    }
    Ok(found)
}

fn string(text: &str) -> Value {
    Value::String(Arc::new(text.to_owned()))
}

/// All values of each query parameter.
fn queries(head: &super::scope::Head) -> Value {
    let mut all: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for pair in head.query.iter().flatten() {
        all.entry(&pair.name).or_default().push(string(&pair.value));
    }
    object(
        all.into_iter()
            .map(|(name, values)| (name.to_owned(), Value::List(Arc::new(values)))),
    )
}

fn strings(members: impl Iterator<Item = (String, String)>) -> Value {
    let members =
        members.map(|(name, value)| (Key::String(Arc::new(name)), Value::String(Arc::new(value))));
    Value::Map(Map {
        map: Arc::new(members.collect()),
    })
}

fn headers(headers: &http::HeaderMap) -> Value {
    strings(headers.iter().filter_map(|(name, value)| {
        Some((
            name.as_str().to_owned(),
            std::str::from_utf8(value.as_bytes()).ok()?.to_owned(),
        ))
    }))
}

fn to_cel(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Integer(value) => Value::Int(*value),
        Json::Number(text) => match text.parse::<u64>() {
            Ok(value) => Value::UInt(value),
            Err(_) => Value::Float(text.parse().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::String(Arc::new(text.clone())),
        Json::Array(items) => Value::List(Arc::new(items.iter().map(to_cel).collect())),
        Json::Object(members) => {
            let members = members
                .iter()
                .map(|(name, value)| (Key::String(Arc::new(name.clone())), to_cel(value)));
            Value::Map(Map {
                map: Arc::new(members.collect::<HashMap<_, _>>()),
            })
        }
        Json::Undecoded(_) => to_cel(&json.clone().decoded()),
    }
}

fn from_cel(value: &Value) -> Option<Json> {
    Some(match value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Int(value) => Json::Integer(*value),
        Value::UInt(value) => Json::number(&value.to_string()),
        Value::Float(value) => Json::from_f64(*value)?,
        Value::String(text) => Json::String(text.to_string()),
        Value::Timestamp(time) => Json::String(time.to_rfc3339()),
        Value::List(items) => Json::Array(items.iter().map(from_cel).collect::<Option<_>>()?),
        Value::Map(map) => {
            let member = |(key, value): (&Key, &Value)| {
                let Key::String(name) = key else { return None };
                Some((name.to_string(), from_cel(value)?))
            };
            let mut members = map.map.iter().map(member).collect::<Option<Vec<_>>>()?;
            members.sort_by(|a, b| a.0.cmp(&b.0));
            Json::Object(members)
        }
        _ => return None,
    })
}
