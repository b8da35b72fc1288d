//! Recipes: the rules of one message or object, compiled for both ways.
//!
//! A rule relates a place of the old form to a place of the new one. Going one way, all values are
//! first taken out of the message (deepest places first), then put where they belong (shallowest
//! first); what no rule mentions stays where it is.

use cel::Value;

use super::convert::{Convert, Way};
use super::error::Mismatch;
use super::expression::{Expression, Surroundings};
use super::place::Place;
use super::scope::Scope;
use crate::chain::Side;
use crate::json::Json;

/// A value for each side, where given.
pub(crate) type BySide<T> = [Option<T>; 2];

/// One rule.
#[derive(Debug)]
pub(crate) struct Rule {
    /// Its places, for messages and counters.
    pub(crate) name: String,
    /// Whether it applies, judged on the message it comes from, by that message's side.
    pub(crate) when: BySide<Expression>,
    pub(crate) action: Action,
}

/// What a rule does.
#[derive(Debug)]
pub(crate) enum Action {
    /// A value is at one place in the old form and at another in the new one.
    Pair {
        /// Old place, new place.
        places: [Place; 2],
        /// It may be absent or null.
        optional: bool,
        /// What stands in, at a side, for a value that the other side does not have.
        default: BySide<Json>,
        convert: Convert,
    },
    /// A value is in the form of one side only.
    Single {
        side: Side,
        place: Place,
        fill: Fill,
        /// Leaving out whatever it holds is declared to be right.
        lossy: bool,
        optional: bool,
    },
    /// Places of one side are computed from the message of the other.
    Group {
        /// What belongs to each side.
        places: [Vec<Place>; 2],
        /// How each side is computed.
        ways: [GroupWay; 2],
    },
    /// The message is refused.
    Refuse {
        /// Coming from this side.
        from: Side,
        /// Only where this is present.
        place: Option<Place>,
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
}

/// One way of a group.
#[derive(Debug)]
pub(crate) enum GroupWay {
    Compute(Vec<(Place, Expression)>),
    Refuse,
    Drop,
}

/// What happens to members that no rule mentions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Rest {
    /// They stay.
    #[default]
    Keep,
    /// They are left out.
    Drop,
    /// The message is refused.
    Refuse,
}

/// The rules of one message or object.
#[derive(Debug, Default)]
pub(crate) struct Recipe {
    rules: Vec<Rule>,
    rest: Rest,
    /// The order in which rules take, by the side they go toward.
    order: [Vec<usize>; 2],
    /// Whether expressions over the whole message are to be evaluated first.
    early: bool,
    /// Whether the form of a side has places in the body.
    body: [bool; 2],
}

/// What the expressions of a rule gave.
enum Early {
    Skip,
    Plain,
    Value(Option<Json>),
    Group(Vec<Json>),
}

impl Recipe {
    pub(crate) fn new(rules: Vec<Rule>, rest: Rest) -> Recipe {
        let order = [Side::Old, Side::New].map(|toward| {
            let mut order: Vec<usize> = (0..rules.len()).collect();
            let depth = |index: &usize| rules[*index].depth(toward.other());
            order.sort_by_key(|index| std::cmp::Reverse(depth(index)));
            order
        });
        let early = rules.iter().any(Rule::is_early);
        let has_body = |side: Side| rules.iter().any(|rule| rule.has_body(side));
        let body = [has_body(Side::Old), has_body(Side::New)];
        Recipe {
            rules,
            rest,
            order,
            early,
            body,
        }
    }

    /// Whether it needs the decoded body of a message on its way toward a side.
    pub(crate) fn needs_body(&self) -> bool {
        self.body[0] || self.body[1] || self.rest != Rest::Keep || self.uses("body")
    }

    /// Whether a query has to be taken apart.
    pub(crate) fn needs_query(&self) -> bool {
        let query = |place: &Place| matches!(place, Place::Query(_) | Place::QueryAll(_));
        self.uses("query")
            || self
                .rules
                .iter()
                .any(|rule| rule.places().into_iter().any(query))
    }

    /// Whether an expression uses a variable.
    pub(crate) fn uses(&self, variable: &str) -> bool {
        self.rules.iter().any(|rule| rule.uses(variable))
    }

