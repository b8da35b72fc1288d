//! From a lens file to a compiled lens, with every proof that needs no traffic.

mod convert;
mod lookup;
mod operation;
mod response;
mod rule;

use std::collections::HashMap;

use http::StatusCode;
use toml::de::DeTable;

use super::Lens;
use super::operation::{DeclaredRefusal, LensOperation, RefusalForms, Unmatched};
use super::recipe::convert::ValueTable;
use super::recipe::rule::BySide;
use call::{Direction, Side};
use declaration::DeclarationError;
use declaration::expression::MeteredExpression;
use declaration::reader::{Section, Source, TomlNode, nearest};
use wire::json::Json;

const KEYS: [&str; 8] = [
    "description",
    "unmatched",
    "pass",
    "refusal",
    "map",
    "rules",
    "operation",
    "response",
];
/// Most operations of a lens: they are searched one by one.
const OPERATIONS_MAX: usize = 4096;

/// What the parts of a lens share while it is parsed.
pub(super) struct ParseShared<'t> {
    tables: HashMap<String, ValueTable>,
    /// Named sets of rules, parsed where they are used.
    sets: HashMap<String, TomlNode<'t>>,
    declared: Vec<DeclaredRefusal>,
}

/// Parses a whole file.
pub(super) fn lens(file: &str, text: &str) -> Result<Lens, DeclarationError> {
    let source = Source { file, text };
    let table = DeTable::parse(text)
        .map_err(|error| source.error(error.span().unwrap_or(0..0), "", error.message()))?;
    // `Source` and the tree live in this frame; the lens owns everything it keeps.
    let root = Section::new(&source, String::new(), table.get_ref(), 0..0);
    root.known(&KEYS)?;
    let mut shared = ParseShared {
        tables: tables(&root)?,
        sets: sets(&root)?,
        declared: Vec::new(),
    };
    let unmatched = match root.get("unmatched") {
        None => Unmatched::Refuse,
        Some(node) => match word(&node, &["refuse", "pass"])? {
            "pass" => Unmatched::Pass,
            _ => Unmatched::Refuse,
        },
    };
    root.text("description")?;
    let refusals = root
        .get("refusal")
        .map(|node| refusal_forms(&node))
        .transpose()?;
    let common = root.items("response")?;
    let mut operations = Vec::new();
    let mut nodes = Vec::new();
    for node in root.items("pass")? {
        operations.push(operation::passed(&node)?);
        nodes.push(node);
    }
    for node in root.items("operation")? {
        operations.push(operation::parse(&node, &common, &mut shared)?);
        nodes.push(node);
    }
    root.finish()?;
    lookup::settle(&mut operations);
    if operations.len() > OPERATIONS_MAX {
        return Err(root.error(format!("more than {OPERATIONS_MAX} operations")));
    }
    let routes = [
        routes(&operations, &nodes, Side::Old)?,
        routes(&operations, &nodes, Side::New)?,
    ];
    let refusals = refusals.unwrap_or_default();
    Ok(Lens {
        file: file.to_owned(),
        operations,
        routes,
        unmatched,
        refusals,
        declared: shared.declared,
    })
}

/// The operations that callers of a side may call, the most particular first; refuses those that
/// can never be reached.
fn routes(
    operations: &[LensOperation],
    nodes: &[TomlNode<'_>],
    side: Side,
) -> Result<Vec<usize>, DeclarationError> {
    let direction = if side == Side::Old {
        Direction::Past
    } else {
        Direction::Future
    };
    let mut indexes: Vec<usize> = (0..operations.len())
        .filter(|index| {
            let operation = &operations[*index];
            operation.templates[side as usize].is_some()
                && operation.only.is_none_or(|only| only == direction)
        })
        .collect();
    let template = |index: usize| operations[index].templates[side as usize].as_ref();
    indexes.sort_by_key(|index| template(*index).map(|template| template.rank()));
    for (position, &later) in indexes.iter().enumerate() {
        let hidden_by = indexes[..position].iter().find(|&&earlier| {
            let overlap = template(earlier)
                .zip(template(later))
                .is_some_and(|(a, b)| {
                    a.overlaps(b) && (a.method.is_none() || a.method == b.method)
                });
            overlap && operations[earlier].when[side as usize].is_none()
        });
        if let Some(&earlier) = hidden_by {
            let message = format!(
                "the {} adapter can never reach it: `{}` has the same {} form",
                direction.name(),
                operations[earlier].name,
                side.name()
            );
            let other = if side == Side::Old {
                Direction::Future
            } else {
                Direction::Past
            };
            let hint = format!(
                "say `only = \"{}\"` for one of them, or tell them apart by `when.{}`",
                other.name(),
                side.name()
            );
            return Err(nodes[later].error(message).hint(hint));
        }
    }
    Ok(indexes)
}

/// The named tables of `[map.NAME]`.
fn tables(root: &Section<'_>) -> Result<HashMap<String, ValueTable>, DeclarationError> {
    let mut tables = HashMap::new();
    if let Some(node) = root.get("map") {
        for (name, node) in node.section()?.nodes() {
            tables.insert(name, convert::table(&node)?);
        }
    }
    Ok(tables)
}

/// The named sets of rules of `[rules]`.
fn sets<'t>(root: &Section<'t>) -> Result<HashMap<String, TomlNode<'t>>, DeclarationError> {
    let Some(node) = root.get("rules") else {
        return Ok(HashMap::new());
    };
    let sets = node.section()?.nodes();
    for (_, node) in &sets {
        node.items()?;
    }
    Ok(sets.into_iter().collect())
}

