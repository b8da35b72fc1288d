//! Expressions over what is counted and measured of a class on its way to a version.

use super::{Expression, ExpressionError, ONE, STANDARD, cost, names::Allowed, plain};
use cel::{ExecutionError, Value};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

impl Allowed {
    /// What is counted and measured of a class.
    pub const GAUGES: Self = Self::of_roots(&[
        "behind",
        "blocked",
        "calls",
        "crashed",
        "metrics",
        "refused",
        "settled",
        "unreachable",
    ]);
}

/// What an expression sees of a class on its way to a version. What is not known is left out: an expression that needs it gives nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GaugeScope {
    /// Nodes, and calls within the last minute, by their words in expressions.
    pub counts: BTreeMap<&'static str, f64>,
    /// `metrics`: by name, what is measured at some of its nodes (`new`, `old`).
    pub metrics: BTreeMap<String, BTreeMap<&'static str, f64>>,
}

impl Expression {
    /// Whether it holds; none where it needs what is not known.
    ///
    /// # Errors
    /// It fails, or gives something else than a truth.
    pub fn truth_of_gauges(&self, scope: &GaugeScope) -> Result<Option<bool>, ExpressionError> {
        let value = cost::within(&ONE, || {
            let mut context = cel::Context::with_env(Arc::clone(&STANDARD));
            for (word, count) in &scope.counts {
                context.add_variable_from_value(*word, Value::Float(*count));
            }
            let metrics = scope.metrics.iter().map(|(name, values)| {
                let values = values.iter();
                let values = values.map(|(side, number)| ((*side).to_owned(), (*number).into()));
                let values: HashMap<String, Value> = values.collect();
                (name.clone(), Value::from(values))
            });
            let metrics: HashMap<String, Value> = metrics.collect();
            context.add_variable_from_value("metrics", metrics);
            cost::judged(Value::resolve(&self.metered, &context))
        });
        match value {
            Ok(Value::Bool(truth)) => Ok(Some(truth)),
            Ok(other) => Err(self.error(format!("gives {}, not true or false", other.type_of()))),
            Err(ExecutionError::NoSuchKey(_) | ExecutionError::UndeclaredReference(_)) => Ok(None),
            Err(error) => {
                let problem = plain(&error);
                let mixes = problem.contains("binary operator");
                let help = if mixes {
                    "; every number here is one with a point: write 2.0, not 2, where you calculate with it"
                } else {
                    ""
                };
                Err(self.error(format!("{problem}{help}")))
            }
        }
    }

    /// Whether it names this word.
    pub fn names(&self, word: &str) -> bool {
        let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let bytes = self.source.as_bytes();
        self.source.match_indices(word).any(|(at, _)| {
            let before = at.checked_sub(1).map(|at| bytes[at]);
            let after = bytes.get(at + word.len()).copied();
            !before.is_some_and(is_of_name) && !after.is_some_and(is_of_name)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> GaugeScope {
        GaugeScope {
            counts: [
                ("blocked", 0.0),
                ("crashed", 3.0),
                ("calls", 100.0),
                ("refused", 2.0),
            ]
            .into(),
            metrics: [("errors".to_owned(), [("new", 0.4), ("old", 0.1)].into())].into(),
        }
    }

    fn found(source: &str, scope: &GaugeScope) -> Result<Option<bool>, String> {
        let compiled = Expression::compile("go_if", source, &Allowed::GAUGES);
        let expression = compiled.map_err(|error| error.to_string())?;
        let truth = expression.truth_of_gauges(scope);
        truth.map_err(|error| error.to_string())
    }

    #[test]
    fn counts_calls_and_metrics_are_compared() {
        for (source, holds) in [
            ("blocked == 0", true),
            ("crashed > 3", false),
            ("crashed > 0.5 * calls", false),
            ("crashed + blocked == 3", true),
            ("refused / calls < 0.01", false),
            ("refused > 1", true),
            ("metrics.errors.new > 2.0 * metrics.errors.old", true),
            ("metrics.errors.new <= 1", true),
            ("metrics.errors.new == 1 || blocked == 0", true),
        ] {
            assert_eq!(found(source, &scope()), Ok(Some(holds)), "{source}");
        }
    }

    #[test]
    fn what_is_not_known_gives_nothing_unless_the_rest_decides() {
        let nothing = GaugeScope {
            counts: [("blocked", 0.0), ("crashed", 3.0)].into(),
            ..GaugeScope::default()
        };
        for (source, gives) in [
            ("metrics.errors.new > 0.1", None),
            ("refused > 1", None),
            ("crashed > 2 || metrics.errors.new > 0.1", Some(true)),
            ("metrics.errors.new > 0.1 || crashed > 2", Some(true)),
            ("crashed > 3 || metrics.errors.new > 0.1", None),
            ("blocked > 0 && metrics.errors.new > 0.1", Some(false)),
            ("metrics.errors.new > 0.1 && blocked > 0", Some(false)),
            ("!(metrics.errors.new > 0.1)", None),
        ] {
            assert_eq!(found(source, &nothing), Ok(gives), "{source}");
        }
    }

    #[test]
    fn what_can_give_no_truth_is_an_error() {
        for (source, why) in [
            ("crashed", "not true or false"),
            ("crash > 1", "crash"),
            ("blocked + 'a' == 'a'", "blocked"),
            ("2 * crashed > 1", "write 2.0, not 2"),
        ] {
            let refused = found(source, &scope()).expect_err(source);
            assert!(refused.contains(why), "{refused}");
        }
    }

    #[test]
    fn words_are_whole() {
        let compiled = Expression::compile("go_if", "metrics.errors_5m.new > 1", &Allowed::GAUGES);
        let expression = compiled.expect("compiled");
        assert!(expression.names("errors_5m") && expression.names("metrics"));
        assert!(!expression.names("errors") && !expression.names("ew"));
    }
}
