//! What each rule found before, and what stands at its places afterwards.

use serde::Serialize;

use super::scopes::{ExplainedCaller, answer_scope, request_scope};
use crate::operation::{Alternative, LensOperation};
use crate::recipe::Recipe;
use crate::recipe::convert::Convert;
use crate::recipe::family;
use crate::recipe::rule::{Fill, Rule, RuleAction};
use crate::step::LensStep;
use call::{Refusal, Side};
use conversation::{Conversation, Headers, Reply, Request};
use declaration::expression::ExpressionContext;
use declaration::place::MessagePlace;
use declaration::scope::Scope;
use wire::json::Json;

/// Items of an array, and members of an object, whose inner rules are shown: the others go the same way.
const ITEMS_SHOWN_MAX: usize = 3;

/// What a rule did.
#[derive(Clone, Debug, Serialize)]
pub struct RuleSeen {
    /// Its line in the lens file.
    pub line: usize,
    /// The rule as it is written.
    pub rule: String,
    /// One word for what it did: `moved`, `unchanged`, `converted`, `computed`, `filled`, `dropped`, `absent`, `skipped`,
    /// `refused`, or `stopped` where the message was refused before.
    pub deed: &'static str,
    /// The places that it takes from, in the form that came, with their values.
    pub before: Vec<Placed>,
    /// The places that it puts to, in the other form, with their values; empty where the message was refused.
    pub after: Vec<Placed>,
    /// More in words: the condition that does not hold, why it refuses.
    pub note: Option<String>,
    /// The rules inside it, where it has some, by item.
    pub inside: Vec<Inside>,
}

/// A place and what is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Placed {
    /// The place, as rules write it.
    pub place: String,
    /// Its value as JSON; absent where nothing is there.
    pub value: Option<String>,
}

/// The rules inside a rule, for one item of an array, one member of an object, or an object itself.
#[derive(Clone, Debug, Serialize)]
pub struct Inside {
    /// Which: `[0]`, `.name`, or empty for an object itself.
    pub item: String,
    /// What they did.
    pub rules: Vec<RuleSeen>,
}

/// A message before and after, and which way it goes.
struct Passage<'a> {
    before: &'a Scope,
    /// `None` where the message was refused.
    after: Option<&'a Scope>,
    toward: Side,
    around: ExpressionContext<'a>,
    /// The refusal's rule, without its operation, and its reason.
    failed: Option<(&'a str, &'a str)>,
    /// It is an object inside a message: places are relative to it.
    relative: bool,
}

/// What the rules of a request did; `after` is what the next in the chain got.
pub(super) fn of_request(
    step: &LensStep,
    operation: &LensOperation,
    conversation: &Conversation,
    after: Option<&Request>,
    failed: Option<&Refusal>,
) -> Vec<RuleSeen> {
    let side = step.caller();
    let toward = side.other();
    let template = |side: Side| operation.templates[side as usize].as_ref();
    let text = operation.text;
    let before = request_scope(template(side), &conversation.sends, text[side as usize]);
    let after = after.map(|after| request_scope(template(toward), after, text[toward as usize]));
    let caller = ExplainedCaller::of(step, operation, conversation);
    let passage = Passage {
        before: &before,
        after: after.as_ref(),
        toward,
        around: caller.asked(),
        failed: failed.and_then(|refusal| inner_rule(refusal, operation)),
        relative: false,
    };
    recipe(&operation.request, &passage)
}

/// What the rules of an answer did.
pub(super) fn of_answer(
    step: &LensStep,
    operation: &LensOperation,
    alternative: &Alternative,
    conversation: &Conversation,
    answered: &Reply,
    failed: Option<&Refusal>,
) -> Vec<RuleSeen> {
    let toward = step.caller();
    let text = alternative.text;
    let from = toward.other() as usize;
    let before = answer_scope(&answered.headers, &answered.body, text[from]);
    let gets = &conversation.gets;
    let after = failed.is_none().then(|| {
        answer_scope(
            &gets.headers.clone().unwrap_or_default(),
            &gets.body.clone().unwrap_or_default(),
            text[toward as usize],
        )
    });
    let caller = ExplainedCaller::of(step, operation, conversation);
    let passage = Passage {
        before: &before,
        after: after.as_ref(),
        toward,
        around: caller.around(answered.status),
        failed: failed.and_then(|refusal| inner_rule(refusal, operation)),
        relative: false,
    };
    recipe(&alternative.recipe, &passage)
}

