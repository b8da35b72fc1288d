//! Recipes: the rules of one message or object, compiled for both ways.
//!
//! A rule relates a place of the old form to a place of the new one. Going one way, all values are
//! first taken out of the message (deepest places first), then put where they belong (shallowest
//! first); what no rule mentions stays where it is.

pub(crate) mod convert;
pub(crate) mod family;
pub(crate) mod rule;

use std::borrow::Cow;

use call::Side;
use declaration::Mismatch;
use declaration::expression::{ExpressionContext, over_a_message};
use declaration::place::MessagePlace;
use declaration::scope::Scope;
use rule::{Early, Rule};
use wire::json::Json;

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
    /// The rules over patterns of names, the most particular first, by the side they go toward.
    families: [Vec<usize>; 2],
}

impl Recipe {
    pub(crate) fn new(rules: Vec<Rule>, rest: Rest) -> Self {
        let order = [Side::Old, Side::New].map(|toward| {
            let mut order: Vec<usize> = (0..rules.len()).collect();
            let depth = |index: &usize| rules[*index].depth(toward.other());
            order.sort_by_key(|index| std::cmp::Reverse(depth(index)));
            order
        });
        let early = rules.iter().any(Rule::is_early);
        let has_body = |side: Side| rules.iter().any(|rule| rule.has_body(side));
        let body = [has_body(Side::Old), has_body(Side::New)];
        let families = [Side::Old, Side::New].map(|toward| family::order(&rules, toward));
        Self {
            rules,
            rest,
            order,
            early,
            body,
            families,
        }
    }

    /// Whether it needs the decoded body of a message on its way toward a side.
    pub(crate) fn needs_body(&self) -> bool {
        self.body[0] || self.body[1] || self.rest != Rest::Keep || self.uses("body")
    }

    /// Whether a query has to be taken apart.
    pub(crate) fn needs_query(&self) -> bool {
        self.uses("query")
            || self.uses("queries")
            || self
                .rules
                .iter()
                .any(|rule| rule.places().into_iter().any(MessagePlace::is_query))
    }

    /// The rules over patterns of names, the most particular first, on the way toward a side.
    pub(crate) fn families(&self, toward: Side) -> &[usize] {
        &self.families[toward as usize]
    }

    /// Whether an expression uses a variable.
    pub(crate) fn uses(&self, variable: &str) -> bool {
        self.rules.iter().any(|rule| rule.uses(variable))
    }

    /// Whether a rule takes the object at hand itself, which then may be any value.
    pub(crate) fn takes_any(&self) -> bool {
        let whole =
            |place: &MessagePlace| matches!(place, MessagePlace::Body(steps) if steps.is_empty());
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
        around: ExpressionContext<'_>,
    ) -> Result<(), Mismatch> {
        over_a_message(|| self.apply_all(scope, toward, around))
    }

    fn apply_all(
        &self,
        scope: &mut Scope,
        toward: Side,
        around: ExpressionContext<'_>,
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
        let families = &self.families[toward as usize];
        let found = if families.is_empty() {
            Vec::new()
        } else {
            family::find(&self.rules, families, scope, toward, around)?
        };
        let mut results: Vec<(usize, Cow<'_, MessagePlace>, Json)> =
            Vec::with_capacity(self.rules.len());
        for &index in &self.order[toward as usize] {
            let rule = &self.rules[index];
            let early = early
                .get_mut(index)
                .map_or(Early::Plain, |early| std::mem::replace(early, Early::Skip));
            rule.take(early, scope, toward, around, |place, value| {
                results.push((index, Cow::Borrowed(place), value));
            })
            .map_err(|mismatch| mismatch.within(&rule.name))?;
        }
        for found in found {
            let index = found.rule;
            let rule = &self.rules[index];
            let taken = family::take(rule, found, scope, toward, around);
            if let Some((place, value)) = taken.map_err(|mismatch| mismatch.within(&rule.name))? {
                results.push((index, Cow::Owned(place), value));
            }
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
            let put = scope.put(&place, value);
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
