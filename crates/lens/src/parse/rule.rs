//! Parses rules.

use super::{ParseShared, convert, expression, refuse, when};
use crate::recipe::rule::{BySide, Fill, GroupWay, Rule, RuleAction};
use call::Side;
use declaration::DeclarationError;
use declaration::expression::{LOOKUP, REQUEST, VARIABLES};
use declaration::place::MessagePlace;
use declaration::reader::{Section, TomlNode};

/// All keys of rules; which of them go together is seen later.
const KEYS: [&str; 26] = [
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
    "everywhere",
    "steps",
    "use",
    "to_new",
    "to_old",
];

/// What rules are parsed with.
pub(super) struct RuleContext<'s, 't> {
    pub(super) shared: &'s mut ParseShared<'t>,
    /// In an answer: the places of requests that are echoed so far.
    pub(super) echoes: Option<Vec<(Side, MessagePlace)>>,
    /// Inside `fields`, `each`, `values` or `steps`.
    pub(super) inside: bool,
    /// The names of the operation's look-up calls.
    pub(super) lookups: Vec<String>,
    /// Whether the rule at hand is for all names of a form.
    pub(super) family: bool,
    /// How many named sets of rules stand around.
    pub(super) sets: usize,
}

/// Most named sets of rules inside one another: a set that uses itself would never end.
pub(super) const SETS_MAX: usize = 8;

impl RuleContext<'_, '_> {
    /// Parses something inside an object.
    pub(super) fn nested<T>(
        &mut self,
        parse: impl FnOnce(&mut Self) -> Result<T, DeclarationError>,
    ) -> Result<T, DeclarationError> {
        let outside = std::mem::replace(&mut self.inside, true);
        let parsed = parse(self);
        self.inside = outside;
        parsed
    }

    /// The variables that expressions may use here; `value` where a value is at hand, `name` where
    /// it was found by a pattern.
    pub(super) fn variables(&self, value: bool, name: bool) -> Vec<&'static str> {
        let answer = self.echoes.is_some();
        let fits = |variable: &&'static str| match *variable {
            "value" => value,
            "name" => name,
            "this" => self.inside,
            "status" => answer,
            "path" | "query" | "queries" => !self.inside && !answer,
            "header" | "body" => !self.inside,
            _ => true,
        };
        let mut variables: Vec<&str> = VARIABLES.into_iter().filter(fits).collect();
        if answer {
            variables.push(REQUEST);
        }
        if !self.lookups.is_empty() {
            variables.push(LOOKUP);
        }
        variables
    }

    fn place(&self, node: &TomlNode<'_>) -> Result<MessagePlace, DeclarationError> {
        let text = node.text()?;
        let place = if self.inside {
            MessagePlace::parse_inner(text)
        } else {
            MessagePlace::parse(text)
        };
        let place = place.map_err(|message| node.error(message))?;
        let of_request = matches!(place, MessagePlace::Path(_)) || place.is_query();
        if of_request && self.echoes.is_some() {
            let error = node.error(format!("an answer has no `{place}`"));
            return Err(error.hint("to repeat a value of the request use `echo`"));
        }
        Ok(place)
    }
}

/// Puts the rules of a named set where `{ use = "NAME" }` stands.
fn spread<'n>(
    nodes: &[TomlNode<'n>],
    rules: &RuleContext<'_, 'n>,
    depth: usize,
) -> Result<Vec<TomlNode<'n>>, DeclarationError> {
    let mut all = Vec::with_capacity(nodes.len());
    for node in nodes {
        let named = if node.is_table() {
            node.section()?.get("use")
        } else {
            None
        };
        let Some(named) = named else {
            all.push(node.clone());
            continue;
        };
        node.section()?.known(&["use"])?;
        let set = set(&named, rules)?;
        if depth + rules.sets >= SETS_MAX {
            return Err(named.error(format!("sets of rules stand more than {SETS_MAX} deep")));
        }
        all.extend(spread(&set.items()?, rules, depth + 1)?);
    }
    Ok(all)
}

/// A set of rules by its name.
pub(super) fn set<'n>(
    node: &TomlNode<'_>,
    rules: &RuleContext<'_, 'n>,
) -> Result<TomlNode<'n>, DeclarationError> {
    let name = node.text()?;
    let sets = &rules.shared.sets;
    sets.get(name).cloned().ok_or_else(|| {
        let error = node.error(format!("there are no rules called `{name}`"));
        let known: Vec<&str> = sets.keys().map(String::as_str).collect();
        match super::nearest(name, &known) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint(format!(
                "write them as `rules.{name} = [...]`, above the operations"
            )),
        }
    })
}

