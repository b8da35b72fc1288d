//! Histories: random calls of both versions' callers before and after the upgrade, overlapping, with crashes, held against the model.

use super::Dice;
use super::adapters::Adapter;
use super::node::{Crash, Outcome, SetNode};
use super::worlds::{Event, Seen, Worlds};
use color_flavor_adapter::form::{Form, Operation};
use std::collections::BTreeSet;

/// Few numbers, so that calls meet.
const NUMBERS: u64 = 4;
/// Calls of a history.
const CALLS: u64 = 80;

/// What was seen in a history.
#[derive(Debug, Default)]
pub(crate) struct Account {
    /// Refusals that the model demands.
    pub(crate) refused: u64,
    /// Calls of the other version.
    pub(crate) foreign: u64,
    /// Times that the agent was killed.
    pub(crate) crashes: u64,
}

/// A history under way.
struct History {
    node: SetNode,
    dice: Dice,
    worlds: Worlds,
    /// Numbers of which callers of the other version have said something.
    told: BTreeSet<i64>,
    /// Those of them that were changed behind the adapter's back: what the other version's callers would see of them cannot be known.
    doubtful: BTreeSet<i64>,
    account: Account,
}

/// Runs the history of this seed; the first violation of the sequence requirement ends it.
pub(crate) fn run(
    seed: u64,
    adapter: Box<dyn Adapter>,
    is_observed: bool,
) -> Result<Account, String> {
    let mut history = History {
        node: SetNode::new(adapter, is_observed),
        dice: Dice::new(seed),
        worlds: Worlds::new(),
        told: BTreeSet::new(),
        doubtful: BTreeSet::new(),
        account: Account::default(),
    };
    let upgrade = CALLS / 4 + history.dice.below(CALLS / 2);
    for call in 0..CALLS {
        if call == upgrade {
            history.read_everything(call)?;
            history.upgrade();
            history.read_everything(call)?;
        }
        history.step(call)?;
    }
    history.read_everything(CALLS)?;
    Ok(history.account)
}

impl History {
    fn step(&mut self, call: u64) -> Result<(), String> {
        if self.dice.once_in(2) {
            let operation = self.operation(self.node.software.form);
            let crash = self.node.is_observed && self.dice.once_in(20);
            return self.own(call, &operation, crash);
        }
        let operation = self.operation(self.node.software.form.other());
        let overlapping = self.overlapping(&operation);
        let crash = [
            Crash::BeforeDelegate,
            Crash::AfterDelegate,
            Crash::BeforeCommit,
        ];
        let crash = self.dice.once_in(8).then(|| *self.dice.one_of(&crash));
        self.foreign(call, &operation, &overlapping, crash)
    }

    fn own(&mut self, call: u64, operation: &Operation, crash: bool) -> Result<(), String> {
        let event = self.node.own(operation, crash);
        self.account.crashes += u64::from(crash);
        if !self.node.is_observed || crash {
            self.note_unseen(&event);
        }
        self.follow(call, None, &[event])
    }

    fn foreign(
        &mut self,
        call: u64,
        operation: &Operation,
        overlapping: &[Operation],
        crash: Option<Crash>,
    ) -> Result<(), String> {
        self.account.foreign += 1;
        let (outcome, events) = self.node.foreign(operation, overlapping, crash);
        let form = self.node.software.form.other();
        let event = |seen| Event {
            form,
            operation: operation.clone(),
            seen,
        };
        if !self.node.is_observed {
            events.iter().for_each(|event| self.note_unseen(event));
        }
        let one = match outcome {
            Outcome::Answered(seen) => {
                self.note_told(operation, &seen, &events);
                Some(event(Some(seen)))
            }
            Outcome::Crashed => {
                self.account.crashes += 1;
                Some(event(None))
            }
            Outcome::Refused if self.may_refuse(operation) => {
                self.account.refused += 1;
                None
            }
            Outcome::Refused => {
                return Err(format!(
                    "call {call}: {operation:?} was refused without need"
                ));
            }
        };
        self.follow(call, one, &events)
    }

    fn follow(&mut self, call: u64, one: Option<Event>, others: &[Event]) -> Result<(), String> {
        let before = self.worlds.clone();
        if self.worlds.follow(one.as_ref(), others) {
            Ok(())
        } else {
            Err(format!(
                "call {call}: impossible: {one:?} among {others:?} after {before:?}"
            ))
        }
    }

    /// Only a number's word can be in doubt.
    fn may_refuse(&self, operation: &Operation) -> bool {
        matches!(operation, Operation::Get(number) if self.doubtful.contains(number))
    }

    /// A call that the adapter has not seen.
    fn note_unseen(&mut self, event: &Event) {
        if let Some(number) = changed(event)
            && self.told.contains(&number)
        {
            self.doubtful.insert(number);
        }
    }

    /// A call that the adapter has answered.
    fn note_told(&mut self, operation: &Operation, seen: &Seen, overlapped: &[Event]) {
        let event = Event {
            form: Form::Colours,
            operation: operation.clone(),
            seen: Some(seen.clone()),
        };
        let Some(number) = changed(&event) else {
            return;
        };
        self.doubtful.remove(&number);
        if matches!(operation, Operation::Delete(_)) {
            self.told.remove(&number);
            return;
        }
        self.told.insert(number);
        if overlapped
            .iter()
            .any(|event| changed(event) == Some(number))
        {
            self.doubtful.insert(number);
        }
    }

    fn upgrade(&mut self) {
        self.node.upgrade();
        self.doubtful.clear();
        self.told = self.node.software.numbers.keys().copied().collect();
    }

    /// Both versions look at everything.
    fn read_everything(&mut self, call: u64) -> Result<(), String> {
        for number in 0..NUMBERS.cast_signed() {
            self.own(call, &Operation::Get(number), false)?;
            self.foreign(call, &Operation::Get(number), &[], None)?;
        }
        self.own(call, &Operation::List, false)?;
        self.foreign(call, &Operation::List, &[], None)
    }

    fn operation(&mut self, form: Form) -> Operation {
        let number = self.dice.below(NUMBERS).cast_signed();
        let word = (*self.dice.one_of(form.words())).to_owned();
        match self.dice.below(10) {
            0 => Operation::List,
            1..=3 => Operation::Get(number),
            4..=5 => Operation::Insert(number, word),
            6..=7 => Operation::Set(number, word),
            _ => Operation::Delete(number),
        }
    }

    /// Calls at the software's version that come in between; where they pass the adapter, those with the same conflict key cannot.
    fn overlapping(&mut self, operation: &Operation) -> Vec<Operation> {
        let count = if self.dice.once_in(3) {
            self.dice.below(3)
        } else {
            0
        };
        let form = self.node.software.form;
        let mut all: Vec<Operation> = (0..count).map(|_| self.operation(form)).collect();
        if self.node.is_observed {
            all.retain(|other| {
                of_number(other).is_none() || of_number(other) != of_number(operation)
            });
        }
        all
    }
}

fn of_number(operation: &Operation) -> Option<i64> {
    match operation {
        Operation::Get(number)
        | Operation::Insert(number, _)
        | Operation::Set(number, _)
        | Operation::Delete(number) => Some(*number),
        Operation::List | Operation::Health => None,
    }
}

/// The number that a call has changed, or may have.
fn changed(event: &Event) -> Option<i64> {
    let succeeded = match &event.seen {
        Some(Seen::Status(status) | Seen::Word(status, _)) => (200..300).contains(status),
        Some(Seen::List(_)) => false,
        None => true,
    };
    match &event.operation {
        Operation::Get(_) => None,
        operation if succeeded => of_number(operation),
        _ => None,
    }
}
