//! Parses converters.

use super::rule::{self, RuleContext};
use super::{expression, word};
use crate::recipe::convert::{
    Convert, ConvertWay, Entries, Rounding, Scale, Time, TimeForm, ValueTable, ValueType,
};
use crate::recipe::{Recipe, Rest};
use call::Side;
use declaration::DeclarationError;
use declaration::reader::{Section, TomlNode};

/// The keys of which a converter is one.
const KINDS: [&str; 12] = [
    "map",
    "convert",
    "scale",
    "time",
    "wrap",
    "each",
    "values",
    "fields",
    "everywhere",
    "entries",
    "steps",
    "to_new",
];

/// Reads the converter of a rule (or of an item), the same if there is none.
pub(super) fn parse<'n>(
    section: &Section<'n>,
    rules: &mut RuleContext<'_, 'n>,
) -> Result<Convert, DeclarationError> {
    let both_types =
        |a: &str, b: &str| matches!((a, b), ("convert", "scale") | ("scale", "convert"));
    let present: Vec<&str> = KINDS.into_iter().filter(|kind| section.has(kind)).collect();
    if let [a, b, ..] = present[..]
        && !(present.len() == 2 && both_types(a, b))
    {
        let error = section.error(format!("`{a}` and `{b}` are two converters in one rule"));
        return Err(error.hint("write them as `steps = [{ … }, { … }]`, from old to new"));
    }
    let rest = rest(section)?;
    if section.has("rest")
        && !section.has("fields")
        && !section.has("each")
        && !section.has("values")
    {
        return Err(section.error("`rest` belongs to `fields`, `each` or `values`"));
    }
    let round = round(section)?;
    if section.has("round") && !section.has("scale") && !section.has("time") {
        return Err(section.error("`round` belongs to `scale` or `time`"));
    }
    let otherwise = section.get("otherwise");
    if let Some(node) = section.get("map") {
        return mapped(&node, otherwise, rules);
    }
    if let Some(node) = otherwise {
        return Err(node.error("`otherwise` belongs to `map`"));
    }
    let types = section
        .get("convert")
        .map(|node| types(&node))
        .transpose()?;
    if let Some(node) = section.get("scale") {
        return scale(&node, types, round).map(Convert::Scale);
    }
    if let Some([old, new]) = types {
        return Ok(Convert::Types(old, new));
    }
    if let Some(node) = section.get("time") {
        return time(&node, round).map(Convert::Time);
    }
    structural(section, rest, rules)
}

/// Converters that hold others, and computed ones.
fn structural<'n>(
    section: &Section<'n>,
    rest: Rest,
    rules: &mut RuleContext<'_, 'n>,
) -> Result<Convert, DeclarationError> {
    if let Some(node) = section.get("wrap") {
        return side(&node).map(Convert::Wrap);
    }
    if let Some(node) = section.get("each") {
        return inner(&node, rest, rules).map(|convert| Convert::Each(Box::new(convert)));
    }
    if let Some(node) = section.get("values") {
        return inner(&node, rest, rules).map(|convert| Convert::Values(Box::new(convert)));
    }
    if let Some(node) = section.get("fields") {
        return fields(&node, rest, rules);
    }
    if let Some(node) = section.get("everywhere") {
        return everywhere(&node, rules);
    }
    if let Some(node) = section.get("entries") {
        return entries(&node).map(Convert::Entries);
    }
    if let Some(node) = section.get("steps") {
        let steps = node.items()?;
        let steps = steps.iter().map(|step| inner(step, Rest::Keep, rules));
        return steps.collect::<Result<_, _>>().map(Convert::Steps);
    }
    let ways = (section.get("to_new"), section.get("to_old"));
    match ways {
        (None, None) => Ok(Convert::Same),
        (Some(to_new), Some(to_old)) => Ok(Convert::Compute {
            to_new: way(&to_new, rules)?,
            to_old: way(&to_old, rules)?,
        }),
        (Some(node), None) => Err(one_way(&node, "to_old")),
        (None, Some(node)) => Err(one_way(&node, "to_new")),
    }
}