/// The rule of a refusal without the operation's name, and the reason.
fn inner_rule<'r>(refusal: &'r Refusal, operation: &LensOperation) -> Option<(&'r str, &'r str)> {
    let rule = refusal.rule.strip_prefix(operation.name.as_str())?;
    Some((rule.strip_prefix(": ")?, refusal.reason.as_str()))
}

fn recipe(recipe: &Recipe, passage: &Passage<'_>) -> Vec<RuleSeen> {
    let mut failed = passage.failed;
    let families = recipe.families(passage.toward);
    let named = family::find(
        recipe.rules(),
        families,
        passage.before,
        passage.toward,
        passage.around,
    );
    // Where one of them refuses, the message has no form at the other side, and the refusal says why.
    let named = named.unwrap_or_default();
    let mut seen = Vec::new();
    for (index, rule) in recipe.rules().iter().enumerate() {
        let own = named.iter().filter(|found| found.rule == index);
        let mut one = if rule.family {
            seen_family(rule, own.map(|found| found.name.as_str()), passage)
        } else {
            seen_rule(rule, passage)
        };
        let is_it = |(name, _): &(&str, &str)| {
            let rest = name.strip_prefix(rule.name.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(": "))
        };
        if one.deed != "skipped"
            && let Some((_, reason)) = failed.take_if(|failed| is_it(failed))
        {
            one.deed = "refused";
            one.note = Some(reason.to_owned());
        }
        seen.push(one);
    }
    seen
}

/// What a rule over a pattern did, for all names that it is for.
fn seen_family<'n>(
    rule: &Rule,
    names: impl Iterator<Item = &'n str>,
    passage: &Passage<'_>,
) -> RuleSeen {
    let mut seen = RuleSeen {
        line: rule.origin.line,
        rule: rule.origin.text.clone(),
        deed: "absent",
        before: Vec::new(),
        after: Vec::new(),
        note: None,
        inside: Vec::new(),
    };
    for name in names {
        for place in rule.places_of(passage.toward.other()) {
            let place = place.filled(name);
            seen.before
                .push(placed(&place, passage.before, passage.relative));
        }
        for place in rule.places_of(passage.toward) {
            if let Some(after) = passage.after {
                let place = place.filled(name);
                seen.after.push(placed(&place, after, passage.relative));
            }
        }
    }
    let values = |all: &[Placed]| -> Vec<Option<String>> {
        all.iter().map(|placed| placed.value.clone()).collect()
    };
    seen.deed = match (seen.before.is_empty(), seen.after.is_empty()) {
        (true, _) => "absent",
        (false, _) if passage.after.is_none() => "stopped",
        (false, true) => "dropped",
        _ if values(&seen.before) == values(&seen.after) => "moved",
        _ => "converted",
    };
    seen
}

fn seen_rule(rule: &Rule, passage: &Passage<'_>) -> RuleSeen {
    let from = passage.toward.other();
    let all = |side: Side, scope: Option<&Scope>| -> Vec<Placed> {
        let Some(scope) = scope else {
            return Vec::new();
        };
        let places = rule.places_of(side).into_iter();
        places
            .map(|place| placed(place, scope, passage.relative))
            .collect()
    };
    let mut seen = RuleSeen {
        line: rule.origin.line,
        rule: rule.origin.text.clone(),
        deed: "stopped",
        before: all(from, Some(passage.before)),
        after: all(passage.toward, passage.after),
        note: None,
        inside: Vec::new(),
    };
    if let Some(when) = &rule.when[from as usize] {
        let holds = when.holds(passage.before, passage.around);
        if matches!(holds, Ok(false)) {
            seen.deed = "skipped";
            seen.note = Some(format!("its condition does not hold: {}", when.text()));
            seen.after.clear();
            return seen;
        }
    }
    if passage.after.is_some() {
        seen.deed = deed(rule, passage, &seen);
        seen.inside = inside(rule, passage);
    }
    seen
}

