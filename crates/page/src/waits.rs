//! What kinds of reasons stand in the text with which a node says why it waits.
//!
//! A node reports its reasons as people read them. The words are those of the schedule's reasons, so that a kind is known by a part of
//! its words that no other has; a test compares them. What has other words (a full disk, a port that some member does not know yet) is
//! counted by its text, without the numbers in it.

use model::api::WaitCode;

/// A kind of reason.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WaitKind {
    /// One that schedules have.
    Code(WaitCode),
    /// Another, by its words without numbers.
    Other(String),
}

/// The words by which a kind is known.
const WORDS: [(WaitCode, &str); 23] = [
    (WaitCode::Paused, "paused by "),
    (WaitCode::Limit, " may be unavailable at once"),
    (WaitCode::NotApproved, "waits for approval: "),
    (WaitCode::Soaks, "waits for the soak time: "),
    (WaitCode::Failing, "waits to begin the soak time: "),
    (WaitCode::NotStaged, "not every node has staged version "),
    (WaitCode::NotYetAt, " to settle at "),
    (WaitCode::NotYetHealthy, " to be healthy at "),
    (WaitCode::Blocked, " has failed and is blocked at "),
    (
        WaitCode::Fetches,
        " ready, which the others of its class run",
    ),
    (WaitCode::NotNewest, " is the newest, not "),
    (WaitCode::NotPublished, " is not published"),
    (WaitCode::Withdrawn, " was withdrawn"),
    (WaitCode::Wave, "waits for wave "),
    (WaitCode::Role, " which role it has"),
    (WaitCode::Role, " and goes after the others of its group"),
    (WaitCode::Once, "waits until `once."),
    (WaitCode::Idle, "waits until it is idle: "),
    (WaitCode::GoIf, "waits until `go_if` holds: "),
    (
        WaitCode::GoIfUnknown,
        "it is not known whether `go_if` holds: ",
    ),
    (WaitCode::NoWindow, "waits for the window that opens "),
    (WaitCode::Frozen, "frozen: "),
    (
        WaitCode::NoZone,
        "the schedule's times are those of its site",
    ),
];

/// How much of another text tells its kind.
const OTHER_CHARACTERS: usize = 60;

impl WaitKind {
    /// Its name in filters.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Code(code) => code.name(),
            Self::Other(words) => words,
        }
    }

    /// Whether a moment ends it; whoever waits for a person or for other nodes has none.
    #[must_use]
    pub fn has_moment(&self) -> bool {
        matches!(
            self,
            Self::Code(WaitCode::Soaks | WaitCode::NoWindow | WaitCode::Frozen)
        )
    }

    /// Whether somebody has to do something before it ends.
    #[must_use]
    pub fn waits_for_somebody(&self) -> bool {
        matches!(
            self,
            Self::Code(
                WaitCode::Blocked | WaitCode::NotApproved | WaitCode::Paused | WaitCode::NoZone
            )
        )
    }

    /// What it means, where that is known.
    #[must_use]
    pub fn meaning(&self) -> Option<&'static str> {
        match self {
            Self::Code(code) => Some(code.meaning()),
            Self::Other(_) => None,
        }
    }
}

/// Every kind of reason in a text; one at least.
#[must_use]
pub fn wait_kinds(reason: &str) -> Vec<WaitKind> {
    let known = WORDS.iter().filter(|(_, words)| reason.contains(words));
    let known: Vec<WaitKind> = known.map(|(code, _)| WaitKind::Code(*code)).collect();
    if known.is_empty() {
        return vec![WaitKind::Other(without_numbers(reason))];
    }
    known
}

/// What stands between two reasons, and within some.
const BETWEEN: &str = "; ";

/// What a text says of one kind of reason: reasons stand behind one another. What has no kind of its own belongs to the reason before it.
pub(crate) fn part_of<'a>(kind: &WaitKind, reason: &'a str) -> &'a str {
    let is_known = |part: &str| WORDS.iter().any(|(_, words)| part.contains(words));
    let (mut begin, mut at) = (None, 0);
    for part in reason.split(BETWEEN) {
        match begin {
            None if wait_kinds(part).contains(kind) => begin = Some(at),
            Some(begin) if is_known(part) => return &reason[begin..at - BETWEEN.len()],
            _ => {}
        }
        at += part.len() + BETWEEN.len();
    }
    begin.map_or(reason, |begin| &reason[begin..])
}

