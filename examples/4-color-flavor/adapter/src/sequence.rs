//! What the adapter remembers so that every call sees the effects of all earlier ones, through its version's eyes.
//!
//! The software has one word for each number (its own version's), callers at the other version have another one. The numbers themselves are
//! the software's; the callers' words are the adapter's state. A number that callers of the software's own version put in has the callers'
//! [default word](Form::default_word).
//!
//! With **direct** dispatch the adapter does not see those callers. It remembers with each word the software's `ETag` of the number, which is
//! another one after each change: where it is still the same, nobody has touched the number, and the word is certain. Where it is not, the number may
//! have been taken out and put in again, and then has the default word; or only its other word was changed, and then it has still the one
//! that is remembered. Nobody can tell, so the call is refused. With **observed** dispatch the adapter is told and follows: nothing is refused.

use crate::form::{Form, Operation, Reply, Request};

/// What the adapter asks of its node.
pub trait Node {
    /// Makes a call to the software.
    fn delegate(&mut self, request: Request) -> Result<Reply, Failure>;
    /// What is remembered at a key.
    fn get(&mut self, key: &str) -> Option<String>;
    /// Remembers.
    fn set(&mut self, key: &str, value: &str) -> Result<(), Failure>;
    /// Forgets.
    fn remove(&mut self, key: &str) -> Result<(), Failure>;
}

/// Why a call has no reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It cannot be shown to the other version; the reply is in the caller's words.
    Refused(String, Reply),
    /// The software, or what is before it, does not answer; as the node said it.
    Node(String),
}

/// What is remembered of a number: `red "9" 2`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Memory {
    /// The callers' word.
    word: String,
    /// The software's `ETag` when that was certain.
    etag: String,
    /// How often callers have set the word since the number was put in: it makes their `ETag` another one each time.
    changes: u64,
}

impl Memory {
    fn read(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        Some(Self {
            word: words.next()?.to_owned(),
            etag: words.next()?.to_owned(),
            changes: words.next()?.parse().ok()?,
        })
    }

    fn keep(&self, node: &mut dyn Node, number: i64) -> Result<(), Failure> {
        let Self {
            word,
            etag,
            changes,
        } = self;
        node.set(&number.to_string(), &format!("{word} {etag} {changes}"))
    }
}

fn memory(node: &mut dyn Node, number: i64) -> Option<Memory> {
    Memory::read(&node.get(&number.to_string())?)
}

fn forget(node: &mut dyn Node, number: i64) -> Result<(), Failure> {
    node.remove(&number.to_string())
}

/// Answers a call of a caller who speaks this form, on software that speaks the other.
pub fn handle(node: &mut dyn Node, form: Form, request: &Request) -> Result<Reply, Failure> {
    let operation = match form.read(request) {
        Ok(operation) => operation,
        Err(reply) => return Ok(reply),
    };
    match operation {
        Operation::Health => ask(node, form, &Operation::Health),
        Operation::List => list(node, form),
        Operation::Get(number) => get(node, form, number),
        Operation::Insert(number, word) => insert(node, form, number, word),
        Operation::Set(number, word) => set(node, form, number, word),
        Operation::Delete(number) => {
            let reply = ask(node, form, &Operation::Delete(number))?;
            forget(node, number)?;
            Ok(match reply.status {
                204 => reply,
                _ => form.absent(),
            })
        }
    }
}

/// Asks the software, which speaks the other form.
fn ask(node: &mut dyn Node, form: Form, operation: &Operation) -> Result<Reply, Failure> {
    node.delegate(form.other().request(operation))
}

fn list(node: &mut dyn Node, form: Form) -> Result<Reply, Failure> {
    let reply = ask(node, form, &Operation::List)?;
    let numbers = form.other().listed(&reply).ok_or_else(|| strange(&reply))?;
    Ok(form.list(&numbers))
}

fn get(node: &mut dyn Node, form: Form, number: i64) -> Result<Reply, Failure> {
    let Some(etag) = etag_of(node, form, number)? else {
        return Ok(form.absent());
    };
    match memory(node, number) {
        Some(memory) if memory.etag == etag || memory.word == form.default_word() => {
            let own = own_etag(&etag, memory.changes);
            Ok(form.shown(200, number, &memory.word, own))
        }
        Some(_) => {
            let why = "callers of the other version have changed this number: what it has in this one is not known; set it";
            Err(Failure::Refused(why.to_owned(), form.error(422, why)))
        }
        None => Ok(form.shown(200, number, form.default_word(), own_etag(&etag, 0))),
    }
}

