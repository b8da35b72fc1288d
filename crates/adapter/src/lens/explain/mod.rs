//! Explains what lenses do to one call.
//!
//! The call is really made: through the same steps as at a node, to a next step that answers as it is told, with everything
//! that passes between them written down (`conversation::Recording`). What stands here only reads that back: which
//! operation it was, and what each rule found before and left behind. So an explanation cannot differ from what runs,
//! and what runs knows nothing of explanations.

mod operations;
mod rules;

use std::sync::Arc;

use serde::Serialize;

use super::Lens;
use super::operation::Operation;
use super::step::LensStep;
use crate::chain::Direction;
use crate::conversation::{self, Conversation, Exchange, Headers, Reply, Request, Told};
use crate::observer::Refusal;

pub use operations::Considered;
pub use rules::{Inside, Placed, RuleSeen};

/// What happens to a call.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// What the caller sends.
    pub caller_sends: Shown,
    /// What each lens does, the one nearest to the caller first; those that the call does not reach are left out.
    pub lenses: Vec<Step>,
    /// What the caller gets; absent where nobody says what the next in the chain answers.
    pub caller_gets: Option<Shown>,
}

/// What one lens does to a call and its answer.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// The lens' file.
    pub file: String,
    /// Past or future.
    pub direction: &'static str,
    /// The operations, in the order in which they are looked at; the one that matched is the last.
    pub operations: Vec<Considered>,
    /// What no operation matches passes unchanged.
    pub passed: bool,
    /// What the rules of the request did.
    pub request: Vec<RuleSeen>,
    /// Every call to the next in the chain before the call itself, and its answer.
    pub look_ups: Vec<(Shown, Option<Shown>)>,
    /// The call as the next in the chain gets it.
    pub next_gets: Option<Shown>,
    /// What the lens changed besides, in headers that describe the message.
    pub request_headers: Vec<String>,
    /// What the next in the chain answered.
    pub next_answers: Option<Shown>,
    /// The responses of the operation, in the order in which they are looked at; the one that is used is the last.
    pub responses: Vec<Considered>,
    /// What the rules of the answer did.
    pub answer: Vec<RuleSeen>,
    /// What the lens changed besides, in headers of the answer.
    pub answer_headers: Vec<String>,
    /// The answer as the caller's side gets it.
    pub answers: Option<Shown>,
    /// The lens' refusal.
    pub refused: Option<Refused>,
}

/// A refusal.
#[derive(Clone, Debug, Serialize)]
pub struct Refused {
    /// Which kind, as counters call it.
    pub kind: &'static str,
    /// Operation and rule, as counters call them.
    pub rule: String,
    /// Why.
    pub reason: String,
    /// The answer's status.
    pub status: u16,
    /// The answer rather than the request was refused.
    pub of_answer: bool,
}

/// A message as people read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// Method and target, or the status.
    pub line: String,
    /// The headers.
    pub headers: Headers,
    /// The body, JSON laid out; absent where there is none.
    pub body: Option<String>,
}

impl From<&Request> for Shown {
    fn from(request: &Request) -> Shown {
        Shown {
            line: format!("{} {}", request.method, request.target),
            headers: request.headers.clone(),
            body: (!request.body.is_empty()).then(|| request.body.pretty()),
        }
    }
}

impl From<&Reply> for Shown {
    fn from(reply: &Reply) -> Shown {
        Shown {
            line: reply.status.to_string(),
            headers: reply.headers.clone(),
            body: (!reply.body.is_empty()).then(|| reply.body.pretty()),
        }
    }
}

/// Explains a call through lenses, the one nearest to the caller first. `answers` are what the software answers, in order:
/// to look-ups first, then to the call itself.
pub async fn explain(
    lenses: &[(Arc<Lens>, Direction)],
    sends: &Request,
    answers: &[Reply],
) -> Explanation {
    let exchanges: Vec<Exchange> = answers
        .iter()
        .map(|answers| Exchange {
            gets: Request::default(),
            answers: answers.clone(),
        })
        .collect();
    let (told, _) = conversation::run(lenses, sends, &exchanges).await;
    let mut steps = Vec::new();
    for (index, (lens, direction)) in lenses.iter().enumerate() {
        // A call with look-ups passes further lenses several times: the last time is the call itself.
        let Some(told) = told.iter().rfind(|told| told.step == index) else {
            break;
        };
        let step = LensStep {
            lens: lens.clone(),
            direction: *direction,
        };
        steps.push(Explainer { step: &step, told }.explain());
    }
    Explanation {
        caller_sends: sends.into(),
        caller_gets: told.first().and_then(|told| ending(&told.conversation)),
        lenses: steps,
    }
}

