//! Parses look-up calls and conflict keys, and proves that no write depends on what a look-up read.

use http::{Method, header};

use super::operation::template;
use super::{expression, when};
use crate::operation::{Conflict, LensOperation, Lookup};
use crate::recipe::rule::BySide;
use call::{Direction, Hold, Side};
use declaration::DeclarationError;
use declaration::expression::{LOOKUP, MeteredExpression};
use declaration::place::MessagePlace;
use declaration::reader::{Section, TomlNode};
use declaration::template::CallTemplate;

/// Most look-up calls of one operation: each is a round trip of every such call.
const LOOKUPS_MAX: usize = 8;
/// What a caller's request offers before anything is made of it.
const VARIABLES: [&str; 6] = ["method", "path", "query", "queries", "header", "body"];

/// `lookup = { item = "GET /items/{id}", … }`.
pub(super) fn lookups(section: &Section<'_>) -> Result<Vec<Lookup>, DeclarationError> {
    let Some(node) = section.get("lookup") else {
        return Ok(Vec::new());
    };
    let named = node.section()?.nodes();
    if named.len() > LOOKUPS_MAX {
        return Err(node.error(format!("more than {LOOKUPS_MAX} look-up calls")));
    }
    named
        .iter()
        .map(|(name, node)| lookup(name, node))
        .collect()
}

fn lookup(name: &str, node: &TomlNode<'_>) -> Result<Lookup, DeclarationError> {
    let name = name.to_owned();
    if node.is_text() {
        let template = safe(node)?;
        let templates = [Some(template.clone()), Some(template)];
        let when = [None, None];
        return Ok(Lookup {
            name,
            templates,
            when,
        });
    }
    let section = node.section()?;
    let read = |key| section.get(key).map(|node| safe(&node)).transpose();
    let templates = match read("same")? {
        Some(template) => [Some(template.clone()), Some(template)],
        None => [read("old")?, read("new")?],
    };
    if templates.iter().all(Option::is_none) {
        let error = section.error("a look-up says what it calls: `same`, or `old` and `new`");
        return Err(error.hint("`old` is called where the software speaks the old version"));
    }
    let when = when(&section, &VARIABLES)?;
    section.finish()?;
    Ok(Lookup {
        name,
        templates,
        when,
    })
}

/// A look-up changes nothing.
fn safe(node: &TomlNode<'_>) -> Result<CallTemplate, DeclarationError> {
    let template = template(node)?;
    match &template.method {
        Some(method) if method.is_safe() => Ok(template),
        _ => Err(node.error("a look-up is a call that changes nothing, such as GET")),
    }
}

/// `conflict_key`: an expression for both sides, or one for each.
pub(super) fn key(section: &Section<'_>) -> Result<BySide<MeteredExpression>, DeclarationError> {
    let Some(node) = section.get("conflict_key") else {
        return Ok([None, None]);
    };
    if node.is_text() {
        return Ok([
            Some(expression(&node, &VARIABLES)?),
            Some(expression(&node, &VARIABLES)?),
        ]);
    }
    let sides = node.section()?;
    let read = |name| {
        let node = sides.get(name);
        node.map(|node| expression(&node, &VARIABLES)).transpose()
    };
    let key = [read("old")?, read("new")?];
    sides.finish()?;
    Ok(key)
}

/// Fixes which operations hold their conflict key. A lens without look-ups holds none: its calls are
/// single calls, which the software orders by itself.
pub(super) fn settle(operations: &mut [LensOperation]) {
    let looks_up = operations
        .iter()
        .any(|operation| !operation.lookups.is_empty());
    for operation in operations {
        for caller in [Side::Old, Side::New] {
            let software = operation.templates[caller.other() as usize].as_ref();
            let writes = software.is_some_and(|template| !is_safe(template));
            let hold = match (operation.lookups.is_empty(), looks_up && writes) {
                (false, _) => Hold::Exclusive,
                (true, true) => Hold::Shared,
                (true, false) => continue,
            };
            let key = operation.keys[caller as usize].take();
            operation.conflict[caller as usize] = Some(Conflict { hold, key });
        }
        operation.settle();
    }
}

fn is_safe(template: &CallTemplate) -> bool {
    template.method.as_ref().is_some_and(Method::is_safe)
}

/// Between a look-up and a write, callers of the software's own version may write too, past all
/// adapters. So what was read may fill an answer, but must not decide what is written, unless the
/// software itself compares it.
pub(super) fn prove(
    operation: &LensOperation,
    section: &Section<'_>,
) -> Result<(), DeclarationError> {
    for caller in [Side::Old, Side::New] {
        let direction = match caller {
            Side::Old => Direction::Past,
            Side::New => Direction::Future,
        };
        let software = caller.other();
        let template = operation.templates[software as usize].as_ref();
        let is_used = operation.only.is_none_or(|only| only == direction);
        if !is_used || template.is_none_or(is_safe) {
            continue;
        }
        let depends = |uses: &dyn Fn(&str) -> bool| uses(LOOKUP);
        let rules = operation.request.rules();
        let dependent = rules
            .iter()
            .find(|rule| depends(&|variable| rule.uses_toward(variable, software)));
        let conditional = rules.iter().any(|rule| {
            rule.uses_toward(LOOKUP, software)
                && rule.places_of(software).into_iter().any(is_conditional)
        });
        if let Some(rule) = dependent
            && !conditional
        {
            let message = format!(
                "the {} adapter's write would depend on what `lookup` read (rule `{}`), and callers \
                 of the software's own version may write in between",
                direction.name(),
                rule.name
            );
            let hint = "use `lookup` in answers only, or send what was read in `header.if-match`, \
                        `if-none-match` or `if-unmodified-since` if the software heeds it, or refuse \
                        the operation";
            return Err(section.error(message).hint(hint));
        }
    }
    Ok(())
}

/// The protocol's own way to write only where nothing has changed (RFC 9110, section 13).
fn is_conditional(place: &MessagePlace) -> bool {
    let conditional = [
        header::IF_MATCH,
        header::IF_NONE_MATCH,
        header::IF_UNMODIFIED_SINCE,
    ];
    matches!(place, MessagePlace::Header(name) if conditional.contains(name))
}
