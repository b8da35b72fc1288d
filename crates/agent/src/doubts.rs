//! Endpoints that may have gone to somebody else: a member was there when the server was heard last, and nobody can say whether it
//! still is. Whoever listens there is asked. Pure: the agent's clock and the answers come in, what is to be asked and refused goes out.
//!
//! Software that starts is connected there only after a member has shown itself. Software that runs was connected a moment ago: it is not
//! connected any more when somebody else has answered, or nobody takes connections, after [`GRACE_MS`]. That an answer has not come yet says
//! nothing for long: software that is busy accepts late.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// How long a new doubt leaves the software connected: some questions can be lost on the way.
const GRACE_MS: u64 = 3_000;

/// A member that has shown itself is asked again after this.
const SHOWN_AGAIN_MS: u64 = 60_000;

/// The same for each endpoint in doubt: in a large system whose server is away all ask all.
const SHOWN_AGAIN_EACH_MS: u64 = 20;

/// Where nobody listens it is asked again after this. Nobody gets such a question.
const NOBODY_AGAIN_MS: u64 = 2_000;

/// Where a question is not answered, though somebody takes connections, it is asked again after this.
const SILENT_AGAIN_MS: u64 = 10_000;

/// For so long whoever takes connections and says nothing counts as the member that it was: software that is busy accepts late.
const SILENT_MS_MAX: u64 = 600_000;

/// Where somebody else listens the second question follows after this, and each further one after twice the time.
const STRANGER_AGAIN_MS: u64 = 1_000;

/// The longest such time.
const STRANGER_AGAIN_MS_MAX: u64 = 60_000;

/// The most questions that are under way.
const ASKED_AT_ONCE_MAX: usize = 128;

/// Who listens at an endpoint in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhoListens {
    /// A member of the system.
    Member,
    /// Somebody who answered otherwise than a member does, or ended the connection.
    Stranger,
    /// Nobody has answered yet, one way or the other: software that is busy, or a path that swallows what is sent.
    Silent,
    /// The connection was refused.
    Nobody,
}

/// All endpoints in doubt.
#[derive(Debug, Default)]
pub(crate) struct Doubts {
    open: BTreeMap<SocketAddr, EndpointDoubt>,
}

#[derive(Debug)]
struct EndpointDoubt {
    /// From then on it is refused, unless a member shows itself.
    grace_until_ms: u64,
    shown_ms: Option<u64>,
    /// When it began to be in doubt.
    begun_ms: u64,
    /// Software that has not been connected there goes there only after a member has shown itself.
    must_show: bool,
    /// Since a member has shown itself last, somebody else or nobody was found there.
    is_contrary: bool,
    /// `None` while it is being asked.
    ask_at_ms: Option<u64>,
    found: Option<WhoListens>,
    /// How often in a row a stranger was found.
    strangers: u32,
}

impl Doubts {
    /// Takes in what is in doubt now. `is_known_to_run`: software that runs has been connected there until now.
    pub(crate) fn follow(
        &mut self,
        now_ms: u64,
        in_doubt: &BTreeSet<SocketAddr>,
        is_known_to_run: bool,
    ) {
        self.open.retain(|endpoint, _| in_doubt.contains(endpoint));
        let grace_ms = if is_known_to_run { GRACE_MS } else { 0 };
        for endpoint in in_doubt {
            self.open.entry(*endpoint).or_insert(EndpointDoubt {
                grace_until_ms: now_ms + grace_ms,
                shown_ms: None,
                begun_ms: now_ms,
                must_show: !is_known_to_run,
                is_contrary: false,
                ask_at_ms: Some(now_ms),
                found: None,
                strangers: 0,
            });
        }
    }

    /// Whether each has been asked about once.
    pub(crate) fn all_were_asked(&self) -> bool {
        self.open.values().all(|doubt| doubt.found.is_some())
    }

    /// Where it is to be asked now; each question counts as under way from here on.
    pub(crate) fn due(&mut self, now_ms: u64) -> Vec<SocketAddr> {
        let under_way = (self.open.values())
            .filter(|doubt| doubt.ask_at_ms.is_none())
            .count();
        let due = (self.open.iter_mut())
            .filter(|(_, doubt)| doubt.ask_at_ms.is_some_and(|at| at <= now_ms))
            .take(ASKED_AT_ONCE_MAX.saturating_sub(under_way));
        due.map(|(endpoint, doubt)| {
            doubt.ask_at_ms = None;
            *endpoint
        })
        .collect()
    }

