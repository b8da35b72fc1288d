//! Whether the filters of a split class choose exactly one successor for every node.
//!
//! A filter made of comparisons of attributes with literals can only change at these literals. So it suffices to try,
//! for each attribute that a filter names, every literal and one value that is none of them: exact for such filters,
//! and for others (prefixes, sizes, regular parts) still every counterexample found is one. What remains is checked
//! for the nodes that exist when the upgrade is published, and for each node when it gets there.

use super::HistoryError;
use crate::bundle::ClassUpgrade;
use crate::expression::cost::{self, Limit};
use crate::expression::{ExpressionError, ExpressionScope, NodeScope};
use crate::ids::Version;
use std::collections::{BTreeMap, BTreeSet};

/// The most combinations that are tried; beyond it the rest is left to the nodes.
const COMBINATIONS_MAX: usize = 4096;
/// What trying them all may cost, about a quarter of a second: the server does nothing else meanwhile.
static ALL: Limit = Limit {
    steps: 1_000_000,
    who: "the filters take",
};
/// A value that no literal has.
const OTHER: &str = "(any other)";

/// What the filters choose for one node.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Choice<'a> {
    One(&'a ClassUpgrade),
    None,
    Several(Vec<&'a str>),
}

pub(super) fn check(
    version: Version,
    origin: &str,
    classes: &[&ClassUpgrade],
) -> Result<(), HistoryError> {
    if let [class] = classes
        && class.filter.is_none()
    {
        return Ok(());
    }
    if let Some(class) = classes.iter().find(|class| class.filter.is_none()) {
        let problem = format!("class `{origin}` splits, so each of its parts needs a `filter`");
        return Err(HistoryError::Class {
            version,
            class: class.name.clone(),
            problem,
        });
    }
    cost::within(&ALL, || try_all(version, origin, classes))
}

fn try_all(version: Version, origin: &str, classes: &[&ClassUpgrade]) -> Result<(), HistoryError> {
    for attributes in combinations(classes) {
        let node = NodeScope {
            name: "example".to_owned(),
            class: origin.to_owned(),
            attributes,
        };
        // What cannot be evaluated here (a node's name, a missing attribute) is left to the nodes.
        match choose(classes, &node) {
            Err(_) if cost::is_used_up() => return Err(too_costly(version, origin)),
            Ok(Choice::One(_)) | Err(_) => {}
            Ok(choice) => return Err(split(version, origin, &node, &choice)),
        }
    }
    Ok(())
}

fn too_costly(version: Version, origin: &str) -> HistoryError {
    HistoryError::Class {
        version,
        class: origin.to_owned(),
        problem: format!(
            "the filters of its parts take more than {} steps to be tried with all that they name; write simpler ones",
            ALL.steps
        ),
    }
}

/// The successor that the filters choose for a node.
pub(super) fn choose<'a>(
    classes: &[&'a ClassUpgrade],
    node: &NodeScope,
) -> Result<Choice<'a>, ExpressionError> {
    let scope = ExpressionScope {
        node: node.clone(),
        ..ExpressionScope::default()
    };
    let mut chosen = Vec::new();
    for class in classes {
        let fits = class
            .filter
            .as_ref()
            .map_or(Ok(true), |filter| filter.truth(&scope))?;
        if fits {
            chosen.push(*class);
        }
    }
    Ok(match chosen.as_slice() {
        [] => Choice::None,
        [one] => Choice::One(one),
        several => Choice::Several(several.iter().map(|class| class.name.as_str()).collect()),
    })
}

/// The error for a node for which the filters do not choose one class.
pub(super) fn split(
    version: Version,
    origin: &str,
    node: &NodeScope,
    choice: &Choice<'_>,
) -> HistoryError {
    let pairs: Vec<String> = node
        .attributes
        .iter()
        .map(|(name, value)| format!("{name} = \"{value}\""))
        .collect();
    let outcome = match choice {
        Choice::Several(names) => format!("several filters hold: {}", names.join(", ")),
        Choice::None | Choice::One(_) => "no filter holds".to_owned(),
    };
    HistoryError::Split {
        version,
        origin: origin.to_owned(),
        attributes: if pairs.is_empty() {
            "no attributes".to_owned()
        } else {
            pairs.join(", ")
        },
        outcome,
    }
}

fn combinations(classes: &[&ClassUpgrade]) -> Vec<BTreeMap<String, String>> {
    let (mut attributes, mut values) = (BTreeSet::new(), BTreeSet::new());
    for filter in classes.iter().filter_map(|class| class.filter.as_ref()) {
        let found = filter.landmarks();
        attributes.extend(found.attributes);
        values.extend(found.literals);
    }
    // Names of attributes are literals too (`attributes["tier"]`); as values they do no harm.
    values.insert(OTHER.to_owned());
    let mut all = vec![BTreeMap::new()];
    for attribute in attributes {
        if all.len() * values.len() > COMBINATIONS_MAX {
            break;
        }
        let extend = |combination: &BTreeMap<String, String>, value: &String| {
            let mut extended = combination.clone();
            extended.insert(attribute.clone(), value.clone());
            extended
        };
        all = all
            .iter()
            .flat_map(|one| values.iter().map(move |value| extend(one, value)))
            .collect();
    }
    all
}
