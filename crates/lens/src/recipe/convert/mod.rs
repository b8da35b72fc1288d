//! Converters: what happens to a value between its place at one version and its place at the other.
//! Each knows both ways, and refuses what it could not bring back.

mod entries;
mod number;
mod table;
mod time;
mod types;

pub(crate) use entries::Entries;
pub(crate) use number::{Rounding, Scale};
pub(crate) use table::ValueTable;
pub(crate) use time::{Time, TimeForm};
pub(crate) use types::ValueType;

use super::Recipe;
use call::Side;
use declaration::Mismatch;
use declaration::expression::{ExpressionContext, MeteredExpression};
use declaration::scope::Scope;
use wire::json::Json;

/// How a value changes between the versions.
#[derive(Debug)]
pub(crate) enum Convert {
    /// Not at all.
    Same,
    /// By a table.
    Map(ValueTable),
    /// From one JSON type to another: old, new.
    Types(ValueType, ValueType),
    /// By a factor.
    Scale(Scale),
    /// Between two forms of a time.
    Time(Time),
    /// The given side has an array with the value as its only item.
    Wrap(Side),
    /// Each item of an array.
    Each(Box<Self>),
    /// Each member's value of an object.
    Values(Box<Self>),
    /// The members of an object, by rules of their own.
    Fields(Box<Recipe>),
    /// The members of all objects in a value, however deep, by rules of their own.
    Everywhere(Box<Recipe>),
    /// An object whose members' names become a field of an array's items.
    Entries(Entries),
    /// One after the other, written from old to new.
    Steps(Vec<Self>),
    /// By expressions.
    Compute {
        /// From old to new.
        to_new: ConvertWay,
        /// From new to old.
        to_old: ConvertWay,
    },
}

/// One way of a computed value.
#[derive(Debug)]
pub(crate) enum ConvertWay {
    /// Computed.
    Expression(MeteredExpression),
    /// Declared impossible.
    Refuse,
    /// Left out.
    Drop,
}

impl Convert {
    /// The value as the other version has it; `None` where it is declared to be left out.
    pub(crate) fn apply(
        &self,
        value: Json,
        toward: Side,
        around: ExpressionContext<'_>,
    ) -> Result<Option<Json>, Mismatch> {
        let value = self.decoded(value);
        Ok(Some(match self {
            Self::Same => value,
            Self::Map(table) => table.apply(&value, toward)?,
            Self::Types(old, new) => match toward {
                Side::New => types::convert(value, *old, *new)?,
                Side::Old => types::convert(value, *new, *old)?,
            },
            Self::Scale(scale) => scale.apply(&value, toward)?,
            Self::Time(time) => time.apply(&value, toward)?,
            Self::Wrap(side) if *side == toward => Json::Array(vec![value]),
            Self::Wrap(_) => unwrap(value)?,
            Self::Each(convert) => Json::Array(each(convert, value, toward, around)?),
            Self::Values(convert) => Json::Object(values(convert, value, toward, around)?),
            Self::Fields(recipe) => {
                if !matches!(value, Json::Object(_)) && !recipe.takes_any() {
                    return Err(wanted("an object", &value));
                }
                let mut scope = Scope::inner(value);
                recipe.apply(&mut scope, toward, around)?;
                return Ok(scope.body);
            }
            Self::Everywhere(recipe) => everywhere(recipe, value, toward, around)?,
            Self::Entries(entries) => entries.apply(value, toward)?,
            Self::Steps(steps) => return through(steps, value, toward, around),
            Self::Compute { .. } => {
                return self.compute(&Scope::default(), value, toward, around);
            }
        }))
    }

    /// The value, decoded as far as this needs it.
    fn decoded(&self, mut value: Json) -> Json {
        match self {
            Self::Same | Self::Steps(_) => value,
            Self::Wrap(_) | Self::Each(_) | Self::Values(_) | Self::Fields(_) => {
                value.open();
                value
            }
            _ => value.decoded(),
        }
    }

    /// A computed value, over the message it belongs to.
    pub(crate) fn compute(
        &self,
        scope: &Scope,
        value: Json,
        toward: Side,
        around: ExpressionContext<'_>,
    ) -> Result<Option<Json>, Mismatch> {
        let Self::Compute { to_new, to_old } = self else {
            return self.apply(value, toward, around);
        };
        match if toward == Side::New { to_new } else { to_old } {
            ConvertWay::Expression(expression) => {
                expression.evaluate(scope, Some(&value), around).map(Some)
            }
            ConvertWay::Drop => Ok(None),
            ConvertWay::Refuse => Err(Mismatch::new(format!(
                "it cannot be expressed at the {} version",
                toward.name()
            ))),
        }
    }
}

fn wanted(what: &str, found: &Json) -> Mismatch {
    Mismatch::new(format!("{what} is needed, not {}", found.kind()))
}

fn unwrap(value: Json) -> Result<Json, Mismatch> {
    match value {
        Json::Array(mut items) if items.len() == 1 => Ok(items.remove(0)),
        Json::Array(items) => Err(Mismatch::new(format!(
            "an array with one item is needed, not {}",
            items.len()
        ))),
        other => Err(wanted("an array", &other)),
    }
}

fn each(
    convert: &Convert,
    value: Json,
    toward: Side,
    around: ExpressionContext<'_>,
) -> Result<Vec<Json>, Mismatch> {
    let Json::Array(items) = value else {
        return Err(wanted("an array", &value));
    };
    let mut converted = Vec::with_capacity(items.len());
    for item in items {
        converted.extend(convert.apply(item, toward, around)?);
    }
    Ok(converted)
}

/// The innermost objects first, so that rules see members as they have become.
fn everywhere(
    recipe: &Recipe,
    value: Json,
    toward: Side,
    around: ExpressionContext<'_>,
) -> Result<Json, Mismatch> {
    match value {
        Json::Array(items) => {
            let items = items.into_iter();
            let items = items.map(|item| everywhere(recipe, item, toward, around));
            Ok(Json::Array(items.collect::<Result<_, _>>()?))
        }
        Json::Object(members) => {
            let mut converted = Vec::with_capacity(members.len());
            for (name, member) in members {
                converted.push((name, everywhere(recipe, member, toward, around)?));
            }
            let mut scope = Scope::inner(Json::Object(converted));
            recipe.apply(&mut scope, toward, around)?;
            Ok(scope.body.unwrap_or_else(|| Json::Object(Vec::new())))
        }
        other => Ok(other),
    }
}

fn values(
    convert: &Convert,
    value: Json,
    toward: Side,
    around: ExpressionContext<'_>,
) -> Result<Vec<(String, Json)>, Mismatch> {
    let Json::Object(members) = value else {
        return Err(wanted("an object", &value));
    };
    let mut converted = Vec::with_capacity(members.len());
    for (name, member) in members {
        if let Some(member) = convert.apply(member, toward, around)? {
            converted.push((name, member));
        }
    }
    Ok(converted)
}

fn through(
    steps: &[Convert],
    value: Json,
    toward: Side,
    around: ExpressionContext<'_>,
) -> Result<Option<Json>, Mismatch> {
    let mut value = Some(value);
    for index in 0..steps.len() {
        let step = match toward {
            Side::New => &steps[index],
            Side::Old => &steps[steps.len() - 1 - index],
        };
        let Some(found) = value else { break };
        value = step.apply(found, toward, around)?;
    }
    Ok(value)
}
