//! Which nodes of a large fleet are simulated.

use super::alike::Unit;
use super::{Cast, Casting, Draws};
use model::ids::Version;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Of groups that are alike, so many are simulated at least, where there are so many.
const UNITS_MIN: usize = 12;

/// So many of those that take longest stand for themselves.
const SLOWEST: usize = 2;

/// Of more kinds of nodes in like groups, the slowest group of each is not looked for.
const KINDS_LOOKED_AT: usize = 8;

/// A group of which only a part is simulated keeps room for so many at once at least: with less, it is chance who waits for whom.
const ROOM_MIN: usize = 12;

/// A group of more nodes than this share of all that are simulated is large.
const LARGE: usize = 4;

/// Those who play, of a fleet that is larger than what is simulated.
pub(super) fn chosen(casting: &Casting<'_>, draws: &Draws) -> Cast {
    let mut cast = Cast::default();
    let mut groups = 0;
    for alike in &casting.population.alike {
        let units = alike.iter().map(|unit| &casting.population.units[*unit]);
        let units: Vec<&Unit> = units.collect();
        let nodes: usize = units.iter().map(|unit| unit.nodes.len()).sum();
        let share = casting.nodes_max * nodes / casting.scenario.nodes.len();
        for (unit, weight) in some_of(casting, draws, &units, share) {
            groups += 1;
            let part = part_of(casting, draws, unit, share);
            if let Some((key, room)) = part.room {
                cast.rooms.insert(key, room);
            }
            let actors = part.nodes.into_iter();
            let actors = actors.map(|(node, each)| casting.actor(draws, node, weight * each));
            cast.actors.extend(actors);
        }
    }
    cast.groups_each = casting.population.units.len() as f64 / f64::from(groups.max(1));
    cast.at_most = at_most(casting, &cast);
    cast
}

/// Of units that are alike, those that are simulated, with how many each stands for.
fn some_of<'u>(
    casting: &Casting<'_>,
    draws: &Draws,
    units: &[&'u Unit],
    share: usize,
) -> Vec<(&'u Unit, f64)> {
    let size = units.first().map_or(1, |unit| unit.nodes.len().max(1));
    let wanted = (share / size).max(UNITS_MIN);
    if units.len() <= wanted {
        return units.iter().map(|unit| (*unit, 1.0)).collect();
    }
    let mut order: Vec<(u64, usize)> = (units.iter().enumerate())
        .map(|(number, unit)| (takes_ms(casting, draws, unit, None), number))
        .collect();
    order.sort_unstable();
    let mut own: Vec<usize> = (order.iter().rev().take(SLOWEST))
        .map(|(_, number)| *number)
        .collect();
    for kind in kinds_of(casting, units) {
        let slowest = (units.iter().enumerate())
            .max_by_key(|(number, unit)| (takes_ms(casting, draws, unit, Some(kind)), *number));
        own.extend(slowest.map(|(number, _)| number));
    }
    own.sort_unstable();
    own.dedup();
    order.retain(|(_, number)| own.binary_search(number).is_err());
    let others = wanted
        .saturating_sub(own.len())
        .max(UNITS_MIN / 2)
        .min(order.len());
    let weight = order.len() as f64 / others as f64;
    let spread = evenly(order.len(), others).map(|place| (units[order[place].1], weight));
    let own = own.iter().map(|number| (units[*number], 1.0));
    own.chain(spread).collect()
}

/// So many places among all, with equal distances and at the middle of what each stands for.
fn evenly(all: usize, wanted: usize) -> impl Iterator<Item = usize> {
    (0..wanted).map(move |number| (2 * number + 1) * all / (2 * wanted))
}

/// How long the nodes of a unit are unavailable, one after the other; or those of one kind.
fn takes_ms(casting: &Casting<'_>, draws: &Draws, unit: &Unit, kind: Option<u32>) -> u64 {
    let kinds = &casting.population.kinds;
    let nodes = unit.nodes.iter();
    let nodes = nodes.filter(|node| kind.is_none_or(|kind| kinds[**node] == kind));
    nodes.map(|node| casting.away_ms(draws, *node)).sum()
}

/// The kinds of nodes in units that are alike, where there are several, and few.
fn kinds_of(casting: &Casting<'_>, units: &[&Unit]) -> Vec<u32> {
    let nodes = units.iter().flat_map(|unit| &unit.nodes);
    let mut is_there = vec![false; casting.population.kinds_len];
    for node in nodes {
        is_there[casting.population.kinds[*node] as usize] = true;
    }
    let kinds = is_there
        .iter()
        .enumerate()
        .filter(|(_, is_there)| **is_there);
    let kinds: Vec<u32> = kinds
        .filter_map(|(kind, _)| u32::try_from(kind).ok())
        .collect();
    if (2..=KINDS_LOOKED_AT).contains(&kinds.len()) {
        kinds
    } else {
        Vec::new()
    }
}

