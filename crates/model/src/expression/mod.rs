//! CEL expressions and `${...}` strings of upgrade files: compiled once when the file is proved, evaluated at a node.

mod claims;
mod constant;
pub mod cost;
mod depth;
mod gauges;
mod names;
mod scope;
mod template;

pub use depth::{EXPRESSION_DEPTH_MAX, TooDeep, check as check_depth};
pub use gauges::GaugeScope;
pub use names::{Allowed, EVENT_FIELDS};
pub use scope::{ExpressionScope, NodeScope, Variable};
pub use template::Template;

use cel::{Env, ExecutionError, IdedExpr, Value};
use cost::Limit;
use std::fmt;
use std::sync::{Arc, LazyLock};

/// The longest expression, in bytes: what people write is far shorter, and its parser is recursive.
pub const EXPRESSION_BYTES_MAX: usize = 2048;

/// What one expression of an upgrade file may cost, about half a millisecond: a server evaluates filters for each node.
static ONE: Limit = Limit {
    steps: 2_000,
    who: "it takes",
};

/// The standard functions, built once: building them takes longer than an evaluation.
static STANDARD: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    cost::add_tolls(&mut env);
    Arc::new(env)
});

/// A compiled CEL expression that knows which key of which file it came from.
#[derive(Clone)]
pub struct Expression {
    key: String,
    source: String,
    /// As it is written.
    written: Arc<IdedExpr>,
    /// With its tolls.
    metered: Arc<IdedExpr>,
}

/// Why an expression cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: `{expression}`: {problem}")]
pub struct ExpressionError {
    /// The key path of the expression (`class.storage.service.data.port`).
    pub key: String,
    /// The expression as it is written.
    pub expression: String,
    /// What is wrong with it.
    pub problem: String,
}

impl Expression {
    /// Compiles `source`, found at `key`; names other than those allowed are refused with the nearest allowed one.
    ///
    /// # Errors
    /// It is too long or too deep, is no expression, or names something that is not allowed.
    pub fn compile(key: &str, source: &str, allowed: &Allowed) -> Result<Self, ExpressionError> {
        let fail = |problem: String| ExpressionError {
            key: key.to_owned(),
            expression: source.to_owned(),
            problem,
        };
        if source.len() > EXPRESSION_BYTES_MAX {
            return Err(fail(format!("longer than {EXPRESSION_BYTES_MAX} bytes")));
        }
        if source.trim().is_empty() {
            return Err(fail("the expression is empty".to_owned()));
        }
        let program = STANDARD
            .compile(source)
            .map_err(|errors| fail(first_line(&errors)))?;
        depth::check(program.expression()).map_err(|error| fail(error.to_string()))?;
        names::check(program.expression(), allowed).map_err(fail)?;
        Ok(Self {
            key: key.to_owned(),
            source: source.to_owned(),
            written: Arc::new(program.expression().clone()),
            metered: Arc::new(cost::metered(program.expression())),
        })
    }

    /// Refuses what takes too long, or can only fail, whatever the node. Not asked of what was published before: it fails where it
    /// is evaluated.
    ///
    /// # Errors
    /// It takes too long, or can only fail.
    pub fn judge(&self) -> Result<(), ExpressionError> {
        constant::check(&self.written).map_err(|problem| self.error(problem))
    }

    /// Whether it gives the same at every node.
    pub(crate) fn is_constant(&self) -> bool {
        names::is_closed(&self.written)
    }

    /// The expression as it is written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The key path that it was found at.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The value at this node.
    pub(crate) fn value(&self, scope: &ExpressionScope) -> Result<Value, ExpressionError> {
        evaluated(&self.metered, Some(scope)).map_err(|error| self.error(plain(&error)))
    }

    /// The value as a truth; anything else is an error.
    ///
    /// # Errors
    /// It fails, or gives something else.
    pub fn truth(&self, scope: &ExpressionScope) -> Result<bool, ExpressionError> {
        match self.value(scope)? {
            Value::Bool(truth) => Ok(truth),
            other => Err(self.error(format!("gives {}, not true or false", other.type_of()))),
        }
    }

    /// The value as a port from 1 to 65535; anything else is an error.
    ///
    /// # Errors
    /// It fails, or gives something else.
    pub fn port(&self, scope: &ExpressionScope) -> Result<u16, ExpressionError> {
        let number = match self.value(scope)? {
            Value::Int(number) => u64::try_from(number).unwrap_or(0),
            Value::UInt(number) => number,
            other => {
                return Err(self.error(format!("gives {}, not a port number", other.type_of())));
            }
        };
        match u16::try_from(number) {
            Ok(port) if port > 0 => Ok(port),
            _ => Err(self.error(format!(
                "gives {number}, which is not a port from 1 to 65535"
            ))),
        }
    }

    /// The value as text: strings, numbers and truths have one; lists and maps do not.
    ///
    /// # Errors
    /// It fails, or gives a list, a map or another value without a text.
    pub fn text(&self, scope: &ExpressionScope) -> Result<String, ExpressionError> {
        match self.value(scope)? {
            Value::String(text) => Ok(text.to_string()),
            Value::Int(number) => Ok(number.to_string()),
            Value::UInt(number) => Ok(number.to_string()),
            Value::Float(number) => Ok(number.to_string()),
            Value::Bool(truth) => Ok(truth.to_string()),
            other => Err(self.error(format!("gives {}, which has no text", other.type_of()))),
        }
    }

    /// Every string literal of the expression and every attribute that it names: the values at which it can change.
    pub(crate) fn landmarks(&self) -> names::Landmarks {
        names::landmarks(&self.written)
    }

    fn error(&self, problem: String) -> ExpressionError {
        ExpressionError {
            key: self.key.clone(),
            expression: self.source.clone(),
            problem,
        }
    }
}

/// What an expression with its tolls gives, within what one may cost.
fn evaluated(metered: &IdedExpr, scope: Option<&ExpressionScope>) -> Result<Value, ExecutionError> {
    cost::within(&ONE, || {
        let mut context = cel::Context::with_env(Arc::clone(&STANDARD));
        if let Some(scope) = scope {
            scope.fill(&mut context);
        }
        cost::judged(Value::resolve(metered, &context))
    })
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expression({:?})", self.source)
    }
}

/// Two expressions are the same when they are written the same, wherever they are written.
impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

/// The parser's own words without its picture of the source, which our messages show themselves.
fn first_line(errors: &cel::ParseErrors) -> String {
    errors.errors.first().map_or_else(
        || "is not CEL".to_owned(),
        |error| {
            let (line, column) = error.pos;
            let message = error.msg.lines().next().unwrap_or_default();
            let message = message.split(" expecting ").next().unwrap_or_default();
            if error.msg.contains("Recursion limit") {
                return "its parentheses are nested too deeply".to_owned();
            }
            format!(
                "is not CEL: {} (at {line}:{column} of the expression)",
                message.trim_start_matches("Syntax error: ")
            )
        },
    )
}

/// An evaluation error in words that name what to do where we know it.
fn plain(error: &ExecutionError) -> String {
    match error {
        ExecutionError::NoSuchKey(name) => {
            format!("this node has no `{name}`; give it to the node, or ask with has(...) first")
        }
        ExecutionError::InternalError(problem) => problem.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
