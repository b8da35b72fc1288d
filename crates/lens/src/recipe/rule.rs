//! Rules: one relation each between the old and the new form of a message.

use cel::Value;

use crate::recipe::convert::{Convert, ConvertWay};
use call::Side;
use declaration::Mismatch;
use declaration::expression::{ExpressionContext, MeteredExpression};
use declaration::lookup::LookupAnswers;
use declaration::pattern::Pattern;
use declaration::place::MessagePlace;
use declaration::reader::Origin;
use declaration::scope::Scope;
use wire::json::Json;

/// A value for each side, where given.
pub(crate) type BySide<T> = [Option<T>; 2];

/// One rule.
#[derive(Debug)]
pub(crate) struct Rule {
    /// Where it is written.
    pub(crate) origin: Origin,
    /// Its places, for messages and counters.
    pub(crate) name: String,
    /// Whether it applies, judged on the message it comes from, by that message's side.
    pub(crate) when: BySide<MeteredExpression>,
    /// Whether it is for all names of a form.
    pub(crate) family: bool,
    pub(crate) action: RuleAction,
}

/// What a rule does.
#[derive(Debug)]
pub(crate) enum RuleAction {
    /// A value is at one place in the old form and at another in the new one.
    Pair {
        /// Old place, new place.
        places: [MessagePlace; 2],
        /// It may be absent or null.
        optional: bool,
        /// What stands in, at a side, for a value that the other side does not have.
        default: BySide<Json>,
        convert: Box<Convert>,
    },
    /// A value is in the form of one side only.
    Single {
        side: Side,
        place: MessagePlace,
        fill: Fill,
        /// Leaving out whatever it holds is declared to be right.
        lossy: bool,
        optional: bool,
    },
    /// Places of one side are computed from the message of the other.
    Group {
        /// What belongs to each side.
        places: [Vec<MessagePlace>; 2],
        /// How each side is computed.
        ways: [GroupWay; 2],
    },
    /// The message is refused.
    Refuse {
        /// Coming from this side.
        from: Side,
        /// Only where this is present.
        place: Option<MessagePlace>,
        /// Which of the lens' declared refusals.
        declared: usize,
    },
}

/// What a one-sided place is given.
#[derive(Debug)]
pub(crate) enum Fill {
    /// Nothing.
    Nothing,
    /// Always the same.
    Value(Json),
    /// A value of the caller's request, by its number among the operation's echoes.
    Echo(usize, Box<Convert>),
    /// What a look-up found, by the look-up's name and the place in its body.
    Found(String, Vec<String>, Box<Convert>),
}

/// One way of a group.
#[derive(Debug)]
pub(crate) enum GroupWay {
    Compute(Vec<(MessagePlace, MeteredExpression)>),
    Refuse,
    Drop,
}

impl GroupWay {
    fn uses(&self, variable: &str) -> bool {
        matches!(self, Self::Compute(all) if all.iter().any(|(_, e)| e.uses(variable)))
    }
}

/// What the expressions of a rule gave.
pub(crate) enum Early {
    Skip,
    Plain,
    Value(Option<Json>),
    Group(Vec<Json>),
}

impl Rule {
    /// All places of its two forms.
    pub(crate) fn places(&self) -> Vec<&MessagePlace> {
        let mut places = self.places_of(Side::Old);
        places.extend(self.places_of(Side::New));
        places
    }

    /// The places that it takes from, or puts to, in the form of a side.
    pub(crate) fn places_of(&self, side: Side) -> Vec<&MessagePlace> {
        match &self.action {
            RuleAction::Pair { places, .. } => vec![&places[side as usize]],
            RuleAction::Single {
                side: own, place, ..
            } if *own == side => vec![place],
            RuleAction::Group { places, .. } => places[side as usize].iter().collect(),
            RuleAction::Refuse {
                from,
                place: Some(place),
                ..
            } if *from == side => vec![place],
            _ => Vec::new(),
        }
    }

    /// The pattern of names that it is for, in the form of a side.
    pub(crate) fn pattern(&self, side: Side) -> Option<&Pattern> {
        self.places_of(side)
            .into_iter()
            .find_map(MessagePlace::pattern)
    }