/// A computed value without the way back.
pub(super) fn one_way(node: &TomlNode<'_>, missing: &str) -> DeclarationError {
    node.error(format!(
        "nothing says how to go back: `{missing}` is missing"
    ))
    .hint(format!(
        "give an expression, or declare `{missing} = \"refuse\"` or `\"drop\"`"
    ))
}

fn way(node: &TomlNode<'_>, rules: &RuleContext<'_, '_>) -> Result<ConvertWay, DeclarationError> {
    Ok(match node.text()? {
        "refuse" => ConvertWay::Refuse,
        "drop" => ConvertWay::Drop,
        _ => ConvertWay::Expression(expression(node, &rules.variables(true, rules.family))?),
    })
}

/// The converter of items: a table with a converter, or an array of rules for objects.
fn inner<'n>(
    node: &TomlNode<'n>,
    rest: Rest,
    rules: &mut RuleContext<'_, 'n>,
) -> Result<Convert, DeclarationError> {
    if node.is_array() {
        return fields(node, rest, rules);
    }
    let section = node.section()?;
    let convert = rules.nested(|rules| parse(&section, rules))?;
    section.finish()?;
    Ok(convert)
}

/// The rules of all objects inside, in place or by the name of a set.
fn everywhere<'n>(
    node: &TomlNode<'n>,
    rules: &mut RuleContext<'_, 'n>,
) -> Result<Convert, DeclarationError> {
    let named = if node.is_text() {
        rule::set(node, rules)?
    } else {
        node.clone()
    };
    if rules.sets >= rule::SETS_MAX {
        return Err(node.error("a set of rules stands inside itself"));
    }
    rules.sets += 1;
    let parsed = rules.nested(|rules| rule::parse_all(&named.items()?, rules));
    rules.sets -= 1;
    let recipe = Recipe::new(parsed?, Rest::Keep);
    if recipe.takes_any() {
        return Err(node.error("`.` would take the objects themselves; name their members"));
    }
    Ok(Convert::Everywhere(Box::new(recipe)))
}

fn fields<'n>(
    node: &TomlNode<'n>,
    rest: Rest,
    rules: &mut RuleContext<'_, 'n>,
) -> Result<Convert, DeclarationError> {
    let parsed = rules.nested(|rules| rule::parse_all(&node.items()?, rules))?;
    Ok(Convert::Fields(Box::new(Recipe::new(parsed, rest))))
}

/// What happens to members that no rule mentions.
pub(super) fn rest(section: &Section<'_>) -> Result<Rest, DeclarationError> {
    let Some(node) = section.get("rest") else {
        return Ok(Rest::Keep);
    };
    Ok(match word(&node, &["keep", "drop", "refuse"])? {
        "drop" => Rest::Drop,
        "refuse" => Rest::Refuse,
        _ => Rest::Keep,
    })
}

fn round(section: &Section<'_>) -> Result<Rounding, DeclarationError> {
    let Some(node) = section.get("round") else {
        return Ok(Rounding::Never);
    };
    Ok(match word(&node, &["down", "nearest"])? {
        "down" => Rounding::Down,
        _ => Rounding::Nearest,
    })
}

fn side(node: &TomlNode<'_>) -> Result<Side, DeclarationError> {
    Ok(if word(node, &["old", "new"])? == "old" {
        Side::Old
    } else {
        Side::New
    })
}

/// A table given by name, or in place.
fn mapped(
    node: &TomlNode<'_>,
    otherwise: Option<TomlNode<'_>>,
    rules: &RuleContext<'_, '_>,
) -> Result<Convert, DeclarationError> {
    let mut found = if node.is_text() {
        named(node, rules)?
    } else {
        table(node)?
    };
    if let Some(node) = otherwise {
        let sides = node.section()?;
        found.otherwise_old = sides.json("old")?;
        found.otherwise_new = sides.json("new")?;
        sides.finish()?;
    }
    Ok(Convert::Map(found))
}

