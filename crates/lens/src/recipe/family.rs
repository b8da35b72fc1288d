//! Rules over patterns of names: which names of a message they are for, and what becomes of them.
//!
//! A name belongs to the most particular rule whose pattern it fits and whose condition holds; one
//! that another rule names in full belongs to that rule.

use crate::recipe::rule::{Rule, RuleAction};
use call::Side;
use declaration::Mismatch;
use declaration::expression::ExpressionContext;
use declaration::place::MessagePlace;
use declaration::scope::Scope;
use wire::json::Json;

/// A name in a message, and the rule that it belongs to.
pub(crate) struct FoundName {
    pub(crate) rule: usize,
    /// What stands in the pattern's hole.
    pub(crate) name: String,
    /// What an expression made of the value, if one does.
    pub(crate) computed: Option<Option<Json>>,
}

/// The rules over patterns on the way toward a side, the most particular first.
pub(crate) fn order(rules: &[Rule], toward: Side) -> Vec<usize> {
    let given = |index: &usize| rules[*index].pattern(toward.other()).map(|p| p.given());
    let mut order: Vec<usize> = (0..rules.len()).filter(|i| given(i).is_some()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(given(index)));
    order
}

/// The names of a message that belong to rules over patterns, judged before anything is taken.
pub(crate) fn find(
    rules: &[Rule],
    order: &[usize],
    scope: &Scope,
    toward: Side,
    around: ExpressionContext<'_>,
) -> Result<Vec<FoundName>, Mismatch> {
    let from = toward.other();
    let mut taken: Vec<MessagePlace> = Vec::new();
    let mut all = Vec::new();
    for &index in order {
        let rule = &rules[index];
        for place in rule.places_of(from) {
            for name in scope.names(place) {
                let own = place.filled(&name);
                if taken.contains(&own) || is_named(rules, from, &own) {
                    continue;
                }
                let around = ExpressionContext {
                    name: Some(&name),
                    ..around
                };
                let computed = judge(rule, &own, scope, toward, around)
                    .map_err(|mismatch| mismatch.within(&rule.name))?;
                if let Some(computed) = computed {
                    taken.push(own);
                    all.push(FoundName {
                        rule: index,
                        name,
                        computed,
                    });
                }
            }
        }
    }
    Ok(all)
}

/// Whether a rule names the place, or something inside it.
fn is_named(rules: &[Rule], from: Side, own: &MessagePlace) -> bool {
    let names = |place: &MessagePlace| match (place, own) {
        (MessagePlace::Body(steps), MessagePlace::Body(own)) => steps.starts_with(own),
        (MessagePlace::Query(name) | MessagePlace::QueryAll(name), MessagePlace::Query(own)) => {
            name == own
        }
        _ => false,
    };
    rules
        .iter()
        .any(|rule| rule.places_of(from).into_iter().any(names))
}

/// `None` if the name at hand does not belong to the rule; else what an expression makes of it.
fn judge(
    rule: &Rule,
    own: &MessagePlace,
    scope: &Scope,
    toward: Side,
    around: ExpressionContext<'_>,
) -> Result<Option<Option<Option<Json>>>, Mismatch> {
    let value = scope.get(own)?;
    if let Some(when) = &rule.when[toward.other() as usize]
        && !when.holds_for(scope, value.as_ref(), around)?
    {
        return Ok(None);
    }
    match (&rule.action, value) {
        (RuleAction::Refuse { declared, .. }, _) => Err(Mismatch {
            rule: String::new(),
            what: "the lens says so".to_owned(),
            declared: Some(*declared),
        }),
        // A name that may be absent may be null, which stays what it is.
        (RuleAction::Pair { .. }, Some(Json::Null)) => Ok(Some(None)),
        (RuleAction::Pair { convert, .. }, Some(value)) if convert.is_computed() => {
            let computed = convert.compute(scope, value, toward, around)?;
            Ok(Some(Some(computed)))
        }
        _ => Ok(Some(None)),
    }
}

/// Takes one name's value, and gives what becomes of it.
pub(crate) fn take(
    rule: &Rule,
    found: FoundName,
    scope: &mut Scope,
    toward: Side,
    around: ExpressionContext<'_>,
) -> Result<Option<(MessagePlace, Json)>, Mismatch> {
    let name = found.name.as_str();
    let around = ExpressionContext {
        name: Some(name),
        ..around
    };
    match &rule.action {
        RuleAction::Pair {
            places, convert, ..
        } => {
            let taken = scope.take(&places[toward.other() as usize].filled(name))?;
            let value = match (taken, found.computed) {
                (None, _) => None,
                (Some(_), Some(computed)) => computed,
                (Some(Json::Null), None) => Some(Json::Null),
                (Some(value), None) => convert.apply(value, toward, around)?,
            };
            Ok(value.map(|value| (places[toward as usize].filled(name), value)))
        }
        RuleAction::Single { place, .. } => {
            scope.take(&place.filled(name))?;
            Ok(None)
        }
        RuleAction::Group { .. } | RuleAction::Refuse { .. } => Ok(None),
    }
}
