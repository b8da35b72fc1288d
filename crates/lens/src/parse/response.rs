//! Parses the answers of an operation.

use super::rule::{self, RuleContext};
use super::{convert, only, refuse, status, text, when};
use crate::operation::{Alternative, Statuses};
use crate::recipe::Recipe;
use call::Direction;
use declaration::DeclarationError;
use declaration::reader::TomlNode;

const KEYS: [&str; 7] = ["status", "only", "when", "refuse", "rules", "rest", "body"];

/// Parses one alternative.
pub(super) fn parse<'n>(
    node: &TomlNode<'n>,
    rules: &mut RuleContext<'_, 'n>,
) -> Result<Alternative, DeclarationError> {
    let section = node.section()?;
    section.known(&KEYS)?;
    let Some(status) = section.get("status") else {
        let error = section.error("a response needs a `status`");
        return Err(error.hint("as in 200, { old = 200, new = 201 }, \"4xx\" or \"any\""));
    };
    let status = statuses(&status)?;
    let only = only(&section)?;
    let when = when(&section, &rules.variables(false, false))?;
    let refuse = refuse(&section, rules.shared)?;
    let parsed = rule::parse_all(&section.items("rules")?, rules)?;
    let rest = convert::rest(&section)?;
    let text = text(&section)?;
    section.finish()?;
    Ok(Alternative {
        origin: node.origin(),
        status,
        only,
        when,
        refuse,
        recipe: Recipe::new(parsed, rest),
        text,
    })
}

fn statuses(node: &TomlNode<'_>) -> Result<[Statuses; 2], DeclarationError> {
    if node.is_table() {
        let sides = node.section()?;
        let missing = |what: &str| node.error(format!("`{what}` is missing"));
        let old = one(&sides.get("old").ok_or_else(|| missing("old"))?)?;
        let new = one(&sides.get("new").ok_or_else(|| missing("new"))?)?;
        sides.finish()?;
        let codes = matches!((old, new), (Statuses::Code(_), Statuses::Code(_)));
        if codes || old == new {
            return Ok([old, new]);
        }
        let error = node.error("a range of statuses has no single status to go back to");
        return Err(error.hint("write one response for each status"));
    }
    let both = one(node)?;
    Ok([both, both])
}

fn one(node: &TomlNode<'_>) -> Result<Statuses, DeclarationError> {
    if !node.is_text() {
        return Ok(Statuses::Code(status(node)?.as_u16()));
    }
    Ok(match node.text()? {
        "any" => Statuses::Any,
        "2xx" => Statuses::Class(2),
        "3xx" => Statuses::Class(3),
        "4xx" => Statuses::Class(4),
        "5xx" => Statuses::Class(5),
        other => {
            let error = node.error(format!("`{other}` is not a status"));
            return Err(error.hint("as in 200, \"4xx\" or \"any\""));
        }
    })
}

/// Refuses alternatives that one of the two adapters could never choose.
pub(super) fn prove(
    alternatives: &[Alternative],
    nodes: &[TomlNode<'_>],
    own: usize,
    only: Option<Direction>,
) -> Result<(), DeclarationError> {
    let directions = [Direction::Past, Direction::Future].into_iter();
    for direction in directions.filter(|direction| only.is_none_or(|only| only == *direction)) {
        let from = direction.caller().other();
        let used = |a: &Alternative| a.only.is_none_or(|only| only == direction);
        for (position, later) in alternatives.iter().enumerate().filter(|(_, a)| used(a)) {
            let hides = |earlier: &Alternative| {
                used(earlier)
                    && earlier.when[from as usize].is_none()
                    && earlier.status[from as usize].covers(later.status[from as usize])
            };
            // A common response stands behind all of the operation's own: there it may be hidden.
            if position < own && alternatives[..position].iter().any(hides) {
                let message = format!(
                    "the {} adapter can never choose it: an earlier response has the same {} status",
                    direction.name(),
                    from.name()
                );
                let other = match direction {
                    Direction::Past => Direction::Future,
                    Direction::Future => Direction::Past,
                };
                let hint = format!(
                    "say `only = \"{}\"` for it, or tell them apart by `when.{}`",
                    other.name(),
                    from.name()
                );
                return Err(nodes[position].error(message).hint(hint));
            }
        }
    }
    Ok(())
}