    /// Takes in who was found.
    pub(crate) fn found(&mut self, now_ms: u64, at: SocketAddr, found: WhoListens) {
        let again_ms = self.shown_again_ms();
        let Some(doubt) = self.open.get_mut(&at) else {
            return;
        };
        doubt.found = Some(found);
        doubt.strangers = match found {
            WhoListens::Stranger => doubt.strangers + 1,
            WhoListens::Member | WhoListens::Silent | WhoListens::Nobody => 0,
        };
        match found {
            WhoListens::Member => doubt.is_contrary = false,
            WhoListens::Stranger | WhoListens::Nobody => doubt.is_contrary = true,
            WhoListens::Silent => {}
        }
        let pause_ms = match found {
            WhoListens::Member => {
                doubt.shown_ms = Some(now_ms);
                again_ms
            }
            WhoListens::Stranger => {
                let doubled = STRANGER_AGAIN_MS << (doubt.strangers - 1).min(16);
                doubled.min(STRANGER_AGAIN_MS_MAX)
            }
            WhoListens::Silent => SILENT_AGAIN_MS,
            WhoListens::Nobody => NOBODY_AGAIN_MS,
        };
        doubt.ask_at_ms = Some(now_ms + pause_ms);
    }

    fn shown_again_ms(&self) -> u64 {
        SHOWN_AGAIN_MS.max(self.open.len() as u64 * SHOWN_AGAIN_EACH_MS)
    }

    /// Where the software is not connected now.
    pub(crate) fn refused(&self, now_ms: u64) -> BTreeSet<SocketAddr> {
        // Two questions may be lost.
        let shown_for_ms = self.shown_again_ms() * 5 / 2;
        let is_refused = |doubt: &EndpointDoubt| {
            let shown = doubt.shown_ms;
            let since_ms = shown.unwrap_or(doubt.begun_ms);
            let speaks_against_it = doubt.is_contrary
                || shown.is_none() && doubt.must_show
                || now_ms >= since_ms + SILENT_MS_MAX;
            now_ms >= doubt.grace_until_ms
                && shown.is_none_or(|at| now_ms >= at + shown_for_ms)
                && speaks_against_it
        };
        let refused = self.open.iter().filter(|(_, doubt)| is_refused(doubt));
        refused.map(|(endpoint, _)| *endpoint).collect()
    }

