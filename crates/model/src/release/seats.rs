//! A node's class at each version, with the group and the wave in which that version's schedule has it: what nodes are counted by.

use super::{History, ReleaseClass};
use crate::expression::NodeScope;
use crate::fleet::{ClassSeat, ClassSeats};
use crate::ids::Version;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl History {
    /// A node's class at every version that is not retired, and at those whose software runs there. None where the history has no class of
    /// that name.
    pub fn seats(&self, node: &NodeScope, retired_through: Version) -> ClassSeats {
        let Ok(lineage) = self.lineage(node, None) else {
            return ClassSeats::new();
        };
        let alive = self.versions().filter(|version| *version > retired_through);
        let wanted = alive.flat_map(|version| {
            let provider = lineage.class(version).map(|class| class.provided_by);
            [Some(version), provider].into_iter().flatten()
        });
        let wanted: BTreeSet<Version> = wanted.collect();
        let mut scope = node.clone();
        let seats = wanted.into_iter().filter_map(|version| {
            let class = lineage.class(version)?;
            scope.class.clone_from(&class.name);
            let seat = ClassSeat {
                class: Arc::from(class.name.as_str()),
                group: group(class, &node.attributes).map(Arc::from),
                wave: class.schedule.wave_of(&scope),
            };
            Some((version, seat))
        });
        seats.collect()
    }
}

/// The group of a node within which its class's schedule limits how many are unavailable.
fn group(class: &ReleaseClass, attributes: &BTreeMap<String, String>) -> Option<String> {
    let rolling = class.schedule.rolling.as_ref()?;
    let Some(attribute) = &rolling.group_by else {
        return Some(class.name.clone());
    };
    let value = attributes.get(attribute).map_or("", String::as_str);
    Some(format!("{}/{attribute}={value}", class.name))
}
