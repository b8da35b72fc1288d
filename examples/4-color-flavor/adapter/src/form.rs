//! How each version's calls and replies are written, and what they mean for the set.

use serde_json::{Value, json};

/// A request of HTTP, as far as these versions use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `PUT`, ...
    pub method: String,
    /// Its path.
    pub target: String,
    /// Its body.
    pub body: Vec<u8>,
}

/// A reply of HTTP, as far as these versions use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// Which state of a number it shows.
    pub etag: Option<String>,
    /// JSON, or nothing.
    pub body: Vec<u8>,
}

/// What a call asks of the set. `word` is a colour or a flavour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Which numbers are in it.
    List,
    /// A number's word.
    Get(i64),
    /// Puts a number into it that is not there.
    Insert(i64, String),
    /// Changes a number's word.
    Set(i64, String),
    /// Takes a number out.
    Delete(i64),
    /// Whether the software is well.
    Health,
}

/// A version of the software.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Version 1: `/numbers`.
    Colours,
    /// Version 2: `/items`.
    Flavours,
}

/// The words of a version; the first is that of numbers which the other version's callers put in.
pub const COLOURS: [&str; 4] = ["grey", "red", "green", "blue"];
/// As [`COLOURS`].
pub const FLAVOURS: [&str; 4] = ["plain", "sweet", "sour", "bitter"];

impl Form {
    /// The other version.
    pub fn other(self) -> Self {
        match self {
            Self::Colours => Self::Flavours,
            Self::Flavours => Self::Colours,
        }
    }