    pub(crate) fn depth(&self, side: Side) -> usize {
        self.places_of(side)
            .into_iter()
            .map(MessagePlace::depth)
            .max()
            .unwrap_or(0)
    }

    pub(crate) fn has_body(&self, side: Side) -> bool {
        self.places_of(side).into_iter().any(MessagePlace::is_body)
    }

    pub(crate) fn is_early(&self) -> bool {
        if self.family {
            return false;
        }
        self.when.iter().any(Option::is_some)
            || match &self.action {
                RuleAction::Pair { convert, .. } => convert.is_computed(),
                RuleAction::Group { .. } | RuleAction::Refuse { .. } => true,
                RuleAction::Single { .. } => false,
            }
    }

    pub(crate) fn uses(&self, variable: &str) -> bool {
        self.when.iter().flatten().any(|when| when.uses(variable))
            || match &self.action {
                RuleAction::Pair { convert, .. } => convert.uses(variable),
                RuleAction::Group { ways, .. } => ways.iter().any(|way| way.uses(variable)),
                _ => false,
            }
    }

    /// Whether an expression uses a variable on the way toward a side.
    pub(crate) fn uses_toward(&self, variable: &str, toward: Side) -> bool {
        let when = &self.when[toward.other() as usize];
        when.as_ref().is_some_and(|when| when.uses(variable))
            || match &self.action {
                RuleAction::Pair { convert, .. } => convert.uses(variable),
                RuleAction::Group { ways, .. } => ways[toward as usize].uses(variable),
                _ => false,
            }
    }

    /// What must be known of the message before anything is taken out of it.
    pub(crate) fn early(
        &self,
        scope: &Scope,
        toward: Side,
        around: ExpressionContext<'_>,
    ) -> Result<Early, Mismatch> {
        let from = toward.other();
        if self.family {
            return Ok(Early::Skip);
        }
        // Its condition may be about the place that it refuses.
        if let RuleAction::Refuse {
            place: Some(place), ..
        } = &self.action
            && scope.get(place)?.is_none()
        {
            return Ok(Early::Skip);
        }
        if let Some(when) = &self.when[from as usize]
            && !when.holds(scope, around)?
        {
            return Ok(Early::Skip);
        }
        match &self.action {
            RuleAction::Pair {
                places,
                convert,
                optional,
                ..
            } if convert.is_computed() => match scope.get(&places[from as usize])? {
                // What may be absent may be null, which stays what it is.
                Some(Json::Null) if *optional => Ok(Early::Plain),
                Some(value) => convert
                    .compute(scope, value, toward, around)
                    .map(Early::Value),
                None => Ok(Early::Plain),
            },
            RuleAction::Group { ways, places } => match &ways[toward as usize] {
                GroupWay::Refuse if absent(&places[from as usize], scope)? => Ok(Early::Skip),
                GroupWay::Drop => Ok(Early::Group(Vec::new())),
                GroupWay::Refuse => Err(Mismatch::new(format!(
                    "it cannot be expressed at the {} version",
                    toward.name()
                ))),
                GroupWay::Compute(all) => {
                    let values = all.iter().map(|(_, e)| e.evaluate(scope, None, around));
                    values.collect::<Result<_, _>>().map(Early::Group)
                }
            },
            RuleAction::Refuse {
                from: side,
                declared,
                ..
            } if *side == from => {
                let what = "the lens says so".to_owned();
                Err(Mismatch {
                    rule: String::new(),
                    what,
                    declared: Some(*declared),
                })
            }
            _ => Ok(Early::Plain),
        }
    }

