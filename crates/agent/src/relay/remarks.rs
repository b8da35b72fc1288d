//! What people should know of calls that go wrong, beside the counters: each matter once, with its latest case and how often it came up.
//! It stands in the node's report as long as it is recent, in the log and among the events when it comes up anew.

use model::api::EventKind;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long a matter that does not come up again is worth a remark.
const RECENT: Duration = Duration::from_secs(600);

/// The most matters that are kept: what matters then is that there are many.
const MATTERS_MAX: usize = 16;

/// The matters at hand.
#[derive(Default)]
pub(crate) struct Remarks {
    matters: Mutex<BTreeMap<String, Matter>>,
}

struct Matter {
    kind: EventKind,
    text: String,
    times: u64,
    last: Instant,
    /// Nobody has been told yet.
    is_news: bool,
}

/// What an event says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct News {
    /// Its kind.
    pub(crate) kind: EventKind,
    /// One line for people.
    pub(crate) text: String,
}

impl Remarks {
    /// Something has come up: what it is about, by which it is known again, and its case in words.
    pub(crate) fn note(&self, now: Instant, kind: EventKind, about: &str, text: String) {
        let mut matters = self.matters();
        matters.retain(|_, matter| now.duration_since(matter.last) < RECENT);
        let key = format!("{kind} {about}");
        if let Some(matter) = matters.get_mut(&key) {
            matter.text = text;
            matter.times += 1;
            matter.last = now;
            return;
        }
        if matters.len() >= MATTERS_MAX {
            return;
        }
        tracing::warn!(%kind, "{text}");
        let matter = Matter {
            kind,
            text,
            times: 1,
            last: now,
            is_news: true,
        };
        matters.insert(key, matter);
    }

    /// The recent ones, in words.
    pub(crate) fn recent(&self, now: Instant) -> Vec<String> {
        let mut matters = self.matters();
        matters.retain(|_, matter| now.duration_since(matter.last) < RECENT);
        let said = |matter: &Matter| match matter.times {
            1 => matter.text.clone(),
            times => format!("{} ({times} times)", matter.text),
        };
        matters.values().map(said).collect()
    }

    /// What nobody has been told yet.
    pub(crate) fn news(&self) -> Vec<News> {
        let mut matters = self.matters();
        let news = matters.values_mut().filter(|matter| matter.is_news);
        news.map(|matter| {
            matter.is_news = false;
            News {
                kind: matter.kind,
                text: matter.text.clone(),
            }
        })
        .collect()
    }

    fn matters(&self) -> parking_lot::MutexGuard<'_, BTreeMap<String, Matter>> {
        self.matters.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matter_is_told_once_and_remarked_while_it_is_recent() {
        let (remarks, begun) = (Remarks::default(), Instant::now());
        let after = |seconds| begun + Duration::from_secs(seconds);
        remarks.note(
            begun,
            EventKind::AnswerRefused,
            "GET /a",
            "no rule for 500".to_owned(),
        );
        remarks.note(
            after(1),
            EventKind::AnswerRefused,
            "GET /a",
            "no rule for 502".to_owned(),
        );
        remarks.note(
            after(2),
            EventKind::SessionsFailed,
            "bus",
            "it trapped".to_owned(),
        );
        let told: Vec<_> = remarks.news().into_iter().map(|news| news.kind).collect();
        assert_eq!(told, [EventKind::AnswerRefused, EventKind::SessionsFailed]);
        assert_eq!(remarks.news(), []);
        let recent = remarks.recent(after(3));
        assert_eq!(recent, ["no rule for 502 (2 times)", "it trapped"]);
        assert_eq!(remarks.recent(after(601)), ["it trapped"]);
        // What comes up again after a while is news again.
        remarks.note(
            after(700),
            EventKind::AnswerRefused,
            "GET /a",
            "no rule for 500".to_owned(),
        );
        assert_eq!(remarks.news().len(), 1);
        for number in 0..100 {
            remarks.note(
                after(700),
                EventKind::AnswerRefused,
                &number.to_string(),
                String::new(),
            );
        }
        assert_eq!(remarks.recent(after(700)).len(), MATTERS_MAX);
    }
}
