//! Parses rules.

use super::super::error::LensError;
use super::super::expression::{REQUEST, VARIABLES};
use super::super::place::Place;
use super::super::reader::{Node, Section};
use super::super::rule::{Action, BySide, Fill, GroupWay, Rule};
use super::{Shared, convert, expression, refuse, when};
use crate::chain::Side;

/// All keys of rules; which of them go together is seen later.
const KEYS: [&str; 24] = [
    "old",
    "new",
    "optional",
    "default",
    "value",
    "lossy",
    "echo",
    "when",
    "refuse",
    "map",
    "otherwise",
    "convert",
    "scale",
    "time",
    "round",
    "wrap",
    "each",
    "values",
    "fields",
    "rest",
    "entries",
    "steps",
    "to_new",
    "to_old",
];

/// What rules are parsed with.
pub(super) struct Rules<'s> {
    pub(super) shared: &'s mut Shared,
    /// In an answer: the places of requests that are echoed so far.
    pub(super) echoes: Option<Vec<(Side, Place)>>,
    /// Inside `fields`, `each`, `values` or `steps`.
    pub(super) inside: bool,
}

impl Rules<'_> {
    /// Parses something inside an object.
    pub(super) fn nested<T>(
        &mut self,
        parse: impl FnOnce(&mut Self) -> Result<T, LensError>,
    ) -> Result<T, LensError> {
        let outside = std::mem::replace(&mut self.inside, true);
        let parsed = parse(self);
        self.inside = outside;
        parsed
    }

    /// The variables that expressions may use here.
    pub(super) fn variables(&self, with_value: bool) -> Vec<&'static str> {
        let answer = self.echoes.is_some();
        let fits = |name: &&'static str| match *name {
            "value" => with_value,
            "this" => self.inside,
            "status" => answer,
            "path" | "query" => !self.inside && !answer,
            "header" | "body" => !self.inside,
            _ => true,
        };
        let mut variables: Vec<&str> = VARIABLES.into_iter().filter(fits).collect();
        if answer {
            variables.push(REQUEST);
        }
        variables
    }

    fn place(&self, node: &Node<'_>) -> Result<Place, LensError> {
        let text = node.text()?;
        let place = if self.inside {
            Place::parse_inner(text)
        } else {
            Place::parse(text)
        };
        let place = place.map_err(|message| node.error(message))?;
        let of_request = matches!(place, Place::Path(_) | Place::Query(_) | Place::QueryAll(_));
        if of_request && self.echoes.is_some() {
            let error = node.error(format!("an answer has no `{place}`"));
            return Err(error.hint("to repeat a value of the request use `echo`"));
        }
        Ok(place)
    }
}

