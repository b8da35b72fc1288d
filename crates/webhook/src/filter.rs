//! Which events a receiver is sent.

use crate::SettingsError;
use model::api::{Event, EventKind, EventSeverity, WebhookFilter};
use model::expression::{Allowed, Expression, ExpressionScope, NodeScope, Variable};
use model::spelling::nearest;
use std::collections::BTreeMap;

/// How many entries each list of a filter has at most.
const ENTRIES_MAX: usize = 100;

/// The node that an event is about, as it is known when the event is sent; nothing of one that was forgotten, or where it is about none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventPlace {
    /// Its class.
    pub class: Option<String>,
    /// Its attributes.
    pub attributes: BTreeMap<String, String>,
}

/// A filter that was read.
#[derive(Clone, Debug)]
pub struct EventFilter {
    written: WebhookFilter,
    when: Option<Expression>,
}

impl EventFilter {
    /// Reads one.
    ///
    /// # Errors
    /// No kind begins so, a list is too long, or the expression is none.
    pub fn read(written: &WebhookFilter) -> Result<Self, SettingsError> {
        let lists = [
            ("filter.kinds", &written.kinds),
            ("filter.classes", &written.classes),
            ("filter.nodes", &written.nodes),
        ];
        for (key, list) in lists {
            if list.len() > ENTRIES_MAX {
                return Err(SettingsError::new(
                    key,
                    format!("it has {ENTRIES_MAX} entries at most"),
                ));
            }
            if list.iter().any(String::is_empty) {
                return Err(SettingsError::new(key, "an entry is empty; leave it away"));
            }
        }
        for kind in &written.kinds {
            check_kind(kind)?;
        }
        let compiled = |source: &String| {
            let compiled = Expression::compile("filter.when", source, &Allowed::EVENT)?;
            compiled.judge().map(|()| compiled)
        };
        let when = written.when.as_ref().map(compiled).transpose();
        let when = when.map_err(|error| SettingsError {
            key: "filter.when",
            problem: format!("`{}`: {}", error.expression, error.problem),
        })?;
        Ok(Self {
            written: written.clone(),
            when,
        })
    }

    /// Whether an event is one of those. An expression that fails, since the node has no such attribute, holds not.
    #[must_use]
    pub fn takes(&self, event: &Event, place: &EventPlace) -> bool {
        let WebhookFilter {
            kinds,
            severity,
            classes,
            nodes,
            ..
        } = &self.written;
        let begins = |kind: &String| event.kind.starts_with(kind.as_str());
        let node = event.node.as_deref();
        let is_class = |class: &String| place.class.as_ref() == Some(class);
        (kinds.is_empty() || kinds.iter().any(begins))
            && severity.is_none_or(|severity| EventSeverity::of(&event.kind) >= severity)
            && (classes.is_empty() || classes.iter().any(is_class))
            && (nodes.is_empty()
                || node.is_some_and(|node| nodes.iter().any(|glob| fits(glob, node))))
            && self.holds(event, place)
    }

    fn holds(&self, event: &Event, place: &EventPlace) -> bool {
        let Some(when) = &self.when else {
            return true;
        };
        let text = |text: &str| Variable::Text(text.to_owned());
        let number = |number: u64| Variable::Number(i64::try_from(number).unwrap_or(i64::MAX));
        let version = event.version.map_or(0, |version| version.0);
        let scope = ExpressionScope {
            node: NodeScope {
                name: event.node.clone().unwrap_or_default(),
                class: place.class.clone().unwrap_or_default(),
                attributes: place.attributes.clone(),
            },
            event: BTreeMap::from([
                ("author", text(&event.author)),
                ("kind", text(&event.kind)),
                ("severity", text(EventSeverity::of(&event.kind).name())),
                ("message", text(&event.message)),
                ("number", number(event.sequence)),
                ("proven", text(event.proven.as_deref().unwrap_or_default())),
                ("version", number(u64::from(version))),
            ]),
            ..ExpressionScope::default()
        };
        when.truth(&scope).unwrap_or(false)
    }
}

/// Refuses what no kind of event begins with.
fn check_kind(kind: &str) -> Result<(), SettingsError> {
    let names = || EventKind::ALL.iter().map(|known| known.name());
    if names().any(|name| name.starts_with(kind)) {
        return Ok(());
    }
    let near = nearest(kind, names());
    let hint = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
    let problem = format!("no kind of event begins with `{kind}`{hint}");
    Err(SettingsError::new("filter.kinds", problem))
}

