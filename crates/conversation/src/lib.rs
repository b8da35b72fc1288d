//! Conversations: one call as the caller knows it, and as the next in the chain knows it.
//!
//! One format, one readable TOML file each, for all who need it: `upstart record` writes such files from live traffic,
//! `upstart adapter test` plays them through an adapter and tells what differs, `upstart lens explain` says why. A [`Script`] is the
//! same for a session. docs/guides/testing-lenses.md is the reference of both formats.

mod body_tee;
mod compare;
mod content;
mod http_tap;
mod play;
mod read;
mod recording;
mod script;
mod write;

use std::collections::BTreeMap;

use http::{Method, StatusCode};

pub use compare::Difference;
pub use content::Content;
pub use http_tap::HttpTap;
pub use play::{Part, Played, through};
pub use recording::{Recording, Sink, Told};
pub use script::{Happens, PlayedScript, Script, ScriptEvent};

use call::{Direction, Form, RefusalKind};
use declaration::DeclarationError;
use wire::words::{command, words};

/// The folder beside a lens file where its conversations are: `lens.toml` has `lens.conversations/`.
pub const FOLDER_EXTENSION: &str = "conversations";

/// What stands in the place of a secret.
pub const REDACTED: &str = "(redacted)";

/// Headers that carry secrets more often than not.
pub const SECRET_HEADERS: [&str; 5] = [
    "authorization",
    "cookie",
    "proxy-authorization",
    "set-cookie",
    "x-api-key",
];

/// A conversation, as its file says it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conversation {
    /// What it is about, for people.
    pub description: Option<String>,
    /// Past or future; `None` for a call that no adapter stands in: caller and software speak the same.
    pub direction: Option<Direction>,
    /// Where it was recorded, if it was.
    pub recorded: Option<RecordingOrigin>,
    /// What the caller sends.
    pub sends: Request,
    /// What the next in the chain gets and answers, in order: look-ups before the call itself. None where the adapter
    /// answers by itself, refuses, or where there is no adapter.
    pub exchanges: Vec<Exchange>,
    /// What the caller gets.
    pub gets: Ending,
}

/// Where a conversation was recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordingOrigin {
    /// The service, `class/service`.
    pub service: String,
    /// The caller's version.
    pub caller_version: u32,
    /// The version of the upgrade whose lens it passed; of the node where it passed none.
    pub version: u32,
}

/// Headers by name, in lower case; the values of one name in order.
pub type Headers = BTreeMap<String, Vec<String>>;

/// A request. One that is not of HTTP has only a body: the command as it stands on the wire, or the message without its framing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// What it is; all of a conversation are the same.
    pub form: Form,
    /// Its method.
    pub method: Method,
    /// Path and query, as on the wire.
    pub target: String,
    /// All headers, but those that only describe the transfer.
    pub headers: Headers,
    /// Its body.
    pub body: Content,
}

/// An answer. One that is not of HTTP has only a body.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// All headers, but those that only describe the transfer.
    pub headers: Headers,
    /// Its body.
    pub body: Content,
}

/// One call to the next in the chain.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exchange {
    /// What it gets.
    pub gets: Request,
    /// What it answers.
    pub answers: Reply,
}

/// What the caller gets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ending {
    /// The adapter refuses, for this kind of reason. Then only what is given of the answer counts.
    pub refused: Option<RefusalKind>,
    /// The status; always there where nothing is refused.
    pub status: Option<StatusCode>,
    /// The headers, where given or where nothing is refused.
    pub headers: Option<Headers>,
    /// The body, where given or where nothing is refused.
    pub body: Option<Content>,
}

impl Conversation {
    /// Reads a conversation file; `file` is how messages name it.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place.
    pub fn parse(file: &str, text: &str) -> Result<Self, DeclarationError> {
        read::conversation(file, text)
    }

    /// The file's text, as people would write it.
    pub fn to_toml(&self) -> String {
        write::conversation(self)
    }

    /// Where another run of the same call went otherwise than this conversation says.
    pub fn differences(&self, found: &Self) -> Vec<Difference> {
        compare::conversations(self, found)
    }

    /// Puts a word in the place of the values of these headers, in every message. They pass lenses as they are, so the
    /// conversation still plays.
    pub fn redact(&mut self, names: &[String]) {
        let gets = self.gets.headers.iter_mut();
        let next = self
            .exchanges
            .iter_mut()
            .flat_map(|exchange| [&mut exchange.gets.headers, &mut exchange.answers.headers]);
        for headers in gets.chain(next).chain([&mut self.sends.headers]) {
            for name in names {
                if let Some(values) = headers.get_mut(name) {
                    values.fill(REDACTED.to_owned());
                }
            }
        }
    }

    /// Whether the call is one of HTTP: lenses understand no other.
    pub fn is_http(&self) -> bool {
        self.sends.form == Form::Http
    }

    /// The call in one line, for lists.
    pub fn title(&self) -> String {
        self.sends.line()
    }
}

impl Request {
    /// A command of RESP, whatever way it was sent.
    pub(crate) fn of_command(words: &[Vec<u8>]) -> Self {
        Self {
            form: Form::Resp,
            body: Content(command(words)),
            ..Self::default()
        }
    }

    /// The words of a command; none where it is none.
    pub(crate) fn words(&self) -> Vec<Vec<u8>> {
        words(&self.body.0).unwrap_or_default()
    }

    /// It in one line, for people.
    pub(crate) fn line(&self) -> String {
        match self.form {
            Form::Http => format!("{} {}", self.method, self.target),
            Form::Resp => {
                let words = self.words();
                let words = words.iter().map(|word| String::from_utf8_lossy(word));
                words.collect::<Vec<_>>().join(" ")
            }
            Form::Message => {
                let text = self.body.pretty();
                text.lines().next().unwrap_or_default().to_owned()
            }
        }
    }
}

impl Ending {
    /// An answer in order.
    pub fn answer(reply: Reply) -> Self {
        Self {
            refused: None,
            status: Some(reply.status),
            headers: Some(reply.headers),
            body: Some(reply.body),
        }
    }
}

/// Headers that describe the transfer of one message on one connection: they are made anew at every hop.
pub(crate) const OF_THE_TRANSFER: [&str; 3] = ["content-length", "transfer-encoding", "connection"];

/// A message's headers as conversations keep them.
pub(crate) fn headers(map: &http::HeaderMap) -> Headers {
    let mut headers = Headers::new();
    for (name, value) in map {
        if !OF_THE_TRANSFER.contains(&name.as_str()) {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            headers.entry(name.to_string()).or_default().push(value);
        }
    }
    headers
}

/// The media type that a JSON body has where a file says nothing; one that has none says so with an empty list.
pub(crate) const MEDIA_TYPE_DEFAULT: &str = "application/json";

/// Says of a message that was really sent that its JSON has no media type, which would else go without saying.
pub(crate) fn note_untyped(headers: &mut Headers, body: &Content) {
    if body.json().is_some() {
        headers.entry("content-type".to_owned()).or_default();
    }
}

/// Adds the media type that goes without saying.
pub(crate) fn assume_json(headers: &mut Headers, body: &Content) {
    if body.json().is_some() && !headers.contains_key("content-type") {
        headers.insert(
            "content-type".to_owned(),
            vec![MEDIA_TYPE_DEFAULT.to_owned()],
        );
    }
}
