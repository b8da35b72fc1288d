//! Explains what lenses do to one call.
//!
//! The call is really made: through the same steps as at a node, to a next step that answers as it is told, with everything
//! that passes between them written down (`conversation::Recording`). What stands here only reads that back: which
//! operation it was, and what each rule found before and left behind. So an explanation cannot differ from what runs,
//! and what runs knows nothing of explanations.

mod operations;
mod rules;
mod scopes;

use std::sync::Arc;

use serde::Serialize;

use super::Lens;
use super::operation::{Alternative, LensOperation};
use super::step::LensStep;
use call::{Direction, Refusal};
use conversation::{self, Conversation, Exchange, Headers, Reply, Request, Told};

pub use operations::Considered;
pub use rules::{Inside, Placed, RuleSeen};

/// What happens to a call.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// What the caller sends.
    pub caller_sends: Shown,
    /// What each lens does, the one nearest to the caller first; those that the call does not reach are left out.
    pub lenses: Vec<ExplainedStep>,
    /// What the caller gets; absent where nobody says what the next in the chain answers.
    pub caller_gets: Option<Shown>,
}

/// What one lens does to a call and its answer.
#[derive(Clone, Debug, Serialize)]
pub struct ExplainedStep {
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
    pub look_ups: Vec<(Shown, Shown)>,
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
    pub refused: Option<ExplainedRefusal>,
}

/// A refusal.
#[derive(Clone, Debug, Serialize)]
pub struct ExplainedRefusal {
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
    fn from(request: &Request) -> Self {
        Self {
            line: format!("{} {}", request.method, request.target),
            headers: request.headers.clone(),
            body: (!request.body.is_empty()).then(|| request.body.pretty()),
        }
    }
}

impl From<&Reply> for Shown {
    fn from(reply: &Reply) -> Self {
        Self {
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
    let directions = lenses.iter().map(|(_, direction)| *direction).collect();
    let chain = super::chain(lenses.to_vec());
    let (told, _) = conversation::through(&chain, directions, sends, &exchanges).await;
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

    /// The look-up calls, and the call itself if it was made.
    fn exchanges(&self, operation: Option<&LensOperation>) -> (&[Exchange], Option<&Exchange>) {
        let all = &self.conversation().exchanges;
        let lookups = operation.map_or(0, |operation| {
            scopes::lookups(self.step, operation, self.conversation()).len()
        });
        let (before, main) = all.split_at(lookups.min(all.len()));
        (before, main.first())
    }

    fn explain(&self) -> ExplainedStep {
        let (operations, matched) = self.operations();
        let operation = matched.map(|index| &self.step.lens.operations[index]);
        let (look_ups, main) = self.exchanges(operation);
        let answered = main
            .filter(|_| self.told.answered)
            .map(|main| &main.answers);
        let (responses, chosen) = match (operation, answered) {
            (Some(operation), Some(answered)) => self.responses(operation, answered),
            _ => (Vec::new(), None),
        };
        let alternative = operation
            .zip(chosen)
            .map(|(operation, index)| &operation.responses[index]);
        let sent = &self.conversation().sends;
        ExplainedStep {
            file: self.step.lens.file.clone(),
            direction: self.step.direction.name(),
            operations,
            passed: operation.is_none() && main.is_some(),
            request: operation.map_or_else(Vec::new, |operation| {
                let failed = self.refusal().filter(|_| main.is_none());
                let after = main.map(|main| &main.gets);
                rules::of_request(self.step, operation, self.conversation(), after, failed)
            }),
            look_ups: look_ups
                .iter()
                .map(|made| (Shown::from(&made.gets), Shown::from(&made.answers)))
                .collect(),
            next_gets: main.map(|main| Shown::from(&main.gets)),
            request_headers: operation
                .zip(main)
                .map_or_else(Vec::new, |(operation, main)| {
                    let rules = operation.request.rules();
                    rules::other_headers(&sent.headers, &main.gets.headers, rules)
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
            refused: self
                .refusal()
                .map(|refusal| refused(refusal, answered.is_some())),
        }
    }

    fn refusal(&self) -> Option<&Refusal> {
        self.told.refusal.as_deref()
    }

    fn answer_headers(
        &self,
        alternative: Option<&Alternative>,
        answered: Option<&Reply>,
    ) -> Vec<String> {
        match (alternative, answered, &self.conversation().gets.headers) {
            (Some(alternative), Some(answered), Some(headers)) if self.refusal().is_none() => {
                rules::other_headers(&answered.headers, headers, alternative.recipe.rules())
            }
            _ => Vec::new(),
        }
    }

    fn answer_rules(
        &self,
        operation: &LensOperation,
        alternative: &Alternative,
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

fn refused(refusal: &Refusal, of_answer: bool) -> ExplainedRefusal {
    ExplainedRefusal {
        kind: refusal.kind.name(),
        rule: refusal.rule.clone(),
        reason: refusal.reason.clone(),
        status: refusal.status().as_u16(),
        of_answer,
    }
}
