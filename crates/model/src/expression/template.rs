//! Strings with `${...}`: each holds a CEL expression. `$${` is a plain `${`.

use super::{Allowed, Expression, ExpressionError, ExpressionScope, ONE, cost};

/// A string of an upgrade file whose `${...}` parts are compiled.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    source: String,
    parts: Vec<TemplatePart>,
}

#[derive(Clone, Debug, PartialEq)]
enum TemplatePart {
    Text(String),
    Expression(Expression),
}

impl Template {
    /// Compiles `source`, found at `key`.
    ///
    /// # Errors
    /// A `${` is not closed, or the expression in it does not compile.
    pub fn compile(key: &str, source: &str, allowed: &Allowed) -> Result<Self, ExpressionError> {
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut rest = source;
        while let Some(at) = rest.find('$') {
            text.push_str(&rest[..at]);
            rest = &rest[at..];
            if let Some(after) = rest.strip_prefix("$${") {
                text.push_str("${");
                rest = after;
            } else if let Some(after) = rest.strip_prefix("${") {
                let end = closing_brace(after).ok_or_else(|| ExpressionError {
                    key: key.to_owned(),
                    expression: source.to_owned(),
                    problem: "a `${` is never closed by `}` (a plain `${` is written `$${`)"
                        .to_owned(),
                })?;
                if !text.is_empty() {
                    parts.push(TemplatePart::Text(std::mem::take(&mut text)));
                }
                parts.push(TemplatePart::Expression(Expression::compile(
                    key,
                    &after[..end],
                    allowed,
                )?));
                rest = &after[end + 1..];
            } else {
                text.push('$');
                rest = &rest[1..];
            }
        }
        text.push_str(rest);
        if !text.is_empty() {
            parts.push(TemplatePart::Text(text));
        }
        Ok(Self {
            source: source.to_owned(),
            parts,
        })
    }

    /// The empty string.
    pub fn empty() -> Self {
        Self {
            source: String::new(),
            parts: Vec::new(),
        }
    }

    /// The string as it is written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The text, when there is no expression in it.
    pub fn constant(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [TemplatePart::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The same as for each of its expressions.
    pub(crate) fn judge(&self) -> Result<(), ExpressionError> {
        self.parts.iter().try_for_each(|part| match part {
            TemplatePart::Text(_) => Ok(()),
            TemplatePart::Expression(expression) => expression.judge(),
        })
    }

    /// The string at this node; its expressions share what one may cost.
    ///
    /// # Errors
    /// An expression fails at this node, or they take too many steps.
    pub fn render(&self, scope: &ExpressionScope) -> Result<String, ExpressionError> {
        cost::within(&ONE, || self.rendered(scope))
    }

    fn rendered(&self, scope: &ExpressionScope) -> Result<String, ExpressionError> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                TemplatePart::Text(plain) => text.push_str(plain),
                TemplatePart::Expression(expression) => text.push_str(&expression.text(scope)?),
            }
        }
        Ok(text)
    }
}

/// Where the brace is that ends an expression, minding CEL's maps and strings.
fn closing_brace(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    let mut quote = None;
    let mut escaped = false;
    for (at, letter) in text.char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if letter == '\\' => escaped = true,
            Some(mark) if letter == mark => quote = None,
            Some(_) => {}
            None => match letter {
                '"' | '\'' => quote = Some(letter),
                '{' => depth += 1,
                '}' if depth == 0 => return Some(at),
                '}' => depth -= 1,
                _ => {}
            },
        }
    }
    None
}
