//! Expressions over the claims of a web token (RFC 7519): what its issuer says of somebody.

use super::{Expression, ExpressionError, ONE, STANDARD, cost, names::Allowed};
use cel::Value;
use std::collections::HashMap;
use std::sync::Arc;

impl Allowed {
    /// What an issuer says of somebody.
    pub const CLAIMS: Self = Self::of_roots(&["claims"]);
}

impl Expression {
    /// The text that it gives for these claims, which it sees as `claims`.
    ///
    /// # Errors
    /// It fails, or gives something else than a text.
    pub fn text_of_claims(&self, claims: &serde_json::Value) -> Result<String, ExpressionError> {
        let value = cost::within(&ONE, || {
            let mut context = cel::Context::with_env(Arc::clone(&STANDARD));
            context.add_variable_from_value("claims", value(claims));
            cost::judged(Value::resolve(&self.metered, &context))
        });
        match value {
            Ok(Value::String(text)) => Ok(text.to_string()),
            Ok(other) => Err(self.error(format!("gives {}, and no text", other.type_of()))),
            Err(cel::ExecutionError::NoSuchKey(name)) => Err(self.error(format!(
                "the token has no `{name}`; ask with has(...) first, or have the issuer say it"
            ))),
            Err(error) => Err(self.error(error.to_string())),
        }
    }
}

/// As expressions see it.
fn value(json: &serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match json {
        Json::Null => Value::Null,
        Json::Bool(truth) => Value::Bool(*truth),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => Value::Int(whole),
            None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => Value::from(items.iter().map(value).collect::<Vec<_>>()),
        Json::Object(fields) => {
            let fields = fields
                .iter()
                .map(|(name, field)| (name.clone(), value(field)));
            Value::from(fields.collect::<HashMap<String, Value>>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn said(source: &str) -> Result<String, String> {
        let compiled = Expression::compile("role", source, &Allowed::CLAIMS);
        let expression = compiled.map_err(|error| error.to_string())?;
        let claims = json!({"sub": "ann", "groups": ["ops", "all"], "realm": {"roles": ["admin"]}, "age": 42});
        let text = expression.text_of_claims(&claims);
        text.map_err(|error| error.to_string())
    }

    #[test]
    fn claims_give_texts() {
        assert_eq!(said("claims.sub"), Ok("ann".to_owned()));
        let role = "'ops' in claims.groups ? 'operator' : 'viewer'";
        assert_eq!(said(role), Ok("operator".to_owned()));
        let nested = "has(claims.realm) && 'admin' in claims.realm.roles ? 'admin' : ''";
        assert_eq!(said(nested), Ok("admin".to_owned()));
    }

    #[test]
    fn what_gives_no_text_says_why() {
        for (source, why) in [
            ("claims.age", "no text"),
            ("claims.email", "the token has no `email`"),
            ("user.name", "claims"),
            ("claims.sub +", "is not CEL"),
        ] {
            let refused = said(source).expect_err(source);
            assert!(refused.contains(why), "{refused}");
        }
    }
}
