//! What a message says, in each form.

use crate::MessageTemplate;
use jiff::Timestamp;
use model::api::{Event, EventSeverity};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// What the type of an event begins with, so that it is nobody else's.
const TYPE_PREFIX: &str = "upstart.";

/// How many hexadecimal digits of an event's digest are in its id.
const DIGEST_DIGITS: usize = 16;

/// What Upstart says to Slack unless told otherwise.
const SLACK: &str =
    "{{icon}} *{{kind}}* at {{system}}: {{message}}\n_{{author}}, {{time}}, number {{number}}_";

/// What Upstart writes by mail unless told otherwise.
const MAIL: &str = "\
Subject: [{{system}}] {{severity}}: {{message}}

{{message}}

What:    {{kind}}
When:    {{time}}
Who:     {{author}}
Node:    {{node}}
Version: {{version}}
Number:  {{number}}
";

/// An event on its way to a receiver, with what is known besides.
#[derive(Clone, Debug, PartialEq)]
pub struct EventNotice {
    /// What happened.
    pub event: Event,
    /// By which a receiver knows that it has had it: the same however often it is sent.
    pub id: String,
    /// The system's name.
    pub system: String,
    /// Which history the event is of.
    pub epoch: u64,
    /// The class of the node that it is about.
    pub class: Option<String>,
}

/// The id of an event: its number, and a digest of it. Where a history was set back, another event may get the number of one that was lost; it
/// has another id.
#[must_use]
pub fn event_id(event: &Event) -> String {
    let written = serde_json::to_vec(event).unwrap_or_default();
    let mut digest = hex::encode(Sha256::digest(written));
    digest.truncate(DIGEST_DIGITS);
    format!("{}-{digest}", event.sequence)
}

/// Whether a template is a JSON document, and no text that begins with a placeholder.
pub(crate) fn looks_like_json(template: &str) -> bool {
    let begin = template.trim_start();
    begin.starts_with('{') && !begin.starts_with("{{")
}

impl EventNotice {
    /// One of an event.
    #[must_use]
    pub fn new(event: Event, system: String, epoch: u64, class: Option<String>) -> Self {
        let id = event_id(&event);
        Self {
            event,
            id,
            system,
            epoch,
            class,
        }
    }

    /// One that tries a template: what can be in a value is in it.
    pub(crate) fn example() -> Self {
        let event = Event {
            sequence: 1,
            at_ms: 0,
            author: "ann".to_owned(),
            proven: None,
            node: Some("n\"1".to_owned()),
            kind: "node.blocked".to_owned(),
            version: None,
            message: "\"quoted\" <b> & \\ a\nline".to_owned(),
        };
        Self::new(event, "example".to_owned(), 1, None)
    }

    /// A `CloudEvents` 1.0 document.
    pub(crate) fn cloudevent(&self) -> Vec<u8> {
        let event = &self.event;
        let source = utf8_percent_encode(&self.system, NON_ALPHANUMERIC);
        let mut data = serde_json::to_value(event).unwrap_or_default();
        if let Value::Object(data) = &mut data {
            data.insert("severity".to_owned(), json!(EventSeverity::of(&event.kind)));
            data.insert("class".to_owned(), json!(self.class));
        }
        let document = json!({
            "specversion": "1.0",
            "id": self.id,
            "source": format!("/upstart/{source}"),
            "type": format!("{TYPE_PREFIX}{}", event.kind),
            "subject": self.subject(),
            "time": time(event.at_ms),
            "datacontenttype": "application/json",
            // As the extension `sequence` has it: a text whose order is that of the numbers.
            "sequence": format!("{:020}", event.sequence),
            "epoch": self.epoch.to_string(),
            "data": data,
        });
        document.to_string().into_bytes()
    }

    fn subject(&self) -> String {
        match (&self.event.node, self.event.version) {
            (Some(node), _) => format!("nodes/{node}"),
            (None, Some(version)) => format!("upgrades/{version}"),
            (None, None) => "system".to_owned(),
        }
    }

    /// What an incoming webhook of Slack takes. In a template that is JSON, values are escaped as its strings are.
    pub(crate) fn slack(&self, template: Option<&MessageTemplate>) -> Vec<u8> {
        let own = || MessageTemplate::read(SLACK).ok();
        let Some(template) = template.cloned().or_else(own) else {
            return Vec::new();
        };
        let text = template.filled(str::to_owned);
        if looks_like_json(&text) {
            let filled = template.filled(|name| {
                let quoted = Value::String(slack_text(&self.value(name))).to_string();
                quoted[1..quoted.len() - 1].to_owned()
            });
            return filled.into_bytes();
        }
        let text = template.filled(|name| slack_text(&self.value(name)));
        json!({ "text": text }).to_string().into_bytes()
    }

