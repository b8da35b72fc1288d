//! What an actor does when it is its turn: enters, stages, asks, begins, settles.

use super::events::CourseEvent;
use super::player::{Player, PlayerState, ToldWait};
use super::{CourseStep, CourseUnderWay, id};
use crate::asking::{next_ask_ms, next_pause_ms, pause_ms};
use crate::queue::GroupAt;
use crate::waiting::{AwaitedChange, FoundWait};
use model::fleet::{ClassSeat, CountedNode};
use model::ids::{Place, Version};
use model::machine::Work;
use model::schedule::{ClassGauges, Facts, Schedule, Verdict, WaitReason, evaluate, leap};
use std::sync::Arc;

impl CourseUnderWay<'_> {
    /// Counts an actor as it stands at the start, and has it do what it does next.
    pub(super) fn enter(&mut self, number: usize) {
        let actor = &self.cast.actors[number];
        let node = &self.scenario.nodes[actor.node];
        let counted = node.counted(Arc::clone(&actor.seats));
        let is_staged = counted.staged >= self.scenario.history.newest();
        self.fleet.put(id(number), counted);
        let (player, problem) = self.player(number);
        let next = player.ahead.first().copied();
        self.players.push(player);
        let blocked = next.filter(|next| {
            let newest = self.summaries.get(next);
            newest.is_some_and(|newest| node.is_blocked_on(*next, newest.revision))
        });
        let out = if !node.reachable {
            Some("is unreachable: nothing is heard of it; `upstart forget` it if it never comes back".to_owned())
        } else if let Some(version) = blocked {
            Some(format!(
                "is blocked on version {version}; next: `upstart retry {}`, or `upstart publish DIR --revise`",
                node.name
            ))
        } else {
            problem.filter(|_| next.is_none())
        };
        if let Some(why) = out {
            if node.version < self.scenario.history.newest() {
                self.course.out.insert(number, why);
            }
            return;
        }
        if let Some(to) = node.leaving_for {
            self.leave(number, to);
            return;
        }
        if next.is_none() {
            return;
        }
        if is_staged {
            self.begin_to_ask(number);
        } else {
            self.players[number].state = PlayerState::Stages;
            let staged_ms = self.scenario.staging.quantile_ms(actor.stages_at);
            let at_ms = self.now_ms.saturating_add(staged_ms);
            self.upcoming.at(at_ms, CourseEvent::Stages(number));
        }
    }

    /// An actor with the versions before it, and why there are no more.
    fn player(&self, number: usize) -> (Player, Option<String>) {
        let node = &self.scenario.nodes[self.cast.actors[number].node];
        let history = &self.scenario.history;
        let later = history.versions().filter(|version| *version > node.version);
        let lineage = match history.lineage(&node.scope(), None) {
            Ok(lineage) => lineage,
            Err(error) => return (Player::of(Vec::new(), Vec::new()), Some(error.to_string())),
        };
        let problem = lineage.problem();
        let end = problem.map(|(version, _)| *version);
        let ahead = later.filter(|version| end.is_none_or(|end| *version < end));
        let ahead: Vec<Version> = ahead.collect();
        let restarts = ahead.iter().copied();
        let restarts = restarts.filter(|version| lineage.work(*version) != Work::Number);
        let why = problem.map(|(_, error)| format!("has no place there: {error}"));
        (Player::of(ahead.clone(), restarts.collect()), why)
    }

    /// An actor answers callers of the newest version.
    pub(super) fn stage(&mut self, number: usize) {
        if let Some(counted) = self.fleet.node(id(number)) {
            let mut counted = counted.clone();
            counted.staged = self.scenario.history.newest();
            self.fleet.put(id(number), counted);
        }
        self.begin_to_ask(number);
        for told in self.staged.one_more() {
            self.tell(told, false);
        }
    }

    fn begin_to_ask(&mut self, number: usize) {
        self.players[number].state = PlayerState::Waits;
        self.tell(number, false);
    }

    /// An actor asks at its next moment: something that it waits for may have changed.
    fn tell(&mut self, number: usize, is_next: bool) {
        let actor = &self.cast.actors[number];
        let node = &self.scenario.nodes[actor.node];
        let mut pause = pause_ms(node.poll_ms, self.scenario.nodes.len() as u64);
        if is_next {
            let groups = self.queue.groups() as f64 * self.cast.groups_each;
            pause = next_pause_ms(pause, groups as u64, 1);
        }
        let start_ms = self.scenario.start_ms;
        let at_ms = next_ask_ms(self.now_ms - start_ms, pause, actor.asks_at);
        self.ask_at(number, start_ms.saturating_add(at_ms));
    }

    /// An actor asks at this moment, or at an earlier one of which it was told already.
    fn ask_at(&mut self, number: usize, at_ms: u64) {
        let player = &mut self.players[number];
        if player.state != PlayerState::Waits || player.asks_ms.is_some_and(|asks| asks <= at_ms) {
            return;
        }
        player.asks_ms = Some(at_ms);
        self.upcoming.at(at_ms, CourseEvent::Asks(number));
    }

    /// An actor asks whether it may go, and is told.
    pub(super) fn ask(&mut self, number: usize) {
        self.count_wait(number);
        let Some(asking) = self.fleet.node(id(number)).cloned() else {
            return;
        };
        let Some(goal) = leap(&self.fleet, &asking, &self.players[number].ahead) else {
            self.players[number].state = PlayerState::Rests;
            return;
        };
        let seat = asking.seats.get(&goal);
        let schedule = self.schedules.at(goal, seat);
        let group = seat.and_then(|seat| Some((goal, Arc::clone(seat.group.as_ref()?))));
        let before_it = match &group {
            Some(group) if asking.absence().is_none() => {
                self.queue.before(number, group, self.room(schedule, group))
            }
            _ => 0,
        };
        match self.judged(number, &asking, schedule, goal, before_it) {
            Verdict::Go => self.leave(number, goal),
            Verdict::Wait { reasons, until_ms } => {
                let wait = FoundWait {
                    fleet: &self.fleet,
                    asking: &asking,
                    seat,
                    schedule,
                    goal,
                    reasons: &reasons,
                    until_ms,
                    measured_ms: self.measured_ms(seat),
                };
                let awaited = wait.awaited();
                self.keep_waiting(number, goal, reasons, until_ms);
                self.follow(number, group.as_ref(), &awaited);
            }
        }
    }

    /// When something else is measured of a class.
    fn measured_ms(&self, seat: Option<&ClassSeat>) -> Option<u64> {
        let foreseen = self.scenario.forecast.get(&*seat?.class)?;
        let (next, _) = foreseen.range(self.now_ms + 1..).next()?;
        Some(*next)
    }

    fn judged(
        &self,
        number: usize,
        asking: &CountedNode,
        schedule: &Schedule,
        goal: Version,
        before_it: usize,
    ) -> Verdict {
        let release = self.scenario.history.release(goal);
        let upgrade = self.summaries.get(&goal);
        let gauges = self.gauges(asking, goal);
        let between = self.scenario.history.versions();
        let between = between.filter(|version| *version > asking.version && *version < goal);
        let passed = between.map(|version| {
            let seat = asking.seats.get(&version);
            self.schedules.at(version, seat).clone()
        });
        let passed: Vec<Schedule> = passed.collect();
        let facts = Facts {
            upgrade,
            paused: self.paused(),
            approvals: self.approvals(),
            fleet: &self.fleet,
            asking,
            version: goal,
            revision: upgrade.map_or_else(Default::default, |upgrade| upgrade.revision),
            mends: false,
            require_staged: release.is_none_or(|release| release.settings.require_staged),
            before_it,
            gauges: gauges.as_ref(),
            passed: &passed,
            unfinished: None,
            attributes: &self.scenario.nodes[self.cast.actors[number].node].attributes,
            now_ms: self.now_ms,
        };
        evaluate(schedule, &facts)
    }

    /// What is measured now, as it was foreseen.
    fn gauges(&self, asking: &CountedNode, goal: Version) -> Option<ClassGauges> {
        let class = &asking.seats.get(&goal)?.class;
        let foreseen = self.scenario.forecast.get(&**class)?;
        let (_, metrics) = foreseen.range(..=self.now_ms).next_back()?;
        let upgrade = self.summaries.get(&goal);
        Some(ClassGauges {
            at_ms: self.now_ms,
            revision: upgrade.map_or_else(Default::default, |upgrade| upgrade.revision),
            calls: None,
            metrics: metrics.clone(),
        })
    }

    fn keep_waiting(
        &mut self,
        number: usize,
        to: Version,
        reasons: Vec<WaitReason>,
        until_ms: Option<u64>,
    ) {
        let player = &mut self.players[number];
        player.promised_ms = player.promised_ms.max(until_ms.unwrap_or(0));
        player.waits = Some(ToldWait {
            since_ms: self.now_ms,
            to,
            reasons,
        });
    }

    /// Sees to it that an actor asks again when that may be worth it.
    fn follow(&mut self, number: usize, group: Option<&GroupAt>, awaited: &AwaitedChange) {
        let waits = self.players[number].waits.as_ref();
        let is_for_room =
            waits.is_some_and(|waits| matches!(waits.reasons[..], [WaitReason::Limit { .. }]));
        let is_passed = waits.is_some_and(|waits| {
            let mut reasons = waits.reasons.iter();
            reasons.any(WaitReason::is_the_nodes_own)
        });
        if is_passed {
            self.queue.remove(number);
        } else if let Some(group) = group
            && (is_for_room || self.queue.has(number))
        {
            self.queue.put(number, group);
        }
        match awaited {
            AwaitedChange::Moment(at_ms) => self.ask_at(number, *at_ms),
            AwaitedChange::Staged(more) => self.staged.watch(*more, number),
            AwaitedChange::Settled(key, more) => self.tallies.of(key.clone()).watch(*more, number),
            // Whoever is next in its group is told.
            AwaitedChange::Room | AwaitedChange::Somebody => {}
        }
        if let Some(pause_ms) = self.restless_ms {
            self.ask_at(number, self.now_ms + pause_ms);
        }
    }

    /// How many of a group may be unavailable at once.
    fn room(&self, schedule: &Schedule, (version, group): &GroupAt) -> usize {
        let rolling = schedule.rolling.as_ref();
        rolling.map_or(0, |rolling| {
            rolling
                .max_unavailable
                .of(self.fleet.group_len(*version, group))
        })
    }

    /// Adds what an actor has waited since it asked last to each reason that it was told.
    fn count_wait(&mut self, number: usize) {
        let Some(waits) = self.players[number].waits.take() else {
            return;
        };
        let weight = self.cast.actors[number].weight;
        let waited_ms = self.now_ms.saturating_sub(waits.since_ms) as f64 * weight;
        for reason in &waits.reasons {
            *self.course.waited_ms.entry(reason.code()).or_default() += waited_ms;
        }
    }

    /// An actor begins: it holds a permit until it has settled.
    fn leave(&mut self, number: usize, to: Version) {
        let Some(counted) = self.fleet.node(id(number)).cloned() else {
            return;
        };
        let is_early = self.players[number].promised_ms > self.now_ms;
        self.course.promises_broken += usize::from(is_early);
        self.queue.remove(number);
        let actor = &self.cast.actors[number];
        let node = &self.scenario.nodes[actor.node];
        let restarts = self.restarts(number, to);
        let away_ms = if restarts {
            actor.away_ms(self.scenario, &node.class, to)
        } else {
            0
        };
        let settled_ms = self.now_ms.saturating_add(away_ms);
        self.course.steps.push(CourseStep {
            actor: number,
            from: counted.version,
            to,
            began_ms: self.now_ms,
            settled_ms,
        });
        self.fleet.put(
            id(number),
            CountedNode {
                has_permit: true,
                ..counted
            },
        );
        let player = &mut self.players[number];
        player.state = PlayerState::Away;
        player.leaves = Some((to, self.now_ms));
        player.waits = None;
        self.upcoming.at(settled_ms, CourseEvent::Settles(number));
    }

    /// Whether any upgrade on the way changes what an actor runs.
    fn restarts(&self, number: usize, to: Version) -> bool {
        let mut restarts = self.players[number].restarts.iter();
        restarts.any(|version| *version <= to)
    }

    /// An actor is at a version, and well.
    pub(super) fn settle(&mut self, number: usize) {
        let left = self.players[number].leaves.take();
        let (Some((to, _)), Some(counted)) = (left, self.fleet.node(id(number)).cloned()) else {
            return;
        };
        let bundle = Place {
            version: to,
            revision: self
                .summaries
                .get(&to)
                .map_or_else(Default::default, |it| it.revision),
        };
        let restarted = self.restarts(number, to);
        let from = counted.version;
        let seats = Arc::clone(&counted.seats);
        self.fleet.put(
            id(number),
            CountedNode {
                version: to,
                staged: counted.staged.max(to),
                bundle: if restarted {
                    Some(bundle)
                } else {
                    counted.bundle
                },
                child: model::api::ChildState::Running,
                steady_since_ms: self.now_ms,
                has_permit: false,
                ..counted
            },
        );
        let player = &mut self.players[number];
        player.ahead.retain(|version| *version > to);
        player.restarts.retain(|version| *version > to);
        player.promised_ms = 0;
        if player.ahead.is_empty() {
            player.state = PlayerState::Rests;
        } else {
            self.begin_to_ask(number);
        }
        for (version, seat) in seats.iter() {
            if *version > from && *version <= to {
                self.tell_watchers(*version, seat);
            }
            self.tell_next(*version, seat);
        }
    }

    fn tell_watchers(&mut self, version: Version, seat: &ClassSeat) {
        for wave in [None, seat.wave] {
            let key = (version, Arc::clone(&seat.class), wave);
            for told in self.tallies.of(key).one_more() {
                self.tell(told, false);
            }
            if seat.wave.is_none() {
                break;
            }
        }
    }

    /// Those who are next in a group are told that somebody of it serves again.
    fn tell_next(&mut self, version: Version, seat: &ClassSeat) {
        let Some(group) = &seat.group else {
            return;
        };
        let group = (version, Arc::clone(group));
        let room = self.room(self.schedules.at(version, Some(seat)), &group);
        for told in self.queue.first(&group, room) {
            let waits = self.players[told].waits.as_ref();
            if waits.is_some_and(|waits| matches!(waits.reasons[..], [WaitReason::Limit { .. }])) {
                self.tell(told, true);
            }
        }
    }
}