/// Parses an array of rules and proves that no place is used twice.
pub(super) fn parse_all<'n>(
    nodes: &[TomlNode<'n>],
    rules: &mut RuleContext<'_, 'n>,
) -> Result<Vec<Rule>, DeclarationError> {
    let mut parsed = Vec::with_capacity(nodes.len());
    let nodes = &spread(nodes, rules, 0)?;
    for node in nodes {
        parsed.push(parse(node, rules)?);
    }
    for side in [Side::Old, Side::New] {
        let mut seen: Vec<&MessagePlace> = Vec::new();
        for (rule, node) in parsed.iter().zip(nodes) {
            if rule.when.iter().any(Option::is_some)
                || matches!(rule.action, RuleAction::Refuse { .. })
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

fn parse<'n>(
    node: &TomlNode<'n>,
    rules: &mut RuleContext<'_, 'n>,
) -> Result<Rule, DeclarationError> {
    let section = node.section()?;
    section.known(&KEYS)?;
    let old = section.get("old");
    let new = section.get("new");
    let family = family([&old, &new], rules)?;
    let conditions = when(&section, &rules.variables(family, family))?;
    rules.family = family;
    let computed = section.get("to_new").is_some_and(|node| !node.is_text())
        || section.get("to_old").is_some_and(|node| !node.is_text())
        || [&old, &new].into_iter().flatten().any(TomlNode::is_array);
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
    let one_sided = matches!(action, RuleAction::Refuse { .. });
    if !one_sided && conditions.iter().filter(|when| when.is_some()).count() == 1 {
        let error = section.error("nothing says when the rule applies the other way");
        return Err(error.hint("give both `when.old` and `when.new`; \"true\" is a condition too"));
    }
    let rule = Rule {
        origin: node.origin(),
        name: String::new(),
        when: conditions,
        family,
        action,
    };
    if family {
        prove_family(&section, &rule)?;
    }
    Ok(Rule {
        name: name(&rule),
        ..rule
    })
}

/// Whether a rule is for all names of a form.
fn family(
    nodes: [&Option<TomlNode<'_>>; 2],
    rules: &RuleContext<'_, '_>,
) -> Result<bool, DeclarationError> {
    for node in nodes.into_iter().flatten() {
        if node.is_text() && rules.place(node)?.pattern().is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Only what is found on one side can be named on the other, by the same hole.
fn prove_family(section: &Section<'_>, rule: &Rule) -> Result<(), DeclarationError> {
    match &rule.action {
        RuleAction::Pair {
            places: [old, new],
            optional,
            default,
            ..
        } => {
            let holes = [old, new].map(|place| place.pattern().map(|p| p.hole.as_str()));
            if holes[0] != holes[1] {
                let error = section.error("the names on both sides need the same hole");
                return Err(
                    error.hint("as in `old = \"query.{field}_gt\", new = \"query.gt.{field}\"`")
                );
            }
            if *optional || default.iter().any(Option::is_some) {
                return Err(section.error("a pattern is for the names that are there: `optional` and `default` mean nothing"));
            }
            Ok(())
        }
        RuleAction::Single {
            fill: Fill::Nothing,
            ..
        }
        | RuleAction::Refuse { .. } => Ok(()),
        _ => Err(section.error("a pattern has no single name to put a value under")),
    }
}

/// Its places: what errors and counters show.
fn name(rule: &Rule) -> String {
    let side = |side| {
        let places = rule
            .places_of(side)
            .into_iter()
            .map(MessagePlace::to_string);
        places.collect::<Vec<_>>().join(", ")
    };
    match (side(Side::Old), side(Side::New)) {
        (old, new) if old.is_empty() && new.is_empty() => "refuse".to_owned(),
        (old, new) if new.is_empty() => format!("old {old}"),
        (old, new) if old.is_empty() => format!("new {new}"),
        (old, new) => format!("{old} = {new}"),
    }
}

fn pair<'n>(
    section: &Section<'n>,
    nodes: [TomlNode<'n>; 2],
    rules: &mut RuleContext<'_, 'n>,
) -> Result<RuleAction, DeclarationError> {
    let places = [rules.place(&nodes[0])?, rules.place(&nodes[1])?];
    let optional = section.flag("optional")?;
    let mut default: BySide<_> = [None, None];
    if let Some(node) = section.get("default") {
        let sides = node.section()?;
        default = [sides.json("old")?, sides.json("new")?];
        sides.finish()?;
    }
    let convert = convert::parse(section, rules)?;
    Ok(RuleAction::Pair {
        places,
        optional,
        default,
        convert: Box::new(convert),
    })
}

fn single<'n>(
    section: &Section<'n>,
    side: Side,
    node: &TomlNode<'n>,
    rules: &mut RuleContext<'_, 'n>,
) -> Result<RuleAction, DeclarationError> {
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
    Ok(RuleAction::Single {
        side,
        place,
        fill,
        lossy,
        optional,
    })
}

/// `echo = "path.id"`: the value that the caller's request has there.
fn echo<'n>(
    section: &Section<'n>,
    node: &TomlNode<'n>,
    side: Side,
    rules: &mut RuleContext<'_, 'n>,
) -> Result<Fill, DeclarationError> {
    let text = node.text()?;
    if text.starts_with("lookup.") {
        return found(section, node, rules);
    }
    let place = MessagePlace::parse(text).map_err(|message| node.error(message))?;
    if place.pattern().is_some() {
        return Err(node.error("a pattern is no single place to repeat"));
    }
    let convert = convert::parse(section, rules)?;
    let Some(echoes) = &mut rules.echoes else {
        return Err(node.error("`echo` belongs to answers: it repeats a value of the request"));
    };
    echoes.push((side, place));
    Ok(Fill::Echo(echoes.len() - 1, Box::new(convert)))
}

/// `echo = "lookup.item.body"`: what a look-up found.
fn found<'n>(
    section: &Section<'n>,
    node: &TomlNode<'n>,
    rules: &mut RuleContext<'_, 'n>,
) -> Result<Fill, DeclarationError> {
    let wrong = || node.error("what a look-up found is `lookup.NAME.body`, or a place inside it");
    let text = node.text()?.strip_prefix("lookup.").ok_or_else(wrong)?;
    let (name, place) = text.split_once('.').ok_or_else(wrong)?;
    let Ok(MessagePlace::Body(steps)) = MessagePlace::parse(place) else {
        return Err(wrong());
    };
    if !rules.lookups.iter().any(|known| known == name) {
        let error = node.error(format!("the operation has no look-up `{name}`"));
        return Err(error.hint(format!("declare it: `lookup = {{ {name} = \"GET /…\" }}`")));
    }
    if rules.echoes.is_none() {
        return Err(node.error("`echo` belongs to answers"));
    }
    let convert = convert::parse(section, rules)?;
    Ok(Fill::Found(name.to_owned(), steps, Box::new(convert)))
}

fn refusing(
    section: &Section<'_>,
    nodes: [Option<TomlNode<'_>>; 2],
    conditions: &BySide<super::MeteredExpression>,
    rules: &mut RuleContext<'_, '_>,
) -> Result<RuleAction, DeclarationError> {
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
    Ok(RuleAction::Refuse {
        from,
        place,
        declared,
    })
}

/// Places computed together: `to_new = { "body.total" = "…" }`, `to_old = { … }`.
fn group(
    section: &Section<'_>,
    nodes: [Option<TomlNode<'_>>; 2],
    rules: &mut RuleContext<'_, '_>,
) -> Result<RuleAction, DeclarationError> {
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
    Ok(RuleAction::Group { places, ways })
}

fn group_way(
    node: &TomlNode<'_>,
    places: &mut Vec<MessagePlace>,
    rules: &RuleContext<'_, '_>,
) -> Result<GroupWay, DeclarationError> {
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
            MessagePlace::parse_inner(&name)
        } else {
            MessagePlace::parse(&name)
        };
        let place = parsed.map_err(|message| node.error(message))?;
        if place.pattern().is_some() {
            return Err(node.error("a pattern has no single name to put a value under"));
        }
        if !places.contains(&place) {
            places.push(place.clone());
        }
        all.push((place, expression(&node, &rules.variables(false, false))?));
    }
    Ok(GroupWay::Compute(all))
}