    /// A mail's subject and text.
    pub(crate) fn mail(&self, template: Option<&MessageTemplate>) -> (String, String) {
        let own = || MessageTemplate::read(MAIL).ok();
        let template = template.cloned().or_else(own);
        // In the subject's line no value begins another line.
        let filled = template
            .map(|template| template.filled(|name| self.value(name).replace(['\r', '\n'], " ")));
        let filled = filled.unwrap_or_default();
        let (subject, text) = filled.split_once('\n').unwrap_or((&filled, ""));
        let subject = subject.trim_start_matches("Subject:").trim().to_owned();
        (subject, text.trim_start_matches(['\r', '\n']).to_owned())
    }

    fn value(&self, name: &str) -> String {
        let event = &self.event;
        let or_none = |text: &Option<String>| text.clone().unwrap_or_default();
        match name {
            "author" => event.author.clone(),
            "class" => or_none(&self.class),
            "epoch" => self.epoch.to_string(),
            "icon" => icon(EventSeverity::of(&event.kind)).to_owned(),
            "id" => self.id.clone(),
            "kind" => event.kind.clone(),
            "severity" => EventSeverity::of(&event.kind).to_string(),
            "message" => event.message.clone(),
            "node" => or_none(&event.node),
            "number" => event.sequence.to_string(),
            "system" => self.system.clone(),
            "time" => time(event.at_ms),
            "version" => event
                .version
                .map_or_else(String::new, |version| version.to_string()),
            _ => String::new(),
        }
    }
}

fn icon(severity: EventSeverity) -> &'static str {
    match severity {
        EventSeverity::Info => ":information_source:",
        EventSeverity::Warning => ":warning:",
        EventSeverity::Error => ":rotating_light:",
    }
}

/// A text in which nothing is a link, a mention or an entity for Slack.
fn slack_text(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// A time as RFC 3339 has it.
fn time(at_ms: u64) -> String {
    let at_ms = i64::try_from(at_ms).unwrap_or(i64::MAX);
    let at = Timestamp::from_millisecond(at_ms).unwrap_or(Timestamp::MAX);
    format!("{at:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::ids::Version;

    fn notice(message: &str) -> EventNotice {
        let event = Event {
            sequence: 120,
            at_ms: 1_795_423_500_000,
            author: "ann".to_owned(),
            proven: Some("operator:ann".to_owned()),
            node: Some("n 1".to_owned()),
            kind: "node.blocked".to_owned(),
            version: Some(Version(2)),
            message: message.to_owned(),
        };
        EventNotice::new(event, "my store".to_owned(), 42, Some("storage".to_owned()))
    }

    #[test]
    fn a_cloud_event_has_what_its_specification_asks_for() {
        let document: Value = serde_json::from_slice(&notice("m").cloudevent()).expect("JSON");
        let id = document["id"].as_str().expect("text").to_owned();
        assert!(
            id.starts_with("120-") && id.len() == 4 + DIGEST_DIGITS,
            "{id}"
        );
        assert_eq!(document["specversion"], "1.0");
        assert_eq!(document["source"], "/upstart/my%20store");
        assert_eq!(document["type"], "upstart.node.blocked");
        assert_eq!(document["subject"], "nodes/n 1");
        assert_eq!(document["time"], "2026-11-23T08:45:00.000Z");
        assert_eq!(document["sequence"], "00000000000000000120");
        assert_eq!(document["epoch"], "42");
        assert_eq!(document["data"]["severity"], "error");
        assert_eq!(document["data"]["class"], "storage");
        assert_eq!(document["data"]["proven"], "operator:ann");
    }

    #[test]
    fn another_event_under_the_same_number_has_another_id() {
        assert_eq!(notice("m").id, notice("m").id);
        assert_ne!(notice("m").id, notice("n").id);
    }

    #[test]
    fn nothing_that_a_node_tells_is_a_command_to_slack() {
        let odd = "<!channel> & <https://evil.example|click> \"x\"";
        let made: Value = serde_json::from_slice(&notice(odd).slack(None)).expect("JSON");
        let text = made["text"].as_str().expect("text");
        assert!(
            text.contains("&lt;!channel&gt; &amp; &lt;https://evil.example|click&gt;"),
            "{text}"
        );
        assert!(
            text.starts_with(":rotating_light: *node.blocked* at my store: "),
            "{text}"
        );
        let template =
            MessageTemplate::read("{\"blocks\":[{\"text\":\"{{message}}\"}]}").expect("one");
        let made: Value =
            serde_json::from_slice(&notice(odd).slack(Some(&template))).expect("JSON");
        assert!(
            made["blocks"][0]["text"]
                .as_str()
                .expect("text")
                .ends_with("\"x\"")
        );
    }

    #[test]
    fn nothing_that_a_node_tells_is_a_header_of_a_mail() {
        let (subject, text) = notice("a\r\nBcc: all@example.org\n\nb").mail(None);
        assert_eq!(subject, "[my store] error: a  Bcc: all@example.org  b");
        assert!(
            text.starts_with("a  Bcc: all") && text.contains("Node:    n 1\n"),
            "{text}"
        );
    }
}
