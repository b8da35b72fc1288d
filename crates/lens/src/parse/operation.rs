//! Parses operations and proves that their paths can be made both ways.

use super::rule::{self, RuleContext};
use super::{ParseShared, convert, lookup, only, refuse, response, text, when, word};
use crate::operation::LensOperation;
use crate::recipe::rule::{BySide, RuleAction};
use crate::recipe::{Recipe, Rest};
use call::{Direction, Side};
use declaration::DeclarationError;
use declaration::place::MessagePlace;
use declaration::reader::{Section, TomlNode};
use declaration::template::CallTemplate;

const KEYS: [&str; 12] = [
    "name",
    "old",
    "new",
    "same",
    "only",
    "when",
    "refuse",
    "lookup",
    "conflict_key",
    "request",
    "response",
    "other_statuses",
];

/// An operation that is the same at both versions: `pass = ["GET /health"]`.
pub(super) fn passed(node: &TomlNode<'_>) -> Result<LensOperation, DeclarationError> {
    let template = template(node)?;
    let mut operation = empty(node, node.text()?.to_owned());
    operation.templates = [Some(template.clone()), Some(template)];
    operation.other_statuses_pass = true;
    Ok(operation)
}

fn empty(node: &TomlNode<'_>, name: String) -> LensOperation {
    LensOperation {
        origin: node.origin(),
        name,
        templates: [None, None],
        only: None,
        when: [None, None],
        refuse: None,
        lookups: Vec::new(),
        keys: [None, None],
        conflict: [None, None],
        text: [false; 2],
        request: Recipe::new(Vec::new(), Rest::Keep),
        responses: Vec::new(),
        other_statuses_pass: false,
        echoes: Vec::new(),
        remembers_request: false,
        decodes_request: false,
        parses_query: false,
        decodes_response: false,
    }
}

pub(super) fn template(node: &TomlNode<'_>) -> Result<CallTemplate, DeclarationError> {
    CallTemplate::parse(node.text()?).map_err(|message| node.error(message))
}

/// Parses one `[[operation]]`; `common` are the responses of all operations.
pub(super) fn parse<'n>(
    node: &TomlNode<'n>,
    common: &[TomlNode<'n>],
    shared: &mut ParseShared<'n>,
) -> Result<LensOperation, DeclarationError> {
    let section = node.section()?;
    section.known(&KEYS)?;
    let (text, templates) = templates(&section)?;
    let mut operation = empty(node, section.text("name")?.unwrap_or(&text).to_owned());
    operation.templates = templates;
    operation.only = only(&section)?;
    operation.refuse = refuse(&section, shared)?;
    let mut rules = RuleContext {
        shared,
        echoes: None,
        inside: false,
        lookups: Vec::new(),
        family: false,
        sets: 0,
    };
    operation.when = when(&section, &rules.variables(false, false))?;
    operation.lookups = lookup::lookups(&section)?;
    operation.keys = lookup::key(&section)?;
    let names = operation.lookups.iter().map(|lookup| lookup.name.clone());
    rules.lookups = names.collect();
    (operation.request, operation.text) = request(&section, &mut rules)?;
    rules.echoes = Some(Vec::new());
    let mut nodes = section.items("response")?;
    let own = nodes.len();
    nodes.extend(common.iter().cloned());
    for node in &nodes {
        operation.responses.push(response::parse(node, &mut rules)?);
    }
    operation.echoes = rules.echoes.take().unwrap_or_default();
    operation.other_statuses_pass = match section.get("other_statuses") {
        Some(node) => word(&node, &["pass", "refuse"])? == "pass",
        None => own == 0,
    };
    section.finish()?;
    response::prove(&operation.responses, &nodes, own, operation.only)?;
    prove(&operation, &section)?;
    lookup::prove(&operation, &section)?;
    Ok(operation)
}

/// `old` and `new`, or `same` for both.
fn templates(section: &Section<'_>) -> Result<(String, BySide<CallTemplate>), DeclarationError> {
    let same = section.get("same");
    let old = section.get("old");
    let new = section.get("new");
    if let Some(same) = same {
        if old.is_some() || new.is_some() {
            return Err(same.error("`same` stands for both `old` and `new`"));
        }
        let template = template(&same)?;
        return Ok((
            same.text()?.to_owned(),
            [Some(template.clone()), Some(template)],
        ));
    }
    let name = match (&old, &new) {
        (Some(node), _) | (None, Some(node)) => node.text()?.to_owned(),
        (None, None) => {
            let error = section.error("an operation needs `old` and `new`, or `same`");
            return Err(error.hint("as in \"GET /items/{id}\""));
        }
    };
    let old = old.map(|node| template(&node)).transpose()?;
    let new = new.map(|node| template(&node)).transpose()?;
    Ok((name, [old, new]))
}