fn insert(node: &mut dyn Node, form: Form, number: i64, word: String) -> Result<Reply, Failure> {
    let default = form.other().default_word().to_owned();
    let reply = ask(node, form, &Operation::Insert(number, default))?;
    match (reply.status, &reply.etag) {
        (201, Some(etag)) => {
            let own = own_etag(etag, 0);
            let shown = form.shown(201, number, &word, own);
            let memory = Memory {
                word,
                etag: etag.clone(),
                changes: 0,
            };
            memory.keep(node, number)?;
            Ok(shown)
        }
        (409, _) => Ok(form.present()),
        _ => Err(strange(&reply)),
    }
}

fn set(node: &mut dyn Node, form: Form, number: i64, word: String) -> Result<Reply, Failure> {
    let Some(etag) = etag_of(node, form, number)? else {
        return Ok(form.absent());
    };
    let changes = memory(node, number).map_or(0, |memory| memory.changes) + 1;
    let memory = Memory {
        word,
        etag,
        changes,
    };
    memory.keep(node, number)?;
    let own = own_etag(&memory.etag, changes);
    Ok(form.shown(200, number, &memory.word, own))
}

/// The software's `ETag` of a number, if it is in the set.
fn etag_of(node: &mut dyn Node, form: Form, number: i64) -> Result<Option<String>, Failure> {
    let reply = ask(node, form, &Operation::Get(number))?;
    match (reply.status, &reply.etag) {
        (404, _) => Ok(None),
        (200, Some(etag)) => Ok(Some(etag.clone())),
        _ => Err(strange(&reply)),
    }
}

/// The callers' `ETag`: another one after each change that either version's callers make, and never the same again.
fn own_etag(etag: &str, changes: u64) -> String {
    format!("\"{}.{changes}\"", etag.trim_matches('"'))
}

fn strange(reply: &Reply) -> Failure {
    let status = reply.status;
    Failure::Node(format!(
        "the software answered {status}, which its version never does"
    ))
}

/// After a crash: a call of which nobody knows how far it came. What is remembered of a number that is gone is forgotten; of one that is there
/// the `ETag` tells whether it holds.
///
/// An insertion that was interrupted may have put the number in without its word: it then has the default word, as if a caller of the
/// other version had put it in. Its own caller has got no answer.
///
/// An observed call was made by a caller of the other version: what it did to the number shows in the `ETag` too.
pub fn recover(
    node: &mut dyn Node,
    form: Form,
    is_observed: bool,
    request: &Request,
) -> Result<(), Failure> {
    let spoken = if is_observed { form.other() } else { form };
    let number = match spoken.read(request) {
        Ok(Operation::Insert(number, _) | Operation::Delete(number)) => number,
        _ => return Ok(()),
    };
    if etag_of(node, form, number)?.is_none() {
        forget(node, number)?;
    }
    Ok(())
}

/// A call at the software's version was answered: what is remembered follows. Returned is what callers at this form would have had to do to
/// the same effect.
pub fn observe(
    node: &mut dyn Node,
    form: Form,
    request: &Request,
    reply: &Reply,
) -> Result<Option<(Request, Reply)>, Failure> {
    match (form.other().read(request), reply.status) {
        (Ok(Operation::Insert(number, _)), 201) => {
            forget(node, number)?;
            let (word, etag) = (
                form.default_word(),
                reply.etag.as_deref().unwrap_or_default(),
            );
            let seen = form.request(&Operation::Insert(number, word.to_owned()));
            Ok(Some((
                seen,
                form.shown(201, number, word, own_etag(etag, 0)),
            )))
        }
        (Ok(Operation::Delete(number)), 204) => {
            forget(node, number)?;
            Ok(Some((
                form.request(&Operation::Delete(number)),
                reply.clone(),
            )))
        }
        (Ok(Operation::Set(number, _)), 200) => {
            if let (Some(mut memory), Some(etag)) = (memory(node, number), &reply.etag) {
                memory.etag.clone_from(etag);
                memory.keep(node, number)?;
            }
            Ok(None)
        }
        _ => Ok(None),
    }
}