fn refusal_forms(node: &TomlNode<'_>) -> Result<RefusalForms, DeclarationError> {
    let section = node.section()?;
    let mut forms = RefusalForms::default();
    if let Some(node) = section.get("malformed") {
        if node.is_table() {
            let sides = node.section()?;
            let own = |name| {
                sides
                    .get(name)
                    .map(|node| declared(&node, false))
                    .transpose()
            };
            forms.malformed_forms = [own("old")?, own("new")?];
            sides.finish()?;
        } else {
            forms.malformed = status(&node)?;
        }
    }
    let slots = [
        ("unmatched", &mut forms.unmatched),
        ("request", &mut forms.request),
        ("response", &mut forms.response),
    ];
    for (name, slot) in slots {
        if let Some(node) = section.get(name) {
            *slot = status(&node)?;
        }
    }
    forms.bodies = [section.json("old_body")?, section.json("new_body")?];
    section.finish()?;
    Ok(forms)
}

/// A status as a number.
fn status(node: &TomlNode<'_>) -> Result<StatusCode, DeclarationError> {
    let code = node.integer()?;
    let status = u16::try_from(code)
        .ok()
        .filter(|code| (200..600).contains(code));
    let status = status.and_then(|code| StatusCode::from_u16(code).ok());
    status.ok_or_else(|| node.error(format!("{code} is not a status from 200 to 599")))
}

/// One of a few words.
fn word<'t>(node: &TomlNode<'t>, known: &[&str]) -> Result<&'t str, DeclarationError> {
    let found = node.text()?;
    if known.contains(&found) {
        return Ok(found);
    }
    let error = node.error(format!("`{found}` is not one of: {}", known.join(", ")));
    Err(match nearest(found, known) {
        Some(near) => error.hint(format!("did you mean \"{near}\"?")),
        None => error,
    })
}

fn only(section: &Section<'_>) -> Result<Option<Direction>, DeclarationError> {
    section
        .get("only")
        .map(|node| {
            Ok(match word(&node, &["past", "future"])? {
                "past" => Direction::Past,
                _ => Direction::Future,
            })
        })
        .transpose()
}

/// An expression that may use only these variables.
fn expression(
    node: &TomlNode<'_>,
    variables: &[&str],
) -> Result<MeteredExpression, DeclarationError> {
    let expression =
        MeteredExpression::compile(node.text()?).map_err(|message| node.error(message))?;
    for variable in expression.variables() {
        if !variables.contains(&variable.as_str()) {
            let error = node.error(format!("`{variable}` is not known to this expression"));
            return Err(error.hint(format!("it may use: {}", variables.join(", "))));
        }
    }
    Ok(expression)
}

/// `when = { old = "…", new = "…" }`.
fn when(
    section: &Section<'_>,
    variables: &[&str],
) -> Result<BySide<MeteredExpression>, DeclarationError> {
    let Some(node) = section.get("when") else {
        return Ok([None, None]);
    };
    let sides = node.section()?;
    let read = |name| {
        sides
            .get(name)
            .map(|node| expression(&node, variables))
            .transpose()
    };
    let when = [read("old")?, read("new")?];
    sides.finish()?;
    if when.iter().all(Option::is_none) {
        return Err(node.error("a condition says `old`, `new` or both"));
    }
    Ok(when)
}

/// `refuse = { status = …, reason = …, body = …, content_type = … }`; gives its number.
fn refuse(
    section: &Section<'_>,
    shared: &mut ParseShared<'_>,
) -> Result<Option<usize>, DeclarationError> {
    let Some(node) = section.get("refuse") else {
        return Ok(None);
    };
    shared.declared.push(declared(&node, true)?);
    Ok(Some(shared.declared.len() - 1))
}

/// A refusal in words of its own; the reason is known where something went wrong.
fn declared(node: &TomlNode<'_>, needs_reason: bool) -> Result<DeclaredRefusal, DeclarationError> {
    let inner = node.section()?;
    let missing = |what: &str| node.error(format!("a refusal needs a {what}"));
    let status = status(&inner.get("status").ok_or_else(|| missing("status"))?)?;
    let reason = if needs_reason {
        inner.text("reason")?.ok_or_else(|| missing("reason"))?
    } else {
        ""
    };
    let body = inner.json("body")?;
    let media = inner
        .get("content_type")
        .map(|node| content_type(&node, body.as_ref()))
        .transpose()?;
    inner.finish()?;
    Ok(DeclaredRefusal {
        status,
        reason: reason.to_owned(),
        body,
        media,
    })
}

/// What a refusal's body of text is; empty for an answer that does not say.
fn content_type(node: &TomlNode<'_>, body: Option<&Json>) -> Result<String, DeclarationError> {
    let media = node.text()?;
    if http::HeaderValue::from_str(media).is_err() {
        return Err(node.error("it is not a header's value"));
    }
    if !matches!(body, Some(Json::String(_))) {
        let error = node.error("only a body of text says what it is");
        return Err(error.hint("give `body` as a string, or leave `content_type` out for JSON"));
    }
    Ok(media.to_owned())
}

/// `body = { old = "json", new = "text" }`: which sides have text instead of JSON.
fn text(section: &Section<'_>) -> Result<[bool; 2], DeclarationError> {
    let Some(node) = section.get("body") else {
        return Ok([false; 2]);
    };
    let sides = node.section()?;
    let is_text = |name| match sides.get(name) {
        Some(node) => Ok(word(&node, &["json", "text"])? == "text"),
        None => Ok(false),
    };
    let text = [is_text("old")?, is_text("new")?];
    sides.finish()?;
    Ok(text)
}
