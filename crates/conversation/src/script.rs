//! Scripts of sessions: what either side says, and what an adapter makes of it, event by event.

use std::fmt::Write;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use toml::Value;
use toml::de::DeTable;

use crate::{Content, Difference, Part};
use call::{
    AdapterFailed, Direction, MessageHead, OutgoingMessage, Party, Reaction, Session,
    SessionCaller, SessionVerdict, Sessions,
};
use declaration::DeclarationError;
use declaration::reader::{Section, Source, TomlNode};

const KEYS: [&str; 4] = ["description", "direction", "head_bytes", "event"];
const EVENT_KEYS: [&str; 9] = [
    "opened",
    "caller",
    "caller_base64",
    "next",
    "next_base64",
    "timer",
    "sends",
    "timer_ms",
    "closes",
];
const SENT_KEYS: [&str; 4] = ["caller", "caller_base64", "next", "next_base64"];

/// Most events of one script.
const EVENTS_MAX: usize = 1_000;

/// As in upgrade files.
const HEAD_BYTES: usize = 64;

/// The session's number: no adapter lives through two of them here.
const SESSION: u64 = 1;

/// A session, as its file says it.
#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    /// What it is about, for people.
    pub description: Option<String>,
    /// Past or future.
    pub direction: Direction,
    /// How much of a message an adapter is shown as its head, in bytes, as the service's framing says; 64 where nothing is said.
    pub head_bytes: Option<usize>,
    /// What happens, in order.
    pub events: Vec<ScriptEvent>,
}

/// One event and what follows from it.
#[derive(Clone, Debug, PartialEq)]
pub struct ScriptEvent {
    /// What happens.
    pub what: Happens,
    /// What is sent to either side, in order: a message that passes is sent to the other one.
    pub sends: Vec<OutgoingMessage>,
    /// When the adapter wants to be woken, in milliseconds.
    pub timer_ms: Option<u32>,
    /// The session ends.
    pub closes: bool,
}

/// What happens to a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happens {
    /// It has begun; an event only where something follows from it.
    Opened,
    /// One side says this message.
    Said(Party, Vec<u8>),
    /// The time that the adapter asked for has passed.
    Timer,
}

/// How a script went.
#[derive(Clone, Debug)]
pub struct PlayedScript {
    /// What really followed.
    pub found: Script,
    /// Where that differs from the script.
    pub differences: Vec<Difference>,
    /// How the adapter itself failed, if it did.
    pub failure: Option<String>,
}

impl Script {
    /// Whether a file is a script of a session; else it is a conversation.
    pub fn is_one(text: &str) -> bool {
        DeTable::parse(text).is_ok_and(|table| table.get_ref().contains_key("event"))
    }

    /// Reads a script; `file` is how messages name it.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place.
    pub fn parse(file: &str, text: &str) -> Result<Self, DeclarationError> {
        let source = Source { file, text };
        let table = DeTable::parse(text)
            .map_err(|error| source.error(error.span().unwrap_or(0..0), "", error.message()))?;
        let root = Section::new(&source, String::new(), table.get_ref(), 0..0);
        root.known(&KEYS)?;
        let direction = match root.text("direction")? {
            Some("past") => Direction::Past,
            Some("future") => Direction::Future,
            _ => {
                let error = root.error("`direction` is \"past\" or \"future\"");
                return Err(error.hint("past: callers of the old version; future: of the new one"));
            }
        };
        let head_bytes = match root.get("head_bytes") {
            None => None,
            Some(node) => {
                let number = node.integer()?;
                let bytes = usize::try_from(number).ok().filter(|bytes| *bytes > 0);
                let complaint = || node.error(format!("{number} is not a number of bytes"));
                Some(bytes.ok_or_else(complaint)?)
            }
        };
        let nodes = root.items("event")?;
        if let Some(node) = nodes.get(EVENTS_MAX) {
            return Err(node.error(format!("more than {EVENTS_MAX} events")));
        }
        let mut events = Vec::with_capacity(nodes.len());
        for (index, node) in nodes.iter().enumerate() {
            let read = event(node)?;
            if read.what == Happens::Opened && index > 0 {
                return Err(node.error("a session is opened once, before all else"));
            }
            events.push(read);
        }
        Ok(Self {
            description: root.text("description")?.map(str::to_owned),
            direction,
            head_bytes,
            events,
        })
    }