    /// What a number has that the other version's callers have put in.
    pub fn default_word(self) -> &'static str {
        self.words()[0]
    }

    /// What a number can have.
    pub fn words(self) -> &'static [&'static str] {
        match self {
            Self::Colours => &COLOURS,
            Self::Flavours => &FLAVOURS,
        }
    }

    fn names(self) -> Names {
        match self {
            Self::Colours => Names {
                number: "number",
                word: "colour",
                error: "error",
            },
            Self::Flavours => Names {
                number: "item",
                word: "flavour",
                error: "problem",
            },
        }
    }

    /// What a request means, or the reply that this version gives to one that means nothing.
    pub fn read(self, request: &Request) -> Result<Operation, Reply> {
        let parts: Vec<&str> = request.target.split('/').skip(1).collect();
        match (self, request.method.as_str(), parts.as_slice()) {
            (Self::Colours, "GET", ["health"]) | (Self::Flavours, "GET", ["status"]) => {
                Ok(Operation::Health)
            }
            (Self::Colours, "GET", ["numbers"]) | (Self::Flavours, "GET", ["items"]) => {
                Ok(Operation::List)
            }
            (Self::Flavours, "POST", ["items"]) => {
                let fields = fields(&request.body);
                let number = fields["item"].as_i64().ok_or_else(|| self.no_word())?;
                Ok(Operation::Insert(number, self.word(&fields)?))
            }
            (Self::Colours, method, ["numbers", number, rest @ ..])
            | (Self::Flavours, method, ["items", number, rest @ ..]) => {
                let number = canonical(number).ok_or_else(|| self.error(404, "no such path"))?;
                let fields = fields(&request.body);
                match (self, method, rest) {
                    (_, "GET", []) => Ok(Operation::Get(number)),
                    (_, "DELETE", []) => Ok(Operation::Delete(number)),
                    (Self::Colours, "PUT", []) => {
                        Ok(Operation::Insert(number, self.word(&fields)?))
                    }
                    (Self::Colours, "PUT", ["colour"]) | (Self::Flavours, "PATCH", []) => {
                        Ok(Operation::Set(number, self.word(&fields)?))
                    }
                    _ => Err(self.error(405, "no such method")),
                }
            }
            _ => Err(self.error(404, "no such path")),
        }
    }

    /// The request of this version that means this.
    pub fn request(self, operation: &Operation) -> Request {
        let names = self.names();
        let (method, target, body) = match (self, operation) {
            (Self::Colours, Operation::Health) => ("GET", "/health".to_owned(), None),
            (Self::Flavours, Operation::Health) => ("GET", "/status".to_owned(), None),
            (Self::Colours, Operation::List) => ("GET", "/numbers".to_owned(), None),
            (Self::Flavours, Operation::List) => ("GET", "/items".to_owned(), None),
            (_, Operation::Get(number)) => ("GET", self.path(*number), None),
            (_, Operation::Delete(number)) => ("DELETE", self.path(*number), None),
            (Self::Colours, Operation::Insert(number, word)) => {
                ("PUT", self.path(*number), Some(json!({ names.word: word })))
            }
            (Self::Flavours, Operation::Insert(number, word)) => {
                let body = json!({ names.number: number, names.word: word });
                ("POST", "/items".to_owned(), Some(body))
            }
            (Self::Colours, Operation::Set(number, word)) => {
                let target = format!("{}/colour", self.path(*number));
                ("PUT", target, Some(json!({ names.word: word })))
            }
            (Self::Flavours, Operation::Set(number, word)) => (
                "PATCH",
                self.path(*number),
                Some(json!({ names.word: word })),
            ),
        };
        Request {
            method: method.to_owned(),
            target,
            body: body.map_or_else(Vec::new, |body| body.to_string().into_bytes()),
        }
    }

    fn path(self, number: i64) -> String {
        match self {
            Self::Colours => format!("/numbers/{number}"),
            Self::Flavours => format!("/items/{number}"),
        }
    }

    /// The reply that shows a number.
    pub fn shown(self, status: u16, number: i64, word: &str, etag: String) -> Reply {
        let names = self.names();
        Reply {
            status,
            etag: Some(etag),
            body: json!({ names.number: number, names.word: word })
                .to_string()
                .into_bytes(),
        }
    }

    /// The word in a reply that shows a number.
    pub fn word_in(self, reply: &Reply) -> Option<String> {
        let fields = fields(&reply.body);
        fields[self.names().word].as_str().map(str::to_owned)
    }

    /// The reply to [`Operation::List`].
    pub fn list(self, numbers: &[i64]) -> Reply {
        let body = match self {
            Self::Colours => json!(numbers),
            Self::Flavours => json!({ "items": numbers }),
        };
        Reply {
            status: 200,
            etag: None,
            body: body.to_string().into_bytes(),
        }
    }

    /// The numbers in a reply to [`Operation::List`].
    pub fn listed(self, reply: &Reply) -> Option<Vec<i64>> {
        let body: Value = serde_json::from_slice(&reply.body).ok()?;
        let numbers = match self {
            Self::Colours => &body,
            Self::Flavours => &body["items"],
        };
        numbers.as_array()?.iter().map(Value::as_i64).collect()
    }

    /// A reply that is an error, in this version's words.
    pub fn error(self, status: u16, what: &str) -> Reply {
        Reply {
            status,
            etag: None,
            body: json!({ self.names().error: what }).to_string().into_bytes(),
        }
    }

    /// A number that should be there is not.
    pub fn absent(self) -> Reply {
        self.error(404, "not in the set")
    }

    /// A number that should not be there is.
    pub fn present(self) -> Reply {
        self.error(409, "in the set")
    }

    fn no_word(self) -> Reply {
        let (word, words) = (self.names().word, self.words().join(", "));
        self.error(400, &format!("a {word} is one of {words}"))
    }

    fn word(self, fields: &Value) -> Result<String, Reply> {
        let word = fields[self.names().word].as_str();
        let known = word.filter(|word| self.words().contains(word));
        known.map(str::to_owned).ok_or_else(|| self.no_word())
    }
}

/// What a version calls things.
struct Names {
    number: &'static str,
    word: &'static str,
    error: &'static str,
}

fn fields(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_default()
}

/// A number as both versions write it in paths: `007` is none, so that one number has one conflict key.
fn canonical(text: &str) -> Option<i64> {
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}