    /// Whether a rule takes the object at hand itself, which then may be any value.
    pub(crate) fn takes_any(&self) -> bool {
        let whole = |place: &Place| matches!(place, Place::Body(steps) if steps.is_empty());
        self.rules
            .iter()
            .any(|rule| rule.places().into_iter().any(whole))
    }

    pub(crate) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Turns a message of the other side's form into one of this side's.
    pub(crate) fn apply(
        &self,
        scope: &mut Scope,
        toward: Side,
        around: Surroundings<'_>,
    ) -> Result<(), Mismatch> {
        let had_members = matches!(&scope.body, Some(Json::Object(members)) if !members.is_empty());
        let mut early = Vec::new();
        if self.early {
            early.reserve(self.rules.len());
            for rule in &self.rules {
                early.push(
                    rule.early(scope, toward, around)
                        .map_err(|m| m.within(&rule.name))?,
                );
            }
        }
        let mut results: Vec<(usize, &Place, Json)> = Vec::with_capacity(self.rules.len());
        for &index in &self.order[toward as usize] {
            let rule = &self.rules[index];
            let early = early
                .get_mut(index)
                .map_or(Early::Plain, |early| std::mem::replace(early, Early::Skip));
            rule.take(early, scope, toward, around, |place, value| {
                results.push((index, place, value));
            })
            .map_err(|mismatch| mismatch.within(&rule.name))?;
        }
        self.settle_rest(scope)?;
        if had_members
            && !self.body[toward as usize]
            && scope.body.as_ref().is_some_and(Json::is_vacant)
        {
            scope.body = None;
        }
        results.sort_by_key(|(index, place, _)| (place.depth(), *index));
        for (index, place, value) in results {
            let put = scope.put(place, value);
            put.map_err(|mismatch| mismatch.within(&self.rules[index].name))?;
        }
        Ok(())
    }

    fn settle_rest(&self, scope: &mut Scope) -> Result<(), Mismatch> {
        let Some(Json::Object(members)) = &mut scope.body else {
            return Ok(());
        };
        match self.rest {
            Rest::Keep => Ok(()),
            Rest::Drop => {
                members.clear();
                Ok(())
            }
            Rest::Refuse if members.is_empty() => Ok(()),
            Rest::Refuse => {
                Err(Mismatch::new("it has members that the lens does not mention").within("rest"))
            }
        }
    }
}

impl Rule {
    /// All places of its two forms.
    pub(crate) fn places(&self) -> Vec<&Place> {
        let mut places = self.places_of(Side::Old);
        places.extend(self.places_of(Side::New));
        places
    }

    /// The places that it takes from, or puts to, in the form of a side.
    pub(crate) fn places_of(&self, side: Side) -> Vec<&Place> {
        match &self.action {
            Action::Pair { places, .. } => vec![&places[side as usize]],
            Action::Single {
                side: own, place, ..
            } if *own == side => vec![place],
            Action::Group { places, .. } => places[side as usize].iter().collect(),
            Action::Refuse {
                from,
                place: Some(place),
                ..
            } if *from == side => vec![place],
            _ => Vec::new(),
        }
    }

    fn depth(&self, side: Side) -> usize {
        self.places_of(side)
            .into_iter()
            .map(Place::depth)
            .max()
            .unwrap_or(0)
    }

    fn has_body(&self, side: Side) -> bool {
        self.places_of(side).into_iter().any(Place::is_body)
    }

    fn is_early(&self) -> bool {
        self.when.iter().any(Option::is_some)
            || match &self.action {
                Action::Pair { convert, .. } => matches!(convert, Convert::Compute { .. }),
                Action::Group { .. } | Action::Refuse { .. } => true,
                Action::Single { .. } => false,
            }
    }

    fn uses(&self, variable: &str) -> bool {
        let of_way = |way: &Way| matches!(way, Way::Expression(e) if e.uses(variable));
        self.when.iter().flatten().any(|when| when.uses(variable))
            || match &self.action {
                Action::Pair { convert: Convert::Compute { to_new, to_old }, .. } => {
                    of_way(to_new) || of_way(to_old)
                }
                Action::Pair { convert, .. } => convert.uses(variable),
                Action::Group { ways, .. } => ways.iter().any(|way| {
                    matches!(way, GroupWay::Compute(all) if all.iter().any(|(_, e)| e.uses(variable)))
                }),
                _ => false,
            }
    }