/// What is simulated of a unit.
struct GroupPart {
    /// Its nodes, with how many each stands for.
    nodes: Vec<(usize, f64)>,
    /// How many of them may be unavailable at once, where that is not what the schedule says.
    #[expect(clippy::type_complexity, reason = "the key and the value of one table")]
    room: Option<((Version, Arc<str>), (Arc<str>, u32))>,
}

/// A small group is simulated whole. Of a large one with room for many, so many fewer are, with room for so many fewer.
fn part_of(casting: &Casting<'_>, draws: &Draws, unit: &Unit, share: usize) -> GroupPart {
    let whole = || GroupPart {
        nodes: unit.nodes.iter().map(|node| (*node, 1.0)).collect(),
        room: None,
    };
    if unit.nodes.len() <= casting.nodes_max / LARGE {
        return whole();
    }
    let (Some((version, group, class)), Some(room)) = (&unit.group, room(casting, unit)) else {
        return whole();
    };
    let is_absent = |node: usize| {
        let node = casting.node(node);
        !node.reachable || node.child != model::api::ChildState::Running
    };
    let absent = unit.nodes.iter().filter(|node| is_absent(**node)).count();
    let free = room.saturating_sub(absent);
    let room_here = (free * share / unit.nodes.len()).max(ROOM_MIN);
    if room_here * 2 > free {
        return whole();
    }
    let fewer = free as f64 / room_here as f64;
    let mut kinds: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for node in &unit.nodes {
        let kind = casting.population.kinds[*node];
        kinds.entry(kind).or_default().push(*node);
    }
    let mut nodes = Vec::new();
    for mut alike in kinds.into_values() {
        alike.sort_by_key(|node| (casting.away_ms(draws, *node), *node));
        // The slowest stands for itself: who comes after waits for it.
        let slowest = alike.pop();
        nodes.extend(slowest.map(|node| (node, 1.0)));
        let wanted = (alike.len() as f64 / fewer).ceil() as usize;
        let each = alike.len() as f64 / wanted.max(1) as f64;
        nodes.extend(evenly(alike.len(), wanted).map(|place| (alike[place], each)));
    }
    // They came in the order of how long they take: they ask in that of the fleet.
    nodes.sort_by_key(|(node, _)| *node);
    let absent_here = nodes.iter().filter(|(node, _)| is_absent(*node)).count();
    let room = u32::try_from(room_here + absent_here).unwrap_or(u32::MAX);
    GroupPart {
        nodes,
        room: Some(((*version, Arc::clone(group)), (Arc::clone(class), room))),
    }
}

/// How many of a unit may be unavailable at once.
fn room(casting: &Casting<'_>, unit: &Unit) -> Option<usize> {
    let (version, _, class) = unit.group.as_ref()?;
    let release = casting.scenario.history.release(*version)?;
    let rolling = release.classes.get(&**class)?.schedule.rolling.as_ref()?;
    Some(rolling.max_unavailable.of(unit.nodes.len()))
}

/// Waves of which so many go, and of which fewer are simulated than that: the same share of those goes.
fn at_most(casting: &Casting<'_>, cast: &Cast) -> BTreeMap<(Version, Arc<str>, usize), u32> {
    let mut here: BTreeMap<(Version, Arc<str>, usize), usize> = BTreeMap::new();
    for actor in &cast.actors {
        for (version, seat) in actor.seats.iter() {
            if let Some(wave) = seat.wave {
                let key = (*version, Arc::clone(&seat.class), wave);
                *here.entry(key).or_default() += 1;
            }
        }
    }
    let fewer = here.into_iter().filter_map(|(key, here)| {
        let (version, class, wave) = &key;
        let release = casting.scenario.history.release(*version)?;
        let waves = &release.classes.get(&**class)?.schedule.waves;
        let limit = waves.get(*wave)?.at_most? as usize;
        let counted = (*version, Arc::clone(class), Some(*wave));
        let all = *casting.population.waves.get(&counted)?;
        let scaled = (limit * here).div_ceil(all.max(1)).max(1);
        let scaled = u32::try_from(scaled).unwrap_or(u32::MAX);
        (here < limit.min(all)).then_some((key, scaled))
    });
    fewer.collect()
}