    /// The file's text, as people would write it.
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        if let Some(description) = &self.description {
            let _ = writeln!(out, "description = {}", quoted(description));
        }
        let _ = writeln!(out, "direction = {}", quoted(self.direction.name()));
        if let Some(bytes) = self.head_bytes {
            let _ = writeln!(out, "head_bytes = {bytes}");
        }
        for event in &self.events {
            out.push_str("\n[[event]]\n");
            let what = match &event.what {
                Happens::Opened => "opened = true".to_owned(),
                Happens::Timer => "timer = true".to_owned(),
                Happens::Said(party, message) => said(*party, message),
            };
            let _ = writeln!(out, "{what}");
            if !event.sends.is_empty() {
                let sends = event.sends.iter();
                let sends: Vec<String> = sends
                    .map(|sent| format!("  {{ {} }},\n", said(sent.to, &sent.message)))
                    .collect();
                let _ = writeln!(out, "sends = [\n{}]", sends.concat());
            }
            if let Some(ms) = event.timer_ms {
                let _ = writeln!(out, "timer_ms = {ms}");
            }
            if event.closes {
                out.push_str("closes = true\n");
            }
        }
        out
    }

    /// The session in one line, for lists.
    pub fn title(&self) -> String {
        match &self.description {
            Some(description) => description.clone(),
            None => format!("a session of {} events", self.events.len()),
        }
    }

    /// Plays it through an adapter of sessions, which is made for its part.
    pub async fn play(&self, adapter: impl FnOnce(Part) -> Arc<dyn Sessions>) -> PlayedScript {
        let part = Part::of_nobody(self.direction);
        let adapter = adapter(part);
        let mut playing = Playing {
            adapter: &*adapter,
            head_bytes: self.head_bytes.unwrap_or(HEAD_BYTES),
            memo: Vec::new(),
        };
        let mut found = Self {
            events: Vec::with_capacity(self.events.len()),
            ..self.clone()
        };
        let played = playing
            .play(self, part.caller_version, &mut found.events)
            .await;
        PlayedScript {
            differences: self.differences(&found),
            found,
            failure: played.err().map(|failed| failed.to_string()),
        }
    }

    fn differences(&self, found: &Self) -> Vec<Difference> {
        let mut differences = Vec::new();
        let mut expected = self.events.iter().peekable();
        let mut add = |message: &str, place: String, expected, found| {
            differences.push(Difference {
                message: message.to_owned(),
                place,
                expected,
                found,
            });
        };
        for (index, event) in found.events.iter().enumerate() {
            let message = format!("event[{index}]");
            // Something may follow from the beginning of which the script says nothing.
            let nothing = ScriptEvent::of(event.what.clone());
            let wanted = expected.next_if(|wanted| wanted.what == event.what);
            let wanted = wanted.unwrap_or(&nothing);
            let shown = |sent: Option<&OutgoingMessage>| sent.map(shown);
            for at in 0..wanted.sends.len().max(event.sends.len()) {
                let (a, b) = (wanted.sends.get(at), event.sends.get(at));
                if a != b {
                    add(&message, format!("sends[{at}]"), shown(a), shown(b));
                }
            }
            if wanted.timer_ms != event.timer_ms {
                let text = |ms: Option<u32>| ms.map(|ms| ms.to_string());
                let (a, b) = (text(wanted.timer_ms), text(event.timer_ms));
                add(&message, "timer_ms".to_owned(), a, b);
            }
            if wanted.closes != event.closes {
                let text = |closes: bool| closes.then(|| "true".to_owned());
                let (a, b) = (text(wanted.closes), text(event.closes));
                add(&message, "closes".to_owned(), a, b);
            }
        }
        for (index, left) in expected.enumerate() {
            let message = format!("event[{}]", found.events.len() + index);
            let what = Some(left.what.line());
            add(&message, "it has ended before".to_owned(), what, None);
        }
        differences
    }
}

impl ScriptEvent {
    fn of(what: Happens) -> Self {
        Self {
            what,
            sends: Vec::new(),
            timer_ms: None,
            closes: false,
        }
    }

    fn react(&mut self, reaction: Reaction, memo: &mut Vec<u8>) {
        self.sends.extend(reaction.send);
        self.timer_ms = reaction.timer_ms;
        self.closes = reaction.close.is_some();
        if let Some(new) = reaction.memo {
            *memo = new;
        }
    }
}

impl Happens {
    fn line(&self) -> String {
        match self {
            Self::Opened => "opened".to_owned(),
            Self::Timer => "timer".to_owned(),
            Self::Said(party, message) => said(*party, message),
        }
    }
}

/// A session of a script.
struct Playing<'a> {
    adapter: &'a dyn Sessions,
    head_bytes: usize,
    memo: Vec<u8>,
}

