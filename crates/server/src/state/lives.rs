//! The history of the database itself: each start of a server, and each time that one found it set back, is an entry in it.

use super::SystemState;
use crate::udb::ServerLife;
use model::api::Moment;

/// Where a moment that an agent has seen is in the history of this database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whereabouts {
    /// In the present life.
    Now,
    /// In an earlier one.
    Before,
    /// In a history that was lost, as was found out already.
    Lost,
    /// Nowhere: a part of the history is missing here.
    Missing,
}

impl SystemState {
    /// Where the history is; none before a server has begun to write in it.
    pub(crate) fn moment(&self) -> Option<Moment> {
        let life = self.lives.last()?;
        Some(Moment {
            epoch: life.epoch,
            start: life.number,
            life: life.life,
            commit: self.generation,
            event: self.last_event,
            memory: self.memory().digest(),
            proof: 0,
        })
    }

    /// Which history this is.
    pub(crate) fn epoch(&self) -> u64 {
        self.lives.last().map_or(0, |life| life.epoch)
    }

    /// Finds a moment in the history.
    pub(crate) fn whereabouts(&self, seen: &Moment) -> Whereabouts {
        let (Some(oldest), Some(now)) = (self.lives.first(), self.lives.last()) else {
            return Whereabouts::Now;
        };
        if seen.start < oldest.number {
            // Entries as old as that are not kept.
            return Whereabouts::Before;
        }
        let is_its = |life: &ServerLife| {
            (life.epoch, life.number, life.life) == (seen.epoch, seen.start, seen.life)
        };
        if let Some(at) = self.lives.iter().position(is_its) {
            let next = self.lives.get(at + 1);
            let end = next.map_or(self.generation, |next| next.began_at);
            match (seen.commit <= end, next) {
                (true, None) => return Whereabouts::Now,
                (true, Some(_)) => return Whereabouts::Before,
                (false, _) => {}
            }
        }
        let left = |life: &ServerLife| {
            let is_over = life.epoch == seen.epoch && life.epoch != now.epoch;
            is_over || life.lost == Some(seen.epoch)
        };
        if self.lives.iter().any(left) {
            Whereabouts::Lost
        } else {
            Whereabouts::Missing
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(number: u64, epoch: u64, began_at: u64, lost: Option<u64>) -> ServerLife {
        ServerLife {
            number,
            epoch,
            life: number * 100 + epoch,
            began_at,
            lost,
        }
    }

    fn seen(of: &ServerLife, commit: u64) -> Moment {
        Moment {
            epoch: of.epoch,
            start: of.number,
            life: of.life,
            commit,
            event: 0,
            memory: 0,
            proof: 0,
        }
    }

    fn state(lives: Vec<ServerLife>, generation: u64) -> SystemState {
        SystemState {
            generation,
            lives,
            ..SystemState::default()
        }
    }

    #[test]
    fn what_was_seen_is_in_the_history_or_was_lost() {
        let (first, second) = (life(1, 7, 1, None), life(2, 7, 10, None));
        let here = state(vec![first.clone(), second.clone()], 20);
        assert_eq!(here.whereabouts(&seen(&second, 20)), Whereabouts::Now);
        assert_eq!(here.whereabouts(&seen(&first, 10)), Whereabouts::Before);
        let behind = [
            ("more of the present life", seen(&second, 21)),
            ("more of an earlier life", seen(&first, 11)),
            ("a later start", seen(&life(3, 7, 15, None), 15)),
            (
                "another start of this number",
                Moment {
                    life: 1,
                    ..seen(&second, 12)
                },
            ),
            ("another history", seen(&life(1, 8, 0, None), 1)),
        ];
        for (what, moment) in behind {
            assert_eq!(here.whereabouts(&moment), Whereabouts::Missing, "{what}");
        }
    }

    #[test]
    fn what_was_lost_is_found_out_once() {
        let begun_anew = life(5, 9, 30, Some(8));
        let here = state(vec![life(1, 7, 1, None), begun_anew.clone()], 40);
        for lost in [seen(&life(4, 7, 9, None), 9), seen(&life(4, 8, 9, None), 9)] {
            assert_eq!(here.whereabouts(&lost), Whereabouts::Lost);
        }
        assert_eq!(here.whereabouts(&seen(&begun_anew, 31)), Whereabouts::Now);
        // The same backup once more: the entry is gone, and whoever has seen it says so.
        let again = state(vec![life(1, 7, 1, None), life(2, 7, 9, None)], 12);
        assert_eq!(
            again.whereabouts(&seen(&begun_anew, 31)),
            Whereabouts::Missing
        );
    }

    #[test]
    fn a_history_that_is_no_longer_kept_counts_as_known() {
        let here = state(vec![life(1_000, 7, 5_000, None)], 6_000);
        let old = seen(&life(3, 6, 1, None), 9);
        assert_eq!(here.whereabouts(&old), Whereabouts::Before);
        assert_eq!(SystemState::default().moment(), None);
    }
}
