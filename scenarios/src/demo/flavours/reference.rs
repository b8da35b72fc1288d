//! What a number must look like to callers of either version, whatever happened to it before: the model that answers are held against.

use super::caller::Reply;
use color_flavor_adapter::form::{Form, Operation};
use model::bundle::Dispatch;
use serde_json::json;

/// Where a node stands, as far as a caller can know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// At the version of this form.
    At(Form),
    /// It upgrades, or may do so at any moment.
    Unsure,
}

impl Standing {
    /// Callers of this form may reach the software itself.
    fn may_be(self, form: Form) -> bool {
        self == Self::Unsure || self == Self::At(form)
    }
}

/// What is known of a number that only one caller changes.
#[derive(Clone, Debug)]
pub(super) struct Number {
    dispatch: Dispatch,
    /// Its words, for each version, if it is in the set.
    words: Option<[String; 2]>,
    /// The adapter of this version's callers may remember a word.
    remembered: [bool; 2],
    /// The software's own callers have changed it since, unseen by that adapter: it may have to refuse.
    unseen: [bool; 2],
}

/// How an answer is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// As it must be.
    Right,
    /// Refused, and that is demanded: the adapter cannot know the answer.
    Refused,
    /// Something else; in words.
    Wrong(String),
}

fn index(form: Form) -> usize {
    match form {
        Form::Colours => 0,
        Form::Flavours => 1,
    }
}

fn names(form: Form) -> (&'static str, &'static str, &'static str) {
    match form {
        Form::Colours => ("number", "colour", "error"),
        Form::Flavours => ("item", "flavour", "problem"),
    }
}

impl Number {
    /// One that nobody has put in.
    pub(super) fn new(dispatch: Dispatch) -> Self {
        Self {
            dispatch,
            words: None,
            remembered: [false; 2],
            unseen: [false; 2],
        }
    }

    /// Whether it is in the set.
    pub(super) fn is_there(&self) -> bool {
        self.words.is_some()
    }

    /// It has been taken out by somebody of whom nothing else is known.
    pub(super) fn gone(&mut self) {
        *self = Self {
            dispatch: self.dispatch,
            words: None,
            remembered: [true; 2],
            unseen: [true; 2],
        };
    }

    /// The node has upgraded: its transform saw everything, and what was uncertain to callers of flavours is so no more.
    pub(super) fn upgraded(&mut self) {
        self.unseen[index(Form::Flavours)] = false;
    }

    /// Judges the answer to an operation on this number, and follows it.
    pub(super) fn follow(
        &mut self,
        form: Form,
        standing: Standing,
        operation: &Operation,
        reply: &Reply,
    ) -> Judgement {
        if self.may_refuse(form, standing, operation) && is_refusal(form, reply) {
            return Judgement::Refused;
        }
        let expected = self.expected(form, operation);
        if *reply != expected {
            return Judgement::Wrong(format!(
                "{operation:?} of a caller of {form:?} at a node {standing:?} was answered with {reply:?}, not {expected:?}"
            ));
        }
        if (200..300).contains(&reply.status) {
            self.change(form, standing, operation);
        }
        Judgement::Right
    }

    /// Only reading may be refused, only across versions, and only what was changed unseen.
    fn may_refuse(&self, form: Form, standing: Standing, operation: &Operation) -> bool {
        matches!(operation, Operation::Get(_))
            && self.is_there()
            && standing.may_be(form.other())
            && self.unseen[index(form)]
    }

    fn expected(&self, form: Form, operation: &Operation) -> Reply {
        let (number_name, word_name, error) = names(form);
        let failed = |status, what: &str| Reply {
            status,
            body: json!({ error: what }),
        };
        let shown = |status, number: i64, word: &str| Reply {
            status,
            body: json!({ number_name: number, word_name: word }),
        };
        match (operation, &self.words) {
            (Operation::Insert(..), Some(_)) => failed(409, "in the set"),
            (Operation::Insert(number, word), None) => shown(201, *number, word),
            (_, None) => failed(404, "not in the set"),
            (Operation::Get(number), Some(words)) => shown(200, *number, &words[index(form)]),
            (Operation::Set(number, word), Some(_)) => shown(200, *number, word),
            _ => Reply {
                status: 204,
                body: serde_json::Value::Null,
            },
        }
    }