impl Playing<'_> {
    async fn play(
        &mut self,
        script: &Script,
        version: u32,
        found: &mut Vec<ScriptEvent>,
    ) -> Result<(), AdapterFailed> {
        let caller = SessionCaller {
            version,
            address: ([127, 0, 0, 1], 1).into(),
            service: "script".into(),
        };
        let mut opened = ScriptEvent::of(Happens::Opened);
        let reaction = self.adapter.open(SESSION, &caller).await?;
        opened.react(reaction, &mut self.memo);
        let is_told = (script.events.first()).is_some_and(|event| event.what == Happens::Opened);
        let mut closed = opened.closes;
        if is_told || opened != ScriptEvent::of(Happens::Opened) {
            found.push(opened);
        }
        for event in script.events.iter().skip(usize::from(is_told)) {
            if closed {
                break;
            }
            let event = self.event(event.what.clone()).await?;
            closed = event.closes;
            found.push(event);
        }
        let session = Session {
            id: SESSION,
            memo: &self.memo,
        };
        self.adapter.closed(session).await;
        Ok(())
    }

    async fn event(&mut self, what: Happens) -> Result<ScriptEvent, AdapterFailed> {
        let mut event = ScriptEvent::of(what);
        let memo = self.memo.clone();
        let session = Session {
            id: SESSION,
            memo: &memo,
        };
        let (party, message) = match event.what.clone() {
            Happens::Said(party, message) => (party, message),
            Happens::Opened | Happens::Timer => {
                let reaction = self.adapter.on_timer(session).await?;
                event.react(reaction, &mut self.memo);
                return Ok(event);
            }
        };
        let shown = message.len().min(self.head_bytes);
        let head = MessageHead {
            bytes: &message[..shown],
            length: Some(message.len() as u64),
        };
        let to = party.other();
        match self.adapter.on_head(session, party, head).await? {
            SessionVerdict::Pass => event.sends.push(OutgoingMessage { to, message }),
            SessionVerdict::ReplaceHead(head) => {
                let message = [&head, &message[shown..]].concat();
                event.sends.push(OutgoingMessage { to, message });
            }
            SessionVerdict::Drop => {}
            SessionVerdict::Close(_) => event.closes = true,
            SessionVerdict::Whole => {
                let reaction = self.adapter.on_message(session, party, &message).await?;
                event.react(reaction, &mut self.memo);
            }
        }
        Ok(event)
    }
}

fn event(node: &TomlNode<'_>) -> Result<ScriptEvent, DeclarationError> {
    let section = node.section()?;
    section.known(&EVENT_KEYS)?;
    let said = message(&section)?;
    let (opened, timer) = (section.flag("opened")?, section.flag("timer")?);
    let what = match (opened, timer, said) {
        (true, false, None) => Happens::Opened,
        (false, true, None) => Happens::Timer,
        (false, false, Some((party, message))) => Happens::Said(party, message),
        _ => {
            let error = section.error("an event is one of: opened, caller, next, timer");
            return Err(error.hint("caller = \"what the caller says\""));
        }
    };
    let mut sends = Vec::new();
    for item in section.items("sends")? {
        let inner = item.section()?;
        inner.known(&SENT_KEYS)?;
        let Some((to, message)) = message(&inner)? else {
            let error = item.error("nobody gets anything");
            return Err(error.hint("as in { next = \"a message\" }"));
        };
        sends.push(OutgoingMessage { to, message });
    }
    let timer_ms = match section.get("timer_ms") {
        None => None,
        Some(node) => {
            let number = node.integer()?;
            let ms = u32::try_from(number);
            Some(ms.map_err(|_| node.error(format!("{number} is not a number of milliseconds")))?)
        }
    };
    Ok(ScriptEvent {
        what,
        sends,
        timer_ms,
        closes: section.flag("closes")?,
    })
}

/// A message and whose it is.
fn message(section: &Section<'_>) -> Result<Option<(Party, Vec<u8>)>, DeclarationError> {
    let mut found = None;
    for (party, text, encoded) in [
        (Party::Caller, "caller", "caller_base64"),
        (Party::Next, "next", "next_base64"),
    ] {
        let mut add = |node: &TomlNode<'_>, bytes: Vec<u8>| match found.replace((party, bytes)) {
            None => Ok(()),
            Some(_) => Err(node.error("this is a second message")),
        };
        if let Some(node) = section.get(text) {
            add(&node, node.text()?.as_bytes().to_vec())?;
        }
        if let Some(node) = section.get(encoded) {
            let bytes = STANDARD.decode(node.text()?);
            let bytes = bytes.map_err(|error| node.error(format!("not base64: {error}")))?;
            add(&node, bytes)?;
        }
    }
    Ok(found)
}

/// A message as the file has it.
fn said(party: Party, message: &[u8]) -> String {
    let name = match party {
        Party::Caller => "caller",
        Party::Next => "next",
    };
    match std::str::from_utf8(message) {
        Ok(text) => format!("{name} = {}", quoted(text)),
        Err(_) => format!("{name}_base64 = {}", quoted(&STANDARD.encode(message))),
    }
}

/// A message as people are shown it.
fn shown(sent: &OutgoingMessage) -> String {
    let name = match sent.to {
        Party::Caller => "caller",
        Party::Next => "next",
    };
    format!("to {name}: {}", Content(sent.message.clone()).pretty())
}

fn quoted(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}