    /// Takes its values out of the message and gives the converted ones to `put`.
    pub(crate) fn take<'r>(
        &'r self,
        early: Early,
        scope: &mut Scope,
        toward: Side,
        around: ExpressionContext<'_>,
        mut put: impl FnMut(&'r MessagePlace, Json),
    ) -> Result<(), Mismatch> {
        if matches!(early, Early::Skip) || self.family {
            return Ok(());
        }
        let from = toward.other();
        match &self.action {
            RuleAction::Pair {
                places,
                optional,
                default,
                convert,
            } => {
                let found = scope.take(&places[from as usize])?;
                let default = default[toward as usize].as_ref();
                let value = paired(convert, found, early, *optional, default, toward, around)?;
                if let Some(value) = value {
                    put(&places[toward as usize], value);
                }
            }
            RuleAction::Single {
                side,
                place,
                fill,
                optional,
                ..
            } if *side == toward => {
                if let Some(value) = fill.value(*optional, toward, around)? {
                    put(place, value);
                }
            }
            RuleAction::Single {
                place, fill, lossy, ..
            } => {
                let found = scope.take(place)?;
                if let (Some(found), Fill::Value(value), false) = (found, fill, lossy)
                    && found.decoded() != *value
                {
                    let what = format!("the {} version knows only {value}", toward.name());
                    return Err(Mismatch::new(what));
                }
            }
            RuleAction::Group { places, ways } => {
                for place in &places[from as usize] {
                    scope.take(place)?;
                }
                if let (GroupWay::Compute(all), Early::Group(values)) =
                    (&ways[toward as usize], early)
                {
                    for ((place, _), value) in all.iter().zip(values) {
                        // Only bodies know null: elsewhere it means that nothing is there.
                        if place.is_body() || value != Json::Null {
                            put(place, value);
                        }
                    }
                }
            }
            RuleAction::Refuse { .. } => {}
        }
        Ok(())
    }
}

/// Whether none of some places, where there are any, has a value.
fn absent(places: &[MessagePlace], scope: &Scope) -> Result<bool, Mismatch> {
    for place in places {
        if scope.get(place)?.is_some() {
            return Ok(false);
        }
    }
    Ok(!places.is_empty())
}

/// The value that a pair has at the other version.
fn paired(
    convert: &Convert,
    found: Option<Json>,
    early: Early,
    optional: bool,
    default: Option<&Json>,
    toward: Side,
    around: ExpressionContext<'_>,
) -> Result<Option<Json>, Mismatch> {
    match (found, early) {
        (Some(_), Early::Value(value)) => Ok(value),
        (Some(Json::Null), _) if optional => Ok(Some(Json::Null)),
        (Some(value), _) => convert.apply(value, toward, around),
        (None, _) if default.is_some() || optional => Ok(default.cloned()),
        (None, _) => Err(Mismatch::new("it is missing")),
    }
}

impl Fill {
    /// What a one-sided place is given.
    fn value(
        &self,
        optional: bool,
        toward: Side,
        around: ExpressionContext<'_>,
    ) -> Result<Option<Json>, Mismatch> {
        match self {
            Self::Nothing => Ok(None),
            Self::Value(value) => Ok(Some(value.clone())),
            Self::Echo(index, convert) => {
                match around.echoes.get(*index).and_then(Option::as_ref) {
                    Some(value) => convert.apply(value.clone(), Side::New, around),
                    None if optional => Ok(None),
                    None => Err(Mismatch::new("the request does not have it")),
                }
            }
            // What the software said is in its own form, as the rest of its answer.
            Self::Found(name, steps, convert) => {
                let found = match around.lookup {
                    Some(answers) => answers.get(name, steps)?,
                    None => None,
                };
                match found {
                    Some(value) => convert.apply(value, toward, around),
                    None if optional => Ok(None),
                    None => Err(Mismatch::new("the look-up's answer does not have it")),
                }
            }
        }
    }
}

impl Convert {
    pub(crate) fn is_computed(&self) -> bool {
        matches!(self, Self::Compute { .. })
    }

    /// Whether an expression inside uses a variable of the call.
    pub(crate) fn uses(&self, variable: &str) -> bool {
        match self {
            Self::Each(inner) | Self::Values(inner) => inner.uses(variable),
            Self::Steps(steps) => steps.iter().any(|step| step.uses(variable)),
            Self::Fields(recipe) | Self::Everywhere(recipe) => recipe.uses(variable),
            Self::Compute { to_new, to_old } => [to_new, to_old]
                .into_iter()
                .any(|way| matches!(way, ConvertWay::Expression(e) if e.uses(variable))),
            _ => false,
        }
    }
}

/// The caller's request as answers need it.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    pub(crate) echoes: Vec<Option<Json>>,
    pub(crate) request: Option<Value>,
    pub(crate) lookup: Option<LookupAnswers>,
}