fn placed(place: &MessagePlace, scope: &Scope, relative: bool) -> Placed {
    let value = scope.get(place).ok().flatten();
    let name = place.to_string();
    let inner = name.strip_prefix("body").filter(|_| relative);
    Placed {
        place: match inner {
            Some("") => ".".to_owned(),
            Some(inner) => inner.trim_start_matches('.').to_owned(),
            None => name,
        },
        value: value.map(|value| value.to_string()),
    }
}

/// One word for what a rule did to a message that passed.
fn deed(rule: &Rule, passage: &Passage<'_>, seen: &RuleSeen) -> &'static str {
    let first = |all: &[Placed]| all.first().and_then(|placed| placed.value.clone());
    let (before, after) = (first(&seen.before), first(&seen.after));
    match &rule.action {
        RuleAction::Pair { places, .. } => match (before, after) {
            (None, None) => "absent",
            (None, Some(_)) => "filled",
            (Some(_), None) => "dropped",
            (Some(before), Some(after)) if before == after => {
                if places[0] == places[1] {
                    "unchanged"
                } else {
                    "moved"
                }
            }
            _ => "converted",
        },
        RuleAction::Single { side, fill, .. } if *side == passage.toward => match (fill, after) {
            (Fill::Nothing, _) | (_, None) => "absent",
            _ => "filled",
        },
        RuleAction::Single { .. } => before.map_or("absent", |_| "dropped"),
        RuleAction::Group { .. } if seen.after.is_empty() => "dropped",
        RuleAction::Group { .. } => "computed",
        RuleAction::Refuse { .. } => "absent",
    }
}

/// The rules inside a rule.
fn inside(rule: &Rule, passage: &Passage<'_>) -> Vec<Inside> {
    let RuleAction::Pair {
        places, convert, ..
    } = &rule.action
    else {
        return Vec::new();
    };
    let value = |side: Side, scope: &Scope| scope.get(&places[side as usize]).ok().flatten();
    let before = value(passage.toward.other(), passage.before);
    let after = passage.after.and_then(|after| value(passage.toward, after));
    match (before, after) {
        (Some(before), Some(after)) => within(convert, before, after, String::new(), passage),
        _ => Vec::new(),
    }
}

fn within(
    convert: &Convert,
    before: Json,
    after: Json,
    item: String,
    passage: &Passage<'_>,
) -> Vec<Inside> {
    match (convert, before, after) {
        (Convert::Fields(inner), before, after) => {
            let (before, after) = (Scope::inner(before), Scope::inner(after));
            let passage = Passage {
                before: &before,
                after: Some(&after),
                failed: None,
                relative: true,
                ..*passage
            };
            let rules = recipe(inner, &passage);
            vec![Inside { item, rules }]
        }
        (Convert::Each(convert), Json::Array(before), Json::Array(after))
            if before.len() == after.len() =>
        {
            let items = before.into_iter().zip(after).take(ITEMS_SHOWN_MAX);
            let items = items.enumerate().flat_map(|(index, (before, after))| {
                within(convert, before, after, format!("{item}[{index}]"), passage)
            });
            items.collect()
        }
        (Convert::Values(convert), Json::Object(before), Json::Object(after))
            if before.len() == after.len() =>
        {
            let items = before.into_iter().zip(after).take(ITEMS_SHOWN_MAX);
            let items = items.flat_map(|((name, before), (_, after))| {
                within(convert, before, after, format!("{item}.{name}"), passage)
            });
            items.collect()
        }
        _ => Vec::new(),
    }
}

/// Headers that changed although no rule has them as a place: those that describe the message.
pub(super) fn other_headers(before: &Headers, after: &Headers, rules: &[Rule]) -> Vec<String> {
    let ruled = |name: &str| {
        let places = rules.iter().flat_map(Rule::places);
        places
            .into_iter()
            .any(|place| matches!(place, MessagePlace::Header(header) if header == name))
    };
    let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let changed = names
        .into_iter()
        .filter(|name| before.get(*name) != after.get(*name) && !ruled(name));
    let told = changed.map(|name| match (before.get(name), after.get(name)) {
        (Some(_), None) => format!("{name} is left out"),
        (None, Some(values)) => format!("{name}: {} is added", values.join(", ")),
        (_, values) => format!(
            "{name} is now {}",
            values.map_or(String::new(), |all| all.join(", "))
        ),
    });
    told.collect()
}