fn named(node: &TomlNode<'_>, rules: &RuleContext<'_, '_>) -> Result<ValueTable, DeclarationError> {
    let name = node.text()?;
    let tables = &rules.shared.tables;
    tables.get(name).cloned().ok_or_else(|| {
        let error = node.error(format!("there is no table [map.{name}]"));
        let known: Vec<&str> = tables.keys().map(String::as_str).collect();
        match super::nearest(name, &known) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error,
        }
    })
}

/// `{ old = new, … }`, or `[[old, new], …]` where old values are not strings.
pub(super) fn table(node: &TomlNode<'_>) -> Result<ValueTable, DeclarationError> {
    use wire::json::Json;
    let mut table = ValueTable::default();
    let hint = "a table must be one to one; for what has no way back use `otherwise`, or \
                `to_new` and `to_old`";
    if node.is_table() {
        for (old, new) in node.section()?.nodes() {
            let added = table.add(Json::String(old), new.json()?);
            added.map_err(|message| new.error(message).hint(hint))?;
        }
        return Ok(table);
    }
    for pair in node.items()? {
        let items = pair.items()?;
        let [old, new] = &items[..] else {
            return Err(pair.error("a pair [old, new] was expected"));
        };
        let added = table.add(old.json()?, new.json()?);
        added.map_err(|message| pair.error(message).hint(hint))?;
    }
    Ok(table)
}

/// `[old, new]`, both of a few words.
fn pair<'t>(node: &TomlNode<'t>, known: &[&str]) -> Result<[&'t str; 2], DeclarationError> {
    match &node.items()?[..] {
        [old, new] => Ok([word(old, known)?, word(new, known)?]),
        _ => Err(node.error("[old, new] was expected")),
    }
}

fn types(node: &TomlNode<'_>) -> Result<[ValueType; 2], DeclarationError> {
    let names = pair(node, &ValueType::NAMES)?;
    match names.map(ValueType::parse) {
        [Some(old), Some(new)] => Ok([old, new]),
        _ => Err(node.error("unknown types")),
    }
}

fn time(node: &TomlNode<'_>, round: Rounding) -> Result<Time, DeclarationError> {
    let names = pair(node, &TimeForm::NAMES)?;
    match names.map(TimeForm::parse) {
        [Some(old), Some(new)] => Ok(Time { old, new, round }),
        _ => Err(node.error("unknown forms of a time")),
    }
}

/// An integer, or a fraction as in `"1/60"`.
fn scale(
    node: &TomlNode<'_>,
    types: Option<[ValueType; 2]>,
    round: Rounding,
) -> Result<Scale, DeclarationError> {
    let factors = if node.is_text() {
        let text = node.text()?;
        let (times, by) = text.split_once('/').unwrap_or((text, "1"));
        times.trim().parse().ok().zip(by.trim().parse().ok())
    } else {
        Some((node.integer()?, 1))
    };
    let Some((times, by)) = factors.filter(|(times, by): &(i64, i64)| *times > 0 && *by > 0) else {
        return Err(
            node.error("a positive integer or fraction was expected, as in 1000 or \"1/60\"")
        );
    };
    let types = types.unwrap_or([ValueType::Integer; 2]);
    if types
        .iter()
        .any(|t| matches!(t, ValueType::String | ValueType::Boolean))
    {
        let error = node.error("only numbers can be scaled");
        return Err(error.hint("convert strings in a step of their own"));
    }
    Ok(Scale {
        times,
        by,
        whole: types.map(|t| t == ValueType::Integer),
        round,
    })
}

fn entries(node: &TomlNode<'_>) -> Result<Entries, DeclarationError> {
    let section = node.section()?;
    let missing = |what: &str| node.error(format!("`entries` needs `{what}`"));
    let object = side(&section.get("object").ok_or_else(|| missing("object"))?)?;
    let key = section
        .text("key")?
        .ok_or_else(|| missing("key"))?
        .to_owned();
    let value = section.text("value")?.map(str::to_owned);
    section.finish()?;
    if value.as_ref() == Some(&key) {
        return Err(node.error("`key` and `value` are the same"));
    }
    Ok(Entries { object, key, value })
}
