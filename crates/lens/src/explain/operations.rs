//! Which operation a call is, which response an answer is, and why not the others.

use http::Method;
use serde::Serialize;

use super::Explainer;
use super::scopes;
use crate::operation::{Alternative, LensOperation, Statuses, is_head_of_get};
use conversation::{Reply, Request};
use declaration::expression::ExpressionContext;
use declaration::template::CallTemplate;

/// An operation or a response that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Considered {
    /// Its line in the lens file.
    pub line: usize,
    /// Its name: for operations the first template, for responses the status.
    pub name: String,
    /// Why it is not the one; absent for the one that is.
    pub why_not: Option<String>,
    /// It is near enough to be worth a word: the path is the same, or only a condition does not hold.
    pub is_near: bool,
}

/// How near a call is to an operation.
enum Fit {
    Is,
    Near(String),
    Far(String),
}

impl Explainer<'_> {
    /// The operations in their order up to the one that matches, and which that is.
    pub(super) fn operations(&self) -> (Vec<Considered>, Option<usize>) {
        let mut considered = Vec::new();
        let side = self.step.caller();
        for &index in &self.step.lens.routes[side as usize] {
            let operation = &self.step.lens.operations[index];
            let Some(template) = &operation.templates[side as usize] else {
                continue;
            };
            let fit = self.fit(operation, template);
            let is = matches!(fit, Fit::Is);
            let is_near = !matches!(fit, Fit::Far(_));
            considered.push(Considered {
                line: operation.origin.line,
                name: operation.name.clone(),
                why_not: match fit {
                    Fit::Is => None,
                    Fit::Near(why) | Fit::Far(why) => Some(why),
                },
                is_near,
            });
            if is {
                return (considered, Some(index));
            }
        }
        (considered, None)
    }

    fn fit(&self, operation: &LensOperation, template: &CallTemplate) -> Fit {
        let sends = &self.conversation().sends;
        let path = path(sends);
        if !template.of_any_method().matches(&sends.method, &path) {
            return Fit::Far(format!(
                "its path is another one: {}",
                shown(operation, self.step.caller() as usize)
            ));
        }
        let is_head =
            is_head_of_get(&sends.method, operation) && template.matches(&Method::GET, &path);
        if !is_head && !template.matches(&sends.method, &path) {
            let method = template.method.as_ref().map_or("*", Method::as_str);
            return Fit::Near(format!("its method is {method}"));
        }
        let Some(when) = &operation.when[self.step.caller() as usize] else {
            return Fit::Is;
        };
        let is_text = operation.text[self.step.caller() as usize];
        let scope = scopes::request_scope(Some(template), sends, is_text);
        let around = ExpressionContext {
            method: sends.method.as_str(),
            ..ExpressionContext::default()
        };
        match when.holds(&scope, around) {
            Ok(true) => Fit::Is,
            Ok(false) => Fit::Near(format!("its condition does not hold: {}", when.text())),
            Err(mismatch) => Fit::Near(format!("its condition fails: {}", mismatch.what)),
        }
    }

    /// The responses in their order up to the one that is used, and which that is.
    pub(super) fn responses(
        &self,
        operation: &LensOperation,
        answered: &Reply,
    ) -> (Vec<Considered>, Option<usize>) {
        let mut considered = Vec::new();
        for (index, alternative) in operation.responses.iter().enumerate() {
            let why_not = self.unfit(operation, alternative, answered);
            let is = why_not.is_none();
            considered.push(Considered {
                line: alternative.origin.line,
                name: statuses(alternative),
                why_not,
                is_near: true,
            });
            if is {
                return (considered, Some(index));
            }
        }
        (considered, None)
    }

    fn unfit(
        &self,
        operation: &LensOperation,
        alternative: &Alternative,
        answered: &Reply,
    ) -> Option<String> {
        let side = self.step.caller().other();
        if !alternative.matches(self.step.direction, answered.status) {
            return Some(match alternative.only {
                Some(only) if only != self.step.direction => {
                    format!("it is only for the {} adapter", only.name())
                }
                _ => format!(
                    "its status is {}",
                    written(alternative.status[side as usize])
                ),
            });
        }
        let when = alternative.when[side as usize].as_ref()?;
        let is_text = alternative.text[side as usize];
        let scope = scopes::answer_scope(&answered.headers, &answered.body, is_text);
        let caller = scopes::ExplainedCaller::of(self.step, operation, self.conversation());
        match when.holds(&scope, caller.around(answered.status)) {
            Ok(true) => None,
            Ok(false) => Some(format!("its condition does not hold: {}", when.text())),
            Err(mismatch) => Some(format!("its condition fails: {}", mismatch.what)),
        }
    }
}

/// The segments of a request's path.
pub(super) fn path(request: &Request) -> Vec<&str> {
    let path = request.target.split('?').next().unwrap_or_default();
    path.strip_prefix('/').unwrap_or(path).split('/').collect()
}

fn shown(operation: &LensOperation, side: usize) -> String {
    let template = operation.templates[side].as_ref();
    template.map(CallTemplate::to_string).unwrap_or_default()
}

fn statuses(alternative: &Alternative) -> String {
    let [old, new] = alternative.status.map(written);
    if old == new {
        old
    } else {
        format!("{old} at the old version, {new} at the new one")
    }
}

fn written(statuses: Statuses) -> String {
    match statuses {
        Statuses::Code(code) => code.to_string(),
        Statuses::Class(class) => format!("{class}xx"),
        Statuses::Any => "any".to_owned(),
    }
}