/// Parses an array of rules and proves that no place is used twice.
pub(super) fn parse_all(nodes: &[Node<'_>], rules: &mut Rules<'_>) -> Result<Vec<Rule>, LensError> {
    let mut parsed = Vec::with_capacity(nodes.len());
    for node in nodes {
        parsed.push(parse(node, rules)?);
    }
    for side in [Side::Old, Side::New] {
        let mut seen: Vec<&Place> = Vec::new();
        for (rule, node) in parsed.iter().zip(nodes) {
            if rule.when.iter().any(Option::is_some) || matches!(rule.action, Action::Refuse { .. })
            {
                continue;
            }
            for place in rule.places_of(side) {
                if seen.contains(&place) {
                    let message = format!("two rules for the {} `{place}`", side.name());
                    return Err(node.error(message).hint("tell them apart by `when`"));
                }
                seen.push(place);
            }
        }
    }
    Ok(parsed)
}

fn parse(node: &Node<'_>, rules: &mut Rules<'_>) -> Result<Rule, LensError> {
    let section = node.section()?;
    section.known(&KEYS)?;
    let conditions = when(&section, &rules.variables(false))?;
    let old = section.get("old");
    let new = section.get("new");
    let computed = section.get("to_new").is_some_and(|node| !node.is_text())
        || section.get("to_old").is_some_and(|node| !node.is_text())
        || [&old, &new].into_iter().flatten().any(Node::is_array);
    let action = if section.has("refuse") {
        refusing(&section, [old, new], &conditions, rules)?
    } else if computed {
        group(&section, [old, new], rules)?
    } else {
        match (old, new) {
            (Some(old), Some(new)) => pair(&section, [old, new], rules)?,
            (Some(old), None) => single(&section, Side::Old, &old, rules)?,
            (None, Some(new)) => single(&section, Side::New, &new, rules)?,
            (None, None) => return Err(section.error("a rule says `old`, `new` or both")),
        }
    };
    section.finish()?;
    let one_sided = matches!(action, Action::Refuse { .. });
    if !one_sided && conditions.iter().filter(|when| when.is_some()).count() == 1 {
        let error = section.error("nothing says when the rule applies the other way");
        return Err(error.hint("give both `when.old` and `when.new`; \"true\" is a condition too"));
    }
    let rule = Rule {
        origin: node.origin(),
        name: String::new(),
        when: conditions,
        action,
    };
    Ok(Rule {
        name: name(&rule),
        ..rule
    })
}

/// Its places: what errors and counters show.
fn name(rule: &Rule) -> String {
    let side = |side| {
        let places = rule.places_of(side).into_iter().map(Place::to_string);
        places.collect::<Vec<_>>().join(", ")
    };
    match (side(Side::Old), side(Side::New)) {
        (old, new) if old.is_empty() && new.is_empty() => "refuse".to_owned(),
        (old, new) if new.is_empty() => format!("old {old}"),
        (old, new) if old.is_empty() => format!("new {new}"),
        (old, new) => format!("{old} = {new}"),
    }
}

fn pair(
    section: &Section<'_>,
    nodes: [Node<'_>; 2],
    rules: &mut Rules<'_>,
) -> Result<Action, LensError> {
    let places = [rules.place(&nodes[0])?, rules.place(&nodes[1])?];
    let optional = section.flag("optional")?;
    let mut default: BySide<_> = [None, None];
    if let Some(node) = section.get("default") {
        let sides = node.section()?;
        default = [sides.json("old")?, sides.json("new")?];
        sides.finish()?;
    }
    let convert = convert::parse(section, rules)?;
    Ok(Action::Pair {
        places,
        optional,
        default,
        convert: Box::new(convert),
    })
}

fn single(
    section: &Section<'_>,
    side: Side,
    node: &Node<'_>,
    rules: &mut Rules<'_>,
) -> Result<Action, LensError> {
    let place = rules.place(node)?;
    let lossy = section.flag("lossy")?;
    let optional = section.flag("optional")?;
    let value = section.json("value")?;
    let fill = match (value, section.get("echo")) {
        (Some(_), Some(echo)) => return Err(echo.error("`value` and `echo` are two sources")),
        (Some(value), None) => Fill::Value(value),
        (None, Some(echo)) => self::echo(section, &echo, side, rules)?,
        (None, None) => Fill::Nothing,
    };
    if matches!(fill, Fill::Nothing) && !lossy {
        let other = side.other().name();
        let message = format!("`{place}` has no place at the {other} version, so it would be lost");
        return Err(node.error(message).hint(format!(
            "give `{other} = …`, or the only `value` it may have, or declare `lossy = true`"
        )));
    }
    Ok(Action::Single {
        side,
        place,
        fill,
        lossy,
        optional,
    })
}

/// `echo = "path.id"`: the value that the caller's request has there.
fn echo(
    section: &Section<'_>,
    node: &Node<'_>,
    side: Side,
    rules: &mut Rules<'_>,
) -> Result<Fill, LensError> {
    let place = Place::parse(node.text()?).map_err(|message| node.error(message))?;
    let convert = convert::parse(section, rules)?;
    let Some(echoes) = &mut rules.echoes else {
        return Err(node.error("`echo` belongs to answers: it repeats a value of the request"));
    };
    echoes.push((side, place));
    Ok(Fill::Echo(echoes.len() - 1, Box::new(convert)))
}

fn refusing(
    section: &Section<'_>,
    nodes: [Option<Node<'_>>; 2],
    conditions: &BySide<super::Expression>,
    rules: &mut Rules<'_>,
) -> Result<Action, LensError> {
    let Some(declared) = refuse(section, rules.shared)? else {
        return Err(section.error("a refusal was expected"));
    };
    let told = |index: usize| nodes[index].is_some() || conditions[index].is_some();
    let from = match (told(0), told(1)) {
        (true, false) => Side::Old,
        (false, true) => Side::New,
        _ => {
            let error = section.error("a refusal concerns messages of one side");
            return Err(error.hint("give a place or a condition of `old`, or of `new`"));
        }
    };
    let place = nodes[from as usize]
        .as_ref()
        .map(|node| rules.place(node))
        .transpose()?;
    Ok(Action::Refuse {
        from,
        place,
        declared,
    })
}

/// Places computed together: `to_new = { "body.total" = "…" }`, `to_old = { … }`.
fn group(
    section: &Section<'_>,
    nodes: [Option<Node<'_>>; 2],
    rules: &mut Rules<'_>,
) -> Result<Action, LensError> {
    let mut places = [Vec::new(), Vec::new()];
    for (side, node) in places.iter_mut().zip(&nodes) {
        let Some(node) = node else { continue };
        let items = if node.is_array() {
            node.items()?
        } else {
            vec![node.clone()]
        };
        for item in &items {
            side.push(rules.place(item)?);
        }
    }
    let (to_new, to_old) = match (section.get("to_new"), section.get("to_old")) {
        (Some(to_new), Some(to_old)) => (to_new, to_old),
        (Some(node), None) => return Err(convert::one_way(&node, "to_old")),
        (None, Some(node)) => return Err(convert::one_way(&node, "to_new")),
        (None, None) => {
            let error = section.error("several places need `to_new` and `to_old`");
            return Err(error.hint("each is a table of place = expression, \"refuse\" or \"drop\""));
        }
    };
    let ways = [
        group_way(&to_old, &mut places[Side::Old as usize], rules)?,
        group_way(&to_new, &mut places[Side::New as usize], rules)?,
    ];
    Ok(Action::Group { places, ways })
}

fn group_way(
    node: &Node<'_>,
    places: &mut Vec<Place>,
    rules: &Rules<'_>,
) -> Result<GroupWay, LensError> {
    if node.is_text() {
        return match node.text()? {
            "refuse" => Ok(GroupWay::Refuse),
            "drop" => Ok(GroupWay::Drop),
            _ => {
                Err(node
                    .error("a table of place = expression, \"refuse\" or \"drop\" was expected"))
            }
        };
    }
    let mut all = Vec::new();
    for (name, node) in node.section()?.nodes() {
        let parsed = if rules.inside {
            Place::parse_inner(&name)
        } else {
            Place::parse(&name)
        };
        let place = parsed.map_err(|message| node.error(message))?;
        if !places.contains(&place) {
            places.push(place.clone());
        }
        all.push((place, expression(&node, &rules.variables(false))?));
    }
    Ok(GroupWay::Compute(all))
}