/// The beginning of a text in which each number is `#`.
pub(crate) fn without_numbers(text: &str) -> String {
    let mut words = String::new();
    let mut length = 0;
    for letter in text.chars() {
        if length == OTHER_CHARACTERS {
            words.push('\u{2026}');
            break;
        }
        length += usize::from(!(letter.is_ascii_digit() && words.ends_with('#')));
        match letter {
            digit if digit.is_ascii_digit() && words.ends_with('#') => {}
            digit if digit.is_ascii_digit() => words.push('#'),
            other => words.push(other),
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::fleet::SomeNodes;
    use model::ids::{Revision, Version};
    use model::schedule::{UpgradeGoal, WaitReason};

    fn reasons() -> Vec<WaitReason> {
        let all = [of_the_plan(), of_nodes(), of_the_calendar()];
        all.into_iter().flatten().collect()
    }

    fn of_the_plan() -> Vec<WaitReason> {
        let version = Version(2);
        vec![
            WaitReason::Withdrawn(version),
            WaitReason::NotPublished(version),
            WaitReason::NotNewest {
                version,
                revision: Revision(1),
                newest: Revision(2),
            },
            WaitReason::Fetches(version),
            WaitReason::Paused {
                author: "ann".to_owned(),
                reason: "lunch".to_owned(),
            },
        ]
    }

    fn of_the_calendar() -> Vec<WaitReason> {
        vec![
            WaitReason::NoWindow {
                opens: "tomorrow".to_owned(),
            },
            WaitReason::Frozen {
                reason: "the year ends".to_owned(),
                ends: "tomorrow".to_owned(),
            },
            WaitReason::NoZone { found: None },
            WaitReason::NoZone {
                found: Some("Atlantis".to_owned()),
            },
        ]
    }

    fn of_nodes() -> Vec<WaitReason> {
        let goal = UpgradeGoal {
            version: Version(2),
            revision: None,
        };
        let (version, nodes) = (Version(2), SomeNodes::default());
        let classes = vec!["storage".to_owned()];
        vec![
            WaitReason::Blocked {
                goal,
                nodes: nodes.clone(),
            },
            WaitReason::NotStaged {
                version,
                nodes: nodes.clone(),
            },
            WaitReason::NotYetAt {
                classes: classes.clone(),
                goal,
                nodes: nodes.clone(),
            },
            WaitReason::NotYetHealthy {
                classes,
                goal,
                nodes: nodes.clone(),
            },
            WaitReason::Soaks {
                who: "storage".to_owned(),
                goal,
                soak_ms: 5,
            },
            WaitReason::NotApproved(goal),
            WaitReason::Failing {
                goal,
                nodes: nodes.clone(),
            },
            WaitReason::Limit {
                max_unavailable: 1,
                group: "group 7".to_owned(),
                nodes: nodes.clone(),
            },
            WaitReason::Wave {
                wave: 1,
                goal,
                nodes: nodes.clone(),
            },
            WaitReason::Role {
                role: "leader".to_owned(),
                goal,
                nodes,
            },
            WaitReason::RoleUnknown,
            WaitReason::Once {
                version: Version(1),
                name: "finish".to_owned(),
            },
            WaitReason::GoIf {
                condition: "crashed == 0".to_owned(),
                seen: "crashed 1".to_owned(),
            },
            WaitReason::GoIfUnknown {
                condition: "metrics.errors.new < 0.1".to_owned(),
                why: "Prometheus does not answer".to_owned(),
            },
        ]
    }

    #[test]
    fn each_reason_is_known_by_its_words_and_taken_for_no_other() {
        for reason in reasons() {
            let expected = vec![WaitKind::Code(reason.code())];
            assert_eq!(wait_kinds(&reason.to_string()), expected, "{reason}");
        }
    }

    #[test]
    fn every_kind_has_its_words_and_is_tried_here() {
        // What only the node knows it says itself.
        let idle = wait_kinds("waits until it is idle: `idle` ended with exit code 1: 3 jobs run");
        assert_eq!(idle, [WaitKind::Code(WaitCode::Idle)]);
        let own = [WaitCode::Idle];
        for code in WaitCode::ALL.iter().filter(|code| !own.contains(code)) {
            assert!(WORDS.iter().any(|(known, _)| known == code), "{code}");
            assert!(
                reasons().iter().any(|reason| reason.code() == *code),
                "{code}"
            );
        }
    }

    #[test]
    fn a_node_may_wait_for_several_things() {
        let texts: Vec<String> = reasons()[6..8].iter().map(ToString::to_string).collect();
        let kinds = wait_kinds(&texts.join("; "));
        let names: Vec<&str> = kinds.iter().map(WaitKind::name).collect();
        assert_eq!(names, ["not_staged", "not_yet_at"]);
        let joined = texts.join("; ");
        let parts: Vec<&str> = kinds.iter().map(|kind| part_of(kind, &joined)).collect();
        assert_eq!(parts, texts);
    }

    #[test]
    fn other_reasons_are_counted_without_their_numbers() {
        let lacks = |mib: u32| wait_kinds(&format!("the disk lacks {mib} MiB"));
        assert_eq!(lacks(7), lacks(12_345));
        assert_eq!(lacks(7)[0].name(), "the disk lacks # MiB");
        assert_eq!(lacks(7)[0].meaning(), None);
        let long = |number: u32| without_numbers(&format!("{number}{}", "x".repeat(100)));
        assert_eq!(long(7), long(12_345));
        assert_eq!(long(7).chars().count(), OTHER_CHARACTERS + 1);
    }
}