    fn change(&mut self, form: Form, standing: Standing, operation: &Operation) {
        let (own, other) = (index(form), index(form.other()));
        match operation {
            Operation::Insert(_, word) => {
                let mut words = [word.clone(), word.clone()];
                form.other().default_word().clone_into(&mut words[other]);
                self.words = Some(words);
                self.touched(own, other, form, standing);
                self.remembered[own] = word != form.default_word();
            }
            Operation::Set(_, word) => {
                if let Some(words) = &mut self.words {
                    words[own].clone_from(word);
                }
                self.touched(own, other, form, standing);
                self.remembered[own] = word != form.default_word();
            }
            Operation::Delete(_) => {
                self.words = None;
                self.touched(own, other, form, standing);
                self.remembered[own] = false;
            }
            Operation::Get(_) | Operation::List | Operation::Health => {}
        }
    }

    fn touched(&mut self, own: usize, other: usize, form: Form, standing: Standing) {
        self.unseen[own] = false;
        // At the software's own version nobody tells the other one's adapter where dispatch is direct.
        let may_be_unseen = self.dispatch == Dispatch::Direct && standing.may_be(form);
        if may_be_unseen && self.remembered[other] {
            self.unseen[other] = true;
        }
    }
}

/// A refusal in the words of the caller's version.
fn is_refusal(form: Form, reply: &Reply) -> bool {
    let (_, _, error) = names(form);
    let fields = reply.body.as_object();
    reply.status == 422
        && fields.is_some_and(|fields| fields.len() == 1 && fields[error].is_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: Standing = Standing::At(Form::Flavours);
    const OLD: Standing = Standing::At(Form::Colours);

    fn reply(status: u16, body: serde_json::Value) -> Reply {
        Reply { status, body }
    }

    fn insert(number: &mut Number, form: Form, standing: Standing, word: &str) {
        let operation = Operation::Insert(7, word.to_owned());
        let answer = number.expected(form, &operation);
        assert_eq!(answer.status, 201);
        assert_eq!(
            number.follow(form, standing, &operation, &answer),
            Judgement::Right
        );
    }

    #[test]
    fn each_version_sees_its_own_words() {
        let mut number = Number::new(Dispatch::Direct);
        insert(&mut number, Form::Flavours, OLD, "sweet");
        let get = Operation::Get(7);
        let grey = reply(200, json!({"number": 7, "colour": "grey"}));
        assert_eq!(
            number.follow(Form::Colours, OLD, &get, &grey),
            Judgement::Right
        );
        let sweet = reply(200, json!({"item": 7, "flavour": "sweet"}));
        assert_eq!(
            number.follow(Form::Flavours, OLD, &get, &sweet),
            Judgement::Right
        );
        let plain = reply(200, json!({"item": 7, "flavour": "plain"}));
        assert!(matches!(
            number.follow(Form::Flavours, OLD, &get, &plain),
            Judgement::Wrong(_)
        ));
    }

    #[test]
    fn only_what_was_changed_unseen_may_be_refused() {
        let refused = reply(422, json!({"problem": "callers of the other version ..."}));
        let get = Operation::Get(7);
        let mut number = Number::new(Dispatch::Direct);
        insert(&mut number, Form::Flavours, OLD, "sweet");
        let is_wrong = |judgement| matches!(judgement, Judgement::Wrong(_));
        assert!(is_wrong(number.follow(Form::Flavours, OLD, &get, &refused)));
        let set = Operation::Set(7, "red".to_owned());
        let red = reply(200, json!({"number": 7, "colour": "red"}));
        assert_eq!(
            number.follow(Form::Colours, OLD, &set, &red),
            Judgement::Right
        );
        assert_eq!(
            number.follow(Form::Flavours, OLD, &get, &refused),
            Judgement::Refused
        );
        // The software's own callers are never refused.
        let own = reply(422, json!({"error": "..."}));
        assert!(is_wrong(number.follow(Form::Colours, OLD, &get, &own)));
        assert!(is_wrong(number.follow(Form::Flavours, NEW, &get, &refused)));
        // Nor is what the transform has seen.
        number.upgraded();
        assert!(is_wrong(number.follow(
            Form::Flavours,
            Standing::Unsure,
            &get,
            &refused
        )));
    }

    #[test]
    fn where_adapters_are_told_nothing_is_refused() {
        let refused = reply(422, json!({"problem": "callers of the other version ..."}));
        let mut number = Number::new(Dispatch::Observed);
        insert(&mut number, Form::Flavours, OLD, "sweet");
        let set = Operation::Set(7, "red".to_owned());
        let red = reply(200, json!({"number": 7, "colour": "red"}));
        assert_eq!(
            number.follow(Form::Colours, OLD, &set, &red),
            Judgement::Right
        );
        assert!(matches!(
            number.follow(Form::Flavours, OLD, &Operation::Get(7), &refused),
            Judgement::Wrong(_)
        ));
    }
}
