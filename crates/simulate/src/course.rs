//! One course of an upgrade: every actor asks, begins, is unavailable and settles, in virtual time.

mod events;
mod player;
mod turns;

use crate::queue::RoomQueue;
use crate::tally::{Tallies, Watched};
use crate::{Cast, Scenario};
use events::{CourseEvent, Upcoming};
use model::api::{Approval, Pause, UpgradeSummary, WaitCode};
use model::fleet::{ClassSeat, Fleet};
use model::ids::{NodeId, Version};
use model::schedule::{Gates, NodeLimit, Schedule, WaitReason};
use player::{Player, PlayerState};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Nobody plans further ahead: ten years.
const HORIZON_MS: u64 = 10 * 366 * 86_400_000;

/// A node has upgraded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CourseStep {
    /// Which actor.
    pub actor: usize,
    /// From where.
    pub from: Version,
    /// Where it went.
    pub to: Version,
    /// When it began.
    pub began_ms: u64,
    /// When it had settled.
    pub settled_ms: u64,
}

/// One course.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Course {
    /// What nodes did, in the order in which they began.
    pub steps: Vec<CourseStep>,
    /// For how many milliseconds nodes have waited for each reason, those that an actor stands for included.
    pub waited_ms: BTreeMap<WaitCode, f64>,
    /// The actors that never got to the newest version, each with the version to which it would go next and why it does not.
    pub left: BTreeMap<usize, (Version, Vec<WaitReason>)>,
    /// Actors that could not even ask: they are away, blocked, or have no place in the next version.
    pub out: BTreeMap<usize, String>,
    /// Who could begin though nobody had told it to ask: none, if what waits depend on is known.
    pub overlooked: usize,
    /// Who began before the moment that it was told as the earliest: none, if those are right.
    pub promises_broken: usize,
}

/// A course that is under way.
pub(crate) struct CourseUnderWay<'a> {
    scenario: &'a Scenario,
    cast: &'a Cast,
    summaries: BTreeMap<Version, UpgradeSummary>,
    schedules: Schedules,
    fleet: Fleet,
    players: Vec<Player>,
    queue: RoomQueue,
    tallies: Tallies,
    staged: Watched,
    upcoming: Upcoming,
    now_ms: u64,
    course: Course,
    /// Everybody asks so often, whatever was promised: for tests of the promises.
    pub(crate) restless_ms: Option<u64>,
    /// Nothing is looked at after this moment.
    pub(crate) horizon_ms: u64,
}

/// The schedules of each class, and of groups whose limit is another one here.
struct Schedules {
    classes: BTreeMap<(Version, Arc<str>), Schedule>,
    groups: BTreeMap<(Version, Arc<str>), Schedule>,
    none: Schedule,
}

impl Schedules {
    fn of(scenario: &Scenario, cast: &Cast) -> Self {
        let mut classes = BTreeMap::new();
        for version in scenario.history.versions() {
            let release = scenario.history.release(version);
            for class in release.iter().flat_map(|release| release.classes.values()) {
                let name: Arc<str> = Arc::from(class.name.as_str());
                let mut schedule = class.schedule.clone();
                if !scenario.forecast.contains_key(&class.name) {
                    schedule.gates = Gates::default();
                }
                (schedule.idle, schedule.role) = (None, None);
                for (number, wave) in schedule.waves.iter_mut().enumerate() {
                    let key = (version, Arc::clone(&name), number);
                    wave.at_most = cast.at_most.get(&key).copied().or(wave.at_most);
                }
                classes.insert((version, name), schedule);
            }
        }
        let groups = cast
            .rooms
            .iter()
            .filter_map(|((version, group), (class, room))| {
                let mut schedule = classes.get(&(*version, Arc::clone(class)))?.clone();
                if let Some(rolling) = &mut schedule.rolling {
                    rolling.max_unavailable = NodeLimit::Nodes(*room);
                }
                Some(((*version, Arc::clone(group)), schedule))
            });
        let groups = groups.collect();
        Self {
            classes,
            groups,
            none: Schedule::default(),
        }
    }

    fn at(&self, version: Version, seat: Option<&ClassSeat>) -> &Schedule {
        let own = seat.and_then(|seat| {
            let of_group = (seat.group.as_ref())
                .and_then(|group| self.groups.get(&(version, Arc::clone(group))));
            of_group.or_else(|| self.classes.get(&(version, Arc::clone(&seat.class))))
        });
        own.unwrap_or(&self.none)
    }
}

impl Course {
    /// Plays one course.
    pub fn play(scenario: &Scenario, cast: &Cast) -> Self {
        CourseUnderWay::of(scenario, cast).play()
    }
}

impl<'a> CourseUnderWay<'a> {
    pub(crate) fn of(scenario: &'a Scenario, cast: &'a Cast) -> Self {
        let mut running = Self {
            scenario,
            cast,
            summaries: scenario.summaries(),
            schedules: Schedules::of(scenario, cast),
            fleet: Fleet::default(),
            players: Vec::new(),
            queue: RoomQueue::default(),
            tallies: Tallies::default(),
            staged: Watched::default(),
            upcoming: Upcoming::default(),
            now_ms: scenario.start_ms,
            course: Course::default(),
            restless_ms: None,
            horizon_ms: scenario.start_ms.saturating_add(HORIZON_MS),
        };
        for number in 0..cast.actors.len() {
            running.enter(number);
        }
        running
    }

    /// Plays to the end: until nothing happens any more.
    pub(crate) fn play(mut self) -> Course {
        loop {
            while let Some((at_ms, event)) = self.upcoming.next() {
                if at_ms > self.horizon_ms {
                    break;
                }
                self.now_ms = self.now_ms.max(at_ms);
                match event {
                    CourseEvent::Stages(number) => self.stage(number),
                    CourseEvent::Asks(number) if self.players[number].asks_at(at_ms) => {
                        self.ask(number);
                    }
                    CourseEvent::Asks(_) => {}
                    CourseEvent::Settles(number) => self.settle(number),
                }
            }
            if self.restless_ms.is_some() || !self.look_again() {
                return self.end();
            }
        }
    }

    /// Has everybody who waits ask once more; whether somebody has begun.
    fn look_again(&mut self) -> bool {
        let before = self.course.steps.len();
        for number in 0..self.players.len() {
            if self.players[number].state == PlayerState::Waits {
                self.ask(number);
            }
        }
        let begun = self.course.steps.len() - before;
        self.course.overlooked += begun;
        begun > 0
    }

    fn end(mut self) -> Course {
        for number in 0..self.players.len() {
            let player = &mut self.players[number];
            if player.state == PlayerState::Waits
                && let Some(waits) = player.waits.take()
            {
                self.course.left.insert(number, (waits.to, waits.reasons));
            }
        }
        self.course
    }

    fn paused(&self) -> Option<&'a Pause> {
        self.scenario.paused.as_ref()
    }

    fn approvals(&self) -> &'a [Approval] {
        &self.scenario.approvals
    }
}

/// An actor's number in the fleet.
fn id(number: usize) -> NodeId {
    NodeId(u32::try_from(number).unwrap_or(u32::MAX))
}