/// Whether a name fits what is written with `*` for any text and `?` for one character.
fn fits(glob: &str, name: &str) -> bool {
    let (glob, name): (Vec<char>, Vec<char>) = (glob.chars().collect(), name.chars().collect());
    let (mut at, mut of) = (0, 0);
    // Where the last `*` stands, and up to where the name was taken for it.
    let mut star: Option<(usize, usize)> = None;
    while of < name.len() {
        match glob.get(at) {
            Some('*') => {
                star = Some((at, of));
                at += 1;
            }
            Some(letter) if *letter == '?' || *letter == name[of] => {
                at += 1;
                of += 1;
            }
            _ => {
                let Some((place, taken)) = star else {
                    return false;
                };
                star = Some((place, taken + 1));
                (at, of) = (place + 1, taken + 1);
            }
        }
    }
    glob[at..].iter().all(|letter| *letter == '*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::ids::Version;

    fn event(kind: &str, node: Option<&str>) -> Event {
        Event {
            sequence: 7,
            at_ms: 1,
            author: "ann".to_owned(),
            proven: None,
            node: node.map(str::to_owned),
            kind: kind.to_owned(),
            version: Some(Version(2)),
            message: "m".to_owned(),
        }
    }

    fn place() -> EventPlace {
        EventPlace {
            class: Some("storage".to_owned()),
            attributes: [("region".to_owned(), "eu".to_owned())].into(),
        }
    }

    fn takes(filter: WebhookFilter, kind: &str, node: Option<&str>) -> bool {
        let place = node.map_or_else(EventPlace::default, |_| place());
        let filter = EventFilter::read(&filter).expect("a filter");
        filter.takes(&event(kind, node), &place)
    }

    #[test]
    fn an_event_is_sent_if_all_of_a_filter_holds() {
        let none = WebhookFilter::default;
        assert!(takes(none(), "node.settled", None));
        let kinds = WebhookFilter {
            kinds: vec!["node.".to_owned(), "system.paused".to_owned()],
            ..none()
        };
        assert!(takes(kinds.clone(), "node.blocked", None));
        assert!(takes(kinds.clone(), "system.paused", None));
        assert!(!takes(kinds, "system.resumed", None));
        let severity = WebhookFilter {
            severity: Some(EventSeverity::Warning),
            ..none()
        };
        assert!(takes(severity.clone(), "node.blocked", None));
        assert!(!takes(severity, "node.settled", None));
        let class = WebhookFilter {
            classes: vec!["storage".to_owned()],
            ..none()
        };
        assert!(takes(class.clone(), "node.settled", Some("a")));
        assert!(!takes(class, "system.paused", None), "about no node");
        let nodes = WebhookFilter {
            nodes: vec!["eu-*".to_owned()],
            ..none()
        };
        assert!(takes(nodes.clone(), "node.settled", Some("eu-1")));
        assert!(!takes(nodes.clone(), "node.settled", Some("us-1")));
        assert!(!takes(nodes, "system.paused", None));
    }

    #[test]
    fn an_expression_sees_the_event_and_its_node() {
        let when = |source: &str| WebhookFilter {
            when: Some(source.to_owned()),
            ..WebhookFilter::default()
        };
        let told = |source: &str| takes(when(source), "node.blocked", Some("a"));
        assert!(told(
            "event.kind == 'node.blocked' && event.version == 2 && event.severity == 'error'"
        ));
        assert!(told(
            "attributes.region == 'eu' && node.class == 'storage' && node.name == 'a'"
        ));
        assert!(!told("attributes.rack == 'x'"), "it has none");
        assert!(!told("event.author == 'bob'"));
        let refused = |source: &str| {
            EventFilter::read(&when(source))
                .expect_err(source)
                .to_string()
        };
        assert!(refused("event.kin == 'x'").contains("did you mean `kind`?"));
        assert!(refused("vars.x == 1").contains("filter.when"));
        assert!(refused("1 +").contains("is not CEL"));
    }

    #[test]
    fn a_kind_that_is_none_is_refused_with_the_nearest() {
        let kinds = WebhookFilter {
            kinds: vec!["node.bloked".to_owned()],
            ..WebhookFilter::default()
        };
        let told = EventFilter::read(&kinds).expect_err("none").to_string();
        assert!(
            told.contains("filter.kinds") && told.contains("`node.blocked`"),
            "{told}"
        );
    }

    #[test]
    fn stars_stand_for_any_text() {
        for (glob, name) in [
            ("*", ""),
            ("a*", "a"),
            ("*b*d", "abcbd"),
            ("a?c", "abc"),
            ("a**", "ab"),
        ] {
            assert!(fits(glob, name), "{glob} {name}");
        }
        for (glob, name) in [
            ("", "a"),
            ("a?", "a"),
            ("*b", "abc"),
            ("a", "ab"),
            ("a*c", "ab"),
        ] {
            assert!(!fits(glob, name), "{glob} {name}");
        }
    }
}
