//! How many versions a node goes at once.

use crate::fleet::{CountedNode, Fleet};
use crate::ids::Version;

/// The version to go to from here, given the staged ones ahead in order: the next one; or, for a node that was away,
/// the newest that every other reachable node of its class has already settled at (there is at least one), composed
/// without running what lies between.
pub fn leap(fleet: &Fleet, asking: &CountedNode, ahead: &[Version]) -> Option<Version> {
    let next = *ahead.first()?;
    let left_behind = |version: &Version| {
        let seat = asking.seats.get(version);
        let class = seat.and_then(|seat| fleet.class(*version, &seat.class));
        class.is_some_and(|class| class.has_left_behind(asking))
    };
    let newest = ahead.iter().rev().find(|version| left_behind(version));
    Some(newest.copied().map_or(next, |newest| newest.max(next)))
}