fn request<'n>(
    section: &Section<'n>,
    rules: &mut RuleContext<'_, 'n>,
) -> Result<(Recipe, [bool; 2]), DeclarationError> {
    let Some(node) = section.get("request") else {
        return Ok((Recipe::new(Vec::new(), Rest::Keep), [false; 2]));
    };
    if node.is_array() {
        let parsed = rule::parse_all(&node.items()?, rules)?;
        return Ok((Recipe::new(parsed, Rest::Keep), [false; 2]));
    }
    let inner = node.section()?;
    let parsed = rule::parse_all(&inner.items("rules")?, rules)?;
    let rest = convert::rest(&inner)?;
    let text = text(&inner)?;
    inner.finish()?;
    Ok((Recipe::new(parsed, rest), text))
}

fn prove(operation: &LensOperation, section: &Section<'_>) -> Result<(), DeclarationError> {
    let [Some(old), Some(new)] = &operation.templates else {
        let side = if operation.templates[0].is_some() {
            Side::Old
        } else {
            Side::New
        };
        if operation.refuse.is_some() {
            return Ok(());
        }
        let message = format!(
            "nothing says what it is at the {} version",
            side.other().name()
        );
        let hint = format!(
            "give `{} = …`, or `refuse = {{ status = …, reason = … }}`",
            side.other().name()
        );
        return Err(section.error(message).hint(hint));
    };
    if old.method.is_some() != new.method.is_some() {
        return Err(section.error("`*` as a method must stand on both sides"));
    }
    if operation.refuse.is_some() && operation.only.is_none() {
        let error = section.error("`refuse` would answer callers of both versions");
        return Err(error.hint("give `old` or `new` alone, or `only`"));
    }
    for toward in [Side::New, Side::Old] {
        let direction = if toward == Side::New {
            Direction::Past
        } else {
            Direction::Future
        };
        if operation.only.is_none_or(|only| only == direction) {
            paths(operation, toward, section)?;
        }
    }
    Ok(())
}

/// Every parameter of the target is given, and none of the source is lost.
fn paths(
    operation: &LensOperation,
    toward: Side,
    section: &Section<'_>,
) -> Result<(), DeclarationError> {
    let parameters = |side: Side| {
        let template = operation.templates[side as usize].as_ref();
        template.map(CallTemplate::parameters).unwrap_or_default()
    };
    let from = toward.other();
    let rules = operation.request.rules();
    let mentioned = |side: Side, name: &str| {
        let place = MessagePlace::Path(name.to_owned());
        rules
            .iter()
            .any(|rule| rule.places_of(side).contains(&&place))
    };
    for side in [Side::Old, Side::New] {
        for (rule, place) in rules
            .iter()
            .flat_map(|rule| rule.places_of(side).into_iter().map(move |p| (rule, p)))
        {
            if let MessagePlace::Path(name) = place
                && !parameters(side).contains(&name.as_str())
            {
                let message = format!("the {} path has no parameter `{name}`", side.name());
                return Err(DeclarationError {
                    line: rule.origin.line,
                    ..section.error(message)
                });
            }
        }
    }
    for name in parameters(toward) {
        let given = rules.iter().any(|rule| {
            let filled = match &rule.action {
                RuleAction::Single { fill, .. } => {
                    !matches!(fill, crate::recipe::rule::Fill::Nothing)
                }
                RuleAction::Refuse { .. } => false,
                _ => true,
            };
            filled
                && rule
                    .places_of(toward)
                    .contains(&&MessagePlace::Path(name.to_owned()))
        });
        let same = parameters(from).contains(&name) && !mentioned(from, name);
        if !given && !same {
            let message = format!("nothing gives the {} path its `{name}`", toward.name());
            let hint = format!("add a rule with `{} = \"path.{name}\"`", toward.name());
            return Err(section.error(message).hint(hint));
        }
    }
    for name in parameters(from) {
        if !mentioned(from, name) && !parameters(toward).contains(&name) {
            let message = format!("the {} path's `{name}` would be lost", from.name());
            let hint = format!("add a rule with `{} = \"path.{name}\"`", from.name());
            return Err(section.error(message).hint(hint));
        }
    }
    known_echoes(operation, section)
}

/// Echoes name parameters that there are.
fn known_echoes(operation: &LensOperation, section: &Section<'_>) -> Result<(), DeclarationError> {
    for (side, place) in &operation.echoes {
        let template = operation.templates[*side as usize].as_ref();
        let parameters = template.map(CallTemplate::parameters).unwrap_or_default();
        if let MessagePlace::Path(name) = place
            && !parameters.contains(&name.as_str())
        {
            let message = format!("`echo`: the {} path has no parameter `{name}`", side.name());
            return Err(section.error(message));
        }
    }
    Ok(())
}
