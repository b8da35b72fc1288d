//! How many versions a node goes at once.

use super::Facts;
use crate::ids::Version;

/// The version to go to from here, given the staged ones ahead in order: the next one; or, for a node that was away,
/// the newest that every other reachable node of its class has already settled at (there is at least one), composed
/// without running what lies between. `facts.version` is not looked at.
pub fn leap(facts: &Facts<'_>, ahead: &[Version]) -> Option<Version> {
    let next = *ahead.first()?;
    let left_behind = |version: Version| {
        let facts = Facts { version, ..*facts };
        let class = (facts.asking()).and_then(|fact| (facts.class_of)(fact, version));
        let Some(class) = class else {
            return false;
        };
        let mut others = (facts.class(&class))
            .filter(|fact| fact.node != facts.node && fact.reachable)
            .peekable();
        others.peek().is_some() && others.all(|fact| facts.settled(fact))
    };
    let newest = ahead.iter().rev().find(|version| left_behind(**version));
    Some(newest.copied().map_or(next, |newest| newest.max(next)))
}