fn ending(conversation: &Conversation) -> Option<Shown> {
    let gets = &conversation.gets;
    Some(Shown::from(&Reply {
        status: gets.status?,
        headers: gets.headers.clone().unwrap_or_default(),
        body: gets.body.clone().unwrap_or_default(),
    }))
}

/// One lens and what it was seen to do.
struct Explainer<'a> {
    step: &'a LensStep,
    told: &'a Told,
}

impl Explainer<'_> {
    fn conversation(&self) -> &Conversation {
        &self.told.conversation
    }

    /// The call itself, behind its look-ups, if it was made.
    fn main(&self) -> Option<&Exchange> {
        let refused = self
            .refusal()
            .is_some_and(|refusal| !of_answer(refusal, self.told));
        self.conversation().exchanges.last().filter(|_| !refused)
    }

    fn refusal(&self) -> Option<&Refusal> {
        self.told.refusal.as_deref()
    }

    fn explain(&self) -> Step {
        let (operations, matched) = self.operations();
        let operation = matched.map(|index| &self.step.lens.operations[index]);
        let (main, answered) = (self.main(), self.answered());
        let (responses, chosen) = match (operation, answered) {
            (Some(operation), Some(answered)) => self.responses(operation, answered),
            _ => (Vec::new(), None),
        };
        let alternative = operation
            .zip(chosen)
            .map(|(operation, index)| &operation.responses[index]);
        let look_ups = match (&self.conversation().exchanges[..], main) {
            ([before @ .., _], Some(_)) => before,
            (all, _) => all,
        };
        Step {
            file: self.step.lens.file.clone(),
            direction: self.step.direction.name(),
            operations,
            passed: operation.is_none() && main.is_some(),
            request: operation.map_or_else(Vec::new, |operation| self.request_rules(operation)),
            look_ups: look_ups
                .iter()
                .map(|e| (Shown::from(&e.gets), Some(Shown::from(&e.answers))))
                .collect(),
            next_gets: main.map(|main| Shown::from(&main.gets)),
            request_headers: operation
                .zip(main)
                .map_or_else(Vec::new, |(operation, main)| {
                    let rules = operation.request.rules();
                    rules::other_headers(
                        &self.conversation().sends.headers,
                        &main.gets.headers,
                        rules,
                    )
                }),
            next_answers: answered.map(Shown::from),
            responses,
            answer: match (operation, alternative, answered) {
                (Some(operation), Some(alternative), Some(answered)) => {
                    self.answer_rules(operation, alternative, answered)
                }
                _ => Vec::new(),
            },
            answer_headers: self.answer_headers(alternative, answered),
            answers: answered.and_then(|_| ending(self.conversation())),
            refused: self.refusal().map(|refusal| refused(refusal, self.told)),
        }
    }

    fn answer_headers(
        &self,
        alternative: Option<&super::operation::Alternative>,
        answered: Option<&Reply>,
    ) -> Vec<String> {
        match (alternative, answered, &self.conversation().gets.headers) {
            (Some(alternative), Some(answered), Some(headers)) if self.refusal().is_none() => {
                rules::other_headers(&answered.headers, headers, alternative.recipe.rules())
            }
            _ => Vec::new(),
        }
    }

    /// What the next in the chain answered to the call itself, if it did.
    fn answered(&self) -> Option<&Reply> {
        let main = self.main()?;
        (self.told.answered).then_some(&main.answers)
    }

    fn request_rules(&self, operation: &Operation) -> Vec<RuleSeen> {
        let failed = self
            .refusal()
            .filter(|refusal| !of_answer(refusal, self.told));
        let after = self.main().map(|main| &main.gets);
        rules::of_request(
            self.step,
            operation,
            &self.conversation().sends,
            after,
            failed,
        )
    }

    fn answer_rules(
        &self,
        operation: &Operation,
        alternative: &super::operation::Alternative,
        answered: &Reply,
    ) -> Vec<RuleSeen> {
        rules::of_answer(
            self.step,
            operation,
            alternative,
            self.conversation(),
            answered,
            self.refusal(),
        )
    }
}

/// Whether it was the answer that was refused.
fn of_answer(refusal: &Refusal, told: &Told) -> bool {
    use crate::observer::RefusalKind::{Declared, Response};
    match refusal.kind {
        Response => true,
        Declared => told.answered,
        _ => false,
    }
}

fn refused(refusal: &Refusal, told: &Told) -> Refused {
    Refused {
        kind: refusal.kind.name(),
        rule: refusal.rule.clone(),
        reason: refusal.reason.clone(),
        status: refusal.status.as_u16(),
        of_answer: of_answer(refusal, told),
    }
}