    /// Those of these at which somebody else listens.
    pub(crate) fn strangers<'a>(
        &'a self,
        refused: &'a BTreeSet<SocketAddr>,
    ) -> impl Iterator<Item = SocketAddr> + 'a {
        let found = |endpoint: &SocketAddr| self.open.get(endpoint).and_then(|doubt| doubt.found);
        let strangers = refused.iter().copied();
        strangers.filter(move |endpoint| found(endpoint) == Some(WhoListens::Stranger))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], port))
    }

    fn doubts(known_to_run: bool, ports: &[u16]) -> Doubts {
        let mut doubts = Doubts::default();
        let endpoints = ports.iter().map(|port| at(*port)).collect();
        doubts.follow(1_000, &endpoints, known_to_run);
        doubts
    }

    #[test]
    fn software_that_starts_is_connected_only_where_a_member_has_shown_itself() {
        let mut doubts = doubts(false, &[1, 2, 3]);
        assert_eq!(doubts.refused(1_000).len(), 3);
        assert_eq!(doubts.due(1_000), [at(1), at(2), at(3)]);
        assert_eq!(doubts.due(9_000), [], "each is being asked");
        assert!(!doubts.all_were_asked());
        doubts.found(1_001, at(1), WhoListens::Member);
        doubts.found(1_001, at(2), WhoListens::Stranger);
        doubts.found(1_001, at(3), WhoListens::Nobody);
        assert!(doubts.all_were_asked());
        let refused = doubts.refused(1_001);
        assert_eq!(refused, [at(2), at(3)].into());
        let strangers: Vec<_> = doubts.strangers(&refused).collect();
        assert_eq!(strangers, [at(2)]);
        // What is not in doubt any more is refused nowhere.
        doubts.follow(2_000, &BTreeSet::new(), false);
        assert!(doubts.refused(2_000).is_empty());
    }

    #[test]
    fn software_that_runs_has_time_until_members_have_shown_themselves() {
        let mut doubts = doubts(true, &[1, 2]);
        assert_eq!(doubts.due(1_000).len(), 2);
        doubts.found(1_010, at(1), WhoListens::Member);
        doubts.found(1_010, at(2), WhoListens::Stranger);
        assert!(doubts.refused(1_000 + GRACE_MS - 1).is_empty());
        assert_eq!(doubts.refused(1_000 + GRACE_MS), [at(2)].into());
        // It comes back: from the next answer on it is connected.
        doubts.found(7_000, at(2), WhoListens::Member);
        assert!(doubts.refused(7_000).is_empty());
    }

    #[test]
    fn a_member_that_has_shown_itself_may_miss_two_questions() {
        let mut doubts = doubts(false, &[1]);
        let mut now_ms = 1_000;
        assert_eq!(doubts.due(now_ms), [at(1)]);
        doubts.found(now_ms, at(1), WhoListens::Member);
        let shown_ms = now_ms;
        for _ in 0..2 {
            now_ms = shown_ms + SHOWN_AGAIN_MS;
            assert!(doubts.due(now_ms - 1).is_empty() || now_ms > shown_ms + SHOWN_AGAIN_MS);
            doubts.due(now_ms);
            doubts.found(now_ms, at(1), WhoListens::Nobody);
            assert!(doubts.refused(now_ms).is_empty());
        }
        assert_eq!(doubts.due(now_ms + NOBODY_AGAIN_MS), [at(1)]);
        let end_ms = shown_ms + SHOWN_AGAIN_MS * 5 / 2;
        assert!(doubts.refused(end_ms - 1).is_empty());
        assert_eq!(doubts.refused(end_ms), [at(1)].into());
    }

    /// Its software is busy, and accepts late: nothing has shown that somebody else is there.
    #[test]
    fn whoever_takes_connections_and_says_nothing_counts_as_the_member_for_long() {
        let mut doubts = doubts(true, &[1, 2]);
        doubts.due(1_000);
        doubts.found(21_000, at(1), WhoListens::Silent);
        doubts.found(21_000, at(2), WhoListens::Silent);
        assert!(doubts.refused(21_000).is_empty());
        assert_eq!(doubts.due(21_000 + SILENT_AGAIN_MS).len(), 2);
        // What is found in the end counts, and what was found before an answer that fails to come stays.
        doubts.found(40_000, at(1), WhoListens::Member);
        doubts.found(40_000, at(2), WhoListens::Stranger);
        assert_eq!(doubts.refused(40_000), [at(2)].into());
        doubts.due(200_000);
        doubts.found(200_000, at(1), WhoListens::Silent);
        doubts.found(200_000, at(2), WhoListens::Silent);
        assert_eq!(doubts.refused(300_000), [at(2)].into());
        assert_eq!(doubts.refused(40_000 + SILENT_MS_MAX).len(), 2);
    }

    #[test]
    fn a_stranger_is_asked_ever_more_rarely() {
        let mut doubts = doubts(false, &[1]);
        let (mut now_ms, mut pauses) = (1_000, Vec::new());
        for _ in 0..9 {
            assert_eq!(doubts.due(now_ms), [at(1)]);
            doubts.found(now_ms, at(1), WhoListens::Stranger);
            let again = (1..).find(|pause| !doubts.clone_due(now_ms + pause).is_empty());
            pauses.push(again.expect("some time"));
            now_ms += pauses[pauses.len() - 1];
        }
        let seconds: Vec<u64> = pauses.iter().map(|pause| pause / 1_000).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }

    impl Doubts {
        /// What would be due, without asking.
        fn clone_due(&self, now_ms: u64) -> Vec<SocketAddr> {
            let due = (self.open.iter())
                .filter(|(_, doubt)| doubt.ask_at_ms.is_some_and(|at| at <= now_ms));
            due.map(|(endpoint, _)| *endpoint).collect()
        }
    }

    #[test]
    fn in_a_large_system_each_member_is_asked_more_rarely() {
        let ports: Vec<u16> = (1..=6_000).collect();
        let mut doubts = doubts(false, &ports);
        assert_eq!(doubts.due(1_000).len(), ASKED_AT_ONCE_MAX);
        assert!(doubts.due(1_000).is_empty());
        doubts.found(1_000, at(1), WhoListens::Member);
        assert_eq!(doubts.due(1_000).len(), 1, "one more has room");
        assert!(!doubts.clone_due(1_000 + SHOWN_AGAIN_MS).contains(&at(1)));
        assert!(doubts.clone_due(1_000 + 120_000).contains(&at(1)));
    }
}
