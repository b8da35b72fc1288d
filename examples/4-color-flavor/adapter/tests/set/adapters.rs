//! The adapter, and adapters that are wrong in ways in which people get them wrong.

use color_flavor_adapter::form::{Form, Operation, Reply, Request};
use color_flavor_adapter::sequence::{self, Failure, Node};
use std::collections::BTreeMap;

/// What a node does with an adapter.
pub(crate) trait Adapter {
    /// Begins, on what the transform has written.
    fn begin(&mut self, _: &mut dyn Node, _numbers: &[i64]) {}
    /// Answers a call.
    fn handle(
        &mut self,
        node: &mut dyn Node,
        form: Form,
        call: &Request,
    ) -> Result<Reply, Failure> {
        sequence::handle(node, form, call)
    }
    /// The agent has crashed: what was in memory only is gone.
    fn crash(&mut self) {}
    /// Is asked about an interrupted call.
    fn recover(
        &mut self,
        node: &mut dyn Node,
        form: Form,
        is_observed: bool,
        call: &Request,
    ) -> Result<(), Failure> {
        sequence::recover(node, form, is_observed, call)
    }
    /// Is told of a call at the software's version.
    fn observe(&mut self, node: &mut dyn Node, form: Form, call: &Request, reply: &Reply) {
        sequence::observe(node, form, call, reply).expect("the state takes it");
    }
}

/// The one that the example ships.
pub(crate) struct Right;
impl Adapter for Right {}

/// Answers that it has set a word, but keeps the first one.
pub(crate) struct LostUpdate;
impl Adapter for LostUpdate {
    fn handle(
        &mut self,
        node: &mut dyn Node,
        form: Form,
        call: &Request,
    ) -> Result<Reply, Failure> {
        sequence::handle(&mut KeepsFirst(node), form, call)
    }
}

struct KeepsFirst<'n>(&'n mut dyn Node);
impl Node for KeepsFirst<'_> {
    fn delegate(&mut self, request: Request) -> Result<Reply, Failure> {
        self.0.delegate(request)
    }
    fn get(&mut self, key: &str) -> Option<String> {
        self.0.get(key)
    }
    fn set(&mut self, key: &str, value: &str) -> Result<(), Failure> {
        match self.0.get(key) {
            Some(_) => Ok(()),
            None => self.0.set(key, value),
        }
    }
    fn remove(&mut self, key: &str) -> Result<(), Failure> {
        self.0.remove(key)
    }
}

/// Keeps its words in memory and writes only now and then: after a crash older ones are back.
#[derive(Default)]
pub(crate) struct StaleAfterCrash {
    memory: BTreeMap<String, Option<String>>,
    changes: u64,
}

impl Adapter for StaleAfterCrash {
    fn begin(&mut self, _: &mut dyn Node, _: &[i64]) {
        self.memory.clear();
    }
    fn handle(
        &mut self,
        node: &mut dyn Node,
        form: Form,
        call: &Request,
    ) -> Result<Reply, Failure> {
        sequence::handle(&mut InMemory(node, self), form, call)
    }
    fn crash(&mut self) {
        self.memory.clear();
    }
    fn observe(&mut self, node: &mut dyn Node, form: Form, call: &Request, reply: &Reply) {
        sequence::observe(&mut InMemory(node, self), form, call, reply).expect("it is memory");
    }
}

struct InMemory<'n>(&'n mut dyn Node, &'n mut StaleAfterCrash);
impl InMemory<'_> {
    fn change(&mut self, key: &str, value: Option<&str>) -> Result<(), Failure> {
        self.1.changes += 1;
        self.1
            .memory
            .insert(key.to_owned(), value.map(str::to_owned));
        match (self.1.changes.is_multiple_of(3), value) {
            (false, _) => Ok(()),
            (true, Some(value)) => self.0.set(key, value),
            (true, None) => self.0.remove(key),
        }
    }
}

impl Node for InMemory<'_> {
    fn delegate(&mut self, request: Request) -> Result<Reply, Failure> {
        self.0.delegate(request)
    }
    fn get(&mut self, key: &str) -> Option<String> {
        match self.1.memory.get(key) {
            Some(value) => value.clone(),
            None => self.0.get(key),
        }
    }
    fn set(&mut self, key: &str, value: &str) -> Result<(), Failure> {
        self.change(key, Some(value))
    }
    fn remove(&mut self, key: &str) -> Result<(), Failure> {
        self.change(key, None)
    }
}

/// Makes each call to the software twice, as a blind repetition does.
pub(crate) struct DoubledDelegate;
impl Adapter for DoubledDelegate {
    fn handle(
        &mut self,
        node: &mut dyn Node,
        form: Form,
        call: &Request,
    ) -> Result<Reply, Failure> {
        sequence::handle(&mut Twice(node), form, call)
    }
}

struct Twice<'n>(&'n mut dyn Node);
impl Node for Twice<'_> {
    fn delegate(&mut self, request: Request) -> Result<Reply, Failure> {
        self.0.delegate(request.clone())?;
        self.0.delegate(request)
    }
    fn get(&mut self, key: &str) -> Option<String> {
        self.0.get(key)
    }
    fn set(&mut self, key: &str, value: &str) -> Result<(), Failure> {
        self.0.set(key, value)
    }
    fn remove(&mut self, key: &str) -> Result<(), Failure> {
        self.0.remove(key)
    }
}

/// Answers what it remembers where it should refuse.
pub(crate) struct MissingRefusal;
impl Adapter for MissingRefusal {
    fn handle(
        &mut self,
        node: &mut dyn Node,
        form: Form,
        call: &Request,
    ) -> Result<Reply, Failure> {
        let outcome = sequence::handle(node, form, call);
        let (Err(Failure::Refused(..)), Ok(Operation::Get(number))) = (&outcome, form.read(call))
        else {
            return outcome;
        };
        let remembered = node.get(&number.to_string()).expect("it was remembered");
        let word = remembered.split(' ').next().expect("a word");
        Ok(form.shown(200, number, word, String::new()))
    }
}

/// Begins without what the transform has written.
pub(crate) struct WrongBeginning;
impl Adapter for WrongBeginning {
    fn begin(&mut self, node: &mut dyn Node, numbers: &[i64]) {
        for number in numbers {
            node.remove(&number.to_string())
                .expect("the state takes it");
        }
    }
}

/// Does not follow what it is told of calls at the software's version.
pub(crate) struct DeafToOthers;
impl Adapter for DeafToOthers {
    fn observe(&mut self, _: &mut dyn Node, _: Form, _: &Request, _: &Reply) {}
}
