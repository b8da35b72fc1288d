//! The reference model: one set in which each number has a colour and a flavour.
//!
//! Callers at version 1 see and change the colours, those at version 2 the flavours, both the numbers. A number that one version's callers
//! put in has the other version's default word. Where a crash leaves open what has happened, or calls overlap, all possible sets are kept; a
//! reply that none of them gives is a violation of the sequence requirement.

use color_flavor_adapter::form::{Form, Operation, Reply};
use std::collections::{BTreeMap, BTreeSet};

/// Colour and flavour of each number.
type World = BTreeMap<i64, [String; 2]>;

/// What a caller sees of a reply: its status and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The numbers.
    List(Vec<i64>),
    /// A number's word, with this status.
    Word(u16, String),
    /// This status and nothing else of interest.
    Status(u16),
}

impl Seen {
    /// What a caller at this form sees.
    pub(crate) fn of(form: Form, reply: &Reply) -> Self {
        match (form.listed(reply), form.word_in(reply)) {
            (Some(numbers), _) => Self::List(numbers),
            (None, Some(word)) => Self::Word(reply.status, word),
            (None, None) => Self::Status(reply.status),
        }
    }
}

/// Every set that may be there.
#[derive(Clone, Debug)]
pub(crate) struct Worlds(BTreeSet<World>);

/// A call: whose, what, and what was seen where it was answered.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// The caller's version.
    pub(crate) form: Form,
    /// What was asked.
    pub(crate) operation: Operation,
    /// What was seen; `None` for a call that was interrupted.
    pub(crate) seen: Option<Seen>,
}

impl Worlds {
    /// The empty set.
    pub(crate) fn new() -> Self {
        Self(BTreeSet::from([World::new()]))
    }

    /// Goes on where these calls have happened: one, if it has happened, at any moment between the others, which came one after the
    /// other. False where that is impossible.
    pub(crate) fn follow(&mut self, one: Option<&Event>, others: &[Event]) -> bool {
        let mut possible = BTreeSet::new();
        for position in 0..=others.len() {
            let (before, after) = others.split_at(position);
            let order = before.iter().chain(one).chain(after);
            let mut worlds = self.0.clone();
            for event in order {
                worlds = worlds
                    .into_iter()
                    .flat_map(|world| outcomes(world, event))
                    .collect();
            }
            possible.extend(worlds);
        }
        self.0 = possible;
        !self.0.is_empty()
    }
}

/// The sets after a call, in each way in which it may have gone.
fn outcomes(world: World, event: &Event) -> Vec<World> {
    let (after, seen) = result(&world, event.form, &event.operation);
    match &event.seen {
        Some(found) if *found == seen => vec![after],
        Some(_) => Vec::new(),
        None => {
            let mut all = vec![world.clone(), after];
            // An interrupted insertion may have put the number in without its word.
            if let Operation::Insert(number, _) = &event.operation {
                let without = Operation::Insert(*number, event.form.default_word().to_owned());
                all.push(result(&world, event.form, &without).0);
            }
            all
        }
    }
}

/// What the specification of both versions together says.
fn result(world: &World, form: Form, operation: &Operation) -> (World, Seen) {
    let own = usize::from(form == Form::Flavours);
    let mut after = world.clone();
    let seen = match operation {
        Operation::Health => Seen::Status(200),
        Operation::List => Seen::List(world.keys().copied().collect()),
        Operation::Get(number) => match world.get(number) {
            Some(words) => Seen::Word(200, words[own].clone()),
            None => Seen::Status(404),
        },
        Operation::Insert(number, _) if world.contains_key(number) => Seen::Status(409),
        Operation::Insert(number, word) => {
            let mut words =
                [Form::Colours, Form::Flavours].map(|form| form.default_word().to_owned());
            words[own].clone_from(word);
            after.insert(*number, words);
            Seen::Word(201, word.clone())
        }
        Operation::Set(number, word) => match after.get_mut(number) {
            Some(words) => {
                words[own].clone_from(word);
                Seen::Word(200, word.clone())
            }
            None => Seen::Status(404),
        },
        Operation::Delete(number) => match after.remove(number) {
            Some(_) => Seen::Status(204),
            None => Seen::Status(404),
        },
    };
    (after, seen)
}