    /// What must be known of the message before anything is taken out of it.
    fn early(
        &self,
        scope: &Scope,
        toward: Side,
        around: Surroundings<'_>,
    ) -> Result<Early, Mismatch> {
        let from = toward.other();
        if let Some(when) = &self.when[from as usize]
            && !when.holds(scope, around)?
        {
            return Ok(Early::Skip);
        }
        match &self.action {
            Action::Pair {
                places,
                convert: convert @ Convert::Compute { .. },
                ..
            } => match scope.get(&places[from as usize])? {
                Some(value) => convert
                    .compute(scope, value, toward, around)
                    .map(Early::Value),
                None => Ok(Early::Plain),
            },
            Action::Group { ways, .. } => match &ways[toward as usize] {
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
            Action::Refuse {
                from: side,
                place,
                declared,
            } if *side == from => {
                let present = match place {
                    Some(place) => scope.get(place)?.is_some(),
                    None => true,
                };
                if present {
                    let what = "the lens says so".to_owned();
                    return Err(Mismatch {
                        rule: String::new(),
                        what,
                        declared: Some(*declared),
                    });
                }
                Ok(Early::Skip)
            }
            _ => Ok(Early::Plain),
        }
    }

    /// Takes its values out of the message and gives the converted ones to `put`.
    fn take<'r>(
        &'r self,
        early: Early,
        scope: &mut Scope,
        toward: Side,
        around: Surroundings<'_>,
        mut put: impl FnMut(&'r Place, Json),
    ) -> Result<(), Mismatch> {
        if matches!(early, Early::Skip) {
            return Ok(());
        }
        let from = toward.other();
        match &self.action {
            Action::Pair {
                places,
                optional,
                default,
                convert,
            } => {
                let target = &places[toward as usize];
                let value = match (scope.take(&places[from as usize])?, early) {
                    (Some(_), Early::Value(value)) => value,
                    (Some(Json::Null), _) if *optional => Some(Json::Null),
                    (Some(value), _) => convert.apply(value, toward, around)?,
                    (None, _) => match &default[toward as usize] {
                        Some(default) => Some(default.clone()),
                        None if *optional => None,
                        None => return Err(Mismatch::new("it is missing")),
                    },
                };
                if let Some(value) = value {
                    put(target, value);
                }
            }
            Action::Single {
                side,
                place,
                fill,
                optional,
                ..
            } if *side == toward => match fill {
                Fill::Nothing => {}
                Fill::Value(value) => put(place, value.clone()),
                Fill::Echo(index, convert) => {
                    match around.echoes.get(*index).and_then(Option::as_ref) {
                        Some(value) => {
                            if let Some(value) = convert.apply(value.clone(), Side::New, around)? {
                                put(place, value);
                            }
                        }
                        None if *optional => {}
                        None => return Err(Mismatch::new("the request does not have it")),
                    }
                }
            },
            Action::Single {
                place, fill, lossy, ..
            } => {
                let found = scope.take(place)?;
                if let (Some(found), Fill::Value(value), false) = (found, fill, lossy)
                    && found != *value
                {
                    let what = format!("the {} version knows only {value}", toward.name());
                    return Err(Mismatch::new(what));
                }
            }
            Action::Group { places, ways } => {
                for place in &places[from as usize] {
                    scope.take(place)?;
                }
                if let (GroupWay::Compute(all), Early::Group(values)) =
                    (&ways[toward as usize], early)
                {
                    for ((place, _), value) in all.iter().zip(values) {
                        put(place, value);
                    }
                }
            }
            Action::Refuse { .. } => {}
        }
        Ok(())
    }
}

impl Convert {
    /// Whether an expression inside uses a variable of the call.
    pub(crate) fn uses(&self, variable: &str) -> bool {
        match self {
            Convert::Each(inner) | Convert::Values(inner) => inner.uses(variable),
            Convert::Steps(steps) => steps.iter().any(|step| step.uses(variable)),
            Convert::Fields(recipe) => recipe.uses(variable),
            Convert::Compute { to_new, to_old } => [to_new, to_old]
                .into_iter()
                .any(|way| matches!(way, Way::Expression(e) if e.uses(variable))),
            _ => false,
        }
    }
}

/// The caller's request as answers need it.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    pub(crate) echoes: Vec<Option<Json>>,
    pub(crate) request: Option<Value>,
}
