//! CEL expressions: conditions and computed values.

use std::collections::BTreeSet;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};

use cel::common::types::{CelNull, CelString, DYN_TYPE, STRING_TYPE};
use cel::common::value::CowVal;
use cel::objects::{Key, Map};
use cel::{Context, Env, ExecutionError, IdedExpr, Value, extensions};
use model::expression::cost::{self, Limit};
use model::expression::{EXPRESSION_BYTES_MAX, check_depth};

use crate::error::{Complaint, Mismatch};
use crate::lookup::LookupAnswers;
use crate::scope::Scope;
use crate::types;
use crate::value::{from_cel, headers, queries, string, strings, to_cel};
use crate::variables;
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
pub const VARIABLES: [&str; 10] = [
    "value", "name", "this", "method", "path", "query", "queries", "header", "body", "status",
];
/// The answers to the look-up calls of an operation, by their names.
pub const LOOKUP: &str = "lookup";
/// The caller's request, in answers.
pub const REQUEST: &str = "request";

/// A compiled expression.
pub struct MeteredExpression {
    text: String,
    /// With its tolls.
    program: IdedExpr,
    variables: Vec<String>,
    /// The members of the caller's request that it uses; none where it may use all of them.
    of_request: Option<BTreeSet<String>>,
}

impl fmt::Debug for MeteredExpression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expression({})", self.text)
    }
}

/// What an expression sees of a message beside its scope.
#[derive(Clone, Copy, Default)]
pub struct ExpressionContext<'c> {
    /// The method of the request.
    pub method: &'c str,
    /// The status, in answers.
    pub status: Option<u16>,
    /// The caller's request, prepared by [`request_value`].
    pub request: Option<&'c Value>,
    /// Values that answers echo from the caller's request.
    pub echoes: &'c [Option<Json>],
    /// The answers to look-up calls.
    pub lookup: Option<&'c LookupAnswers>,
    /// What stands in the hole of the name that a pattern was found for.
    pub name: Option<&'c str>,
}

impl MeteredExpression {
    /// Compiles.
    ///
    /// # Errors
    /// It is no CEL, too long, too deep, or can only fail.
    pub fn compile(text: &str) -> Result<Self, Complaint> {
        Self::read(text).map_err(Complaint::from)
    }

    fn read(text: &str) -> Result<Self, String> {
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
        Ok(Self {
            text: text.to_owned(),
            program: cost::metered(program.expression()),
            variables,
            of_request,
        })
    }

    /// The expression as it is written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it uses a variable, or this member of the caller's request (`request.body`).
    pub fn uses(&self, variable: &str) -> bool {
        match variable.split_once('.') {
            Some((REQUEST, member)) => {
                self.uses(REQUEST)
                    && (self.of_request.as_ref()).is_none_or(|used| used.contains(member))
            }
            _ => self.variables.iter().any(|v| v == variable),
        }
    }

    /// The variables that it uses.
    pub fn variables(&self) -> &[String] {
        &self.variables
    }

    /// Evaluates over a message; `value` is the one a rule has at hand.
    ///
    /// # Errors
    /// It fails over this message, costs too much, or gives what JSON cannot hold.
    pub fn evaluate(
        &self,
        scope: &Scope,
        value: Option<&Json>,
        around: ExpressionContext<'_>,
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
    ///
    /// # Errors
    /// It fails, or gives no boolean.
    pub fn holds(&self, scope: &Scope, around: ExpressionContext<'_>) -> Result<bool, Mismatch> {
        self.holds_for(scope, None, around)
    }

    /// Evaluates a condition over the value that a rule has at hand.
    ///
    /// # Errors
    /// It fails, or gives no boolean.
    pub fn holds_for(
        &self,
        scope: &Scope,
        value: Option<&Json>,
        around: ExpressionContext<'_>,
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
pub fn over_a_message<T>(work: impl FnOnce() -> T) -> T {
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
    around: ExpressionContext<'_>,
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
pub fn request_value(scope: &Scope, method: &str, target: &str) -> Value {
    let around = ExpressionContext {
        method,
        ..ExpressionContext::default()
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
