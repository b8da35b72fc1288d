//! Reads conversation files; what is wrong is told with file, line and key.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue, Method, StatusCode, Uri};
use toml::de::DeTable;

use crate::{
    Content, Conversation, Ending, Exchange, Headers, RecordingOrigin, Reply, Request, assume_json,
};
use call::{Direction, Form, RefusalKind};
use declaration::DeclarationError;
use declaration::reader::{Section, Source, TomlNode, nearest};

const KEYS: [&str; 5] = ["description", "direction", "recorded", "caller", "next"];
const REQUEST_KEYS: [&str; 4] = ["request", "headers", "body", "body_base64"];
const ANSWER_KEYS: [&str; 4] = ["status", "headers", "body", "body_base64"];
const ENDING_KEYS: [&str; 5] = ["refused", "status", "headers", "body", "body_base64"];
const COMMAND_KEYS: [&str; 2] = ["command", "command_base64"];
const MESSAGE_KEYS: [&str; 2] = ["message", "message_base64"];
const BODY_KEYS: [&str; 2] = ["body", "body_base64"];
const VALUE_KEYS: [&str; 2] = ["value", "value_base64"];

/// Most exchanges of one conversation: an adapter asks a few look-ups at most.
const EXCHANGES_MAX: usize = 64;

pub(crate) fn conversation(file: &str, text: &str) -> Result<Conversation, DeclarationError> {
    let source = Source { file, text };
    let table = DeTable::parse(text)
        .map_err(|error| source.error(error.span().unwrap_or(0..0), "", error.message()))?;
    let root = Section::new(&source, String::new(), table.get_ref(), 0..0);
    root.known(&KEYS)?;
    let direction = direction(&root)?;
    let caller = needed(&root, "caller")?.section()?;
    caller.known(&["sends", "gets"])?;
    let exchanges = root.items("next")?;
    if let Some(node) = exchanges.get(EXCHANGES_MAX) {
        return Err(node.error(format!(
            "more than {EXCHANGES_MAX} calls to the next in the chain"
        )));
    }
    if let (None, Some(node)) = (direction, exchanges.first()) {
        let error = node.error("a direct call has no adapter, so nobody is next");
        return Err(error.hint("say `direction = \"past\"` or `\"future\"`, or leave `next` out"));
    }
    let sends = request(&needed(&caller, "sends")?)?;
    let form = sends.form;
    let exchanges = exchanges.iter().map(|node| exchange(node, form));
    Ok(Conversation {
        description: root.text("description")?.map(str::to_owned),
        direction,
        recorded: root.get("recorded").map(|node| origin(&node)).transpose()?,
        exchanges: exchanges.collect::<Result<_, _>>()?,
        gets: ending(&needed(&caller, "gets")?, form)?,
        sends,
    })
}

fn needed<'t>(section: &Section<'t>, name: &'static str) -> Result<TomlNode<'t>, DeclarationError> {
    section.get(name).ok_or_else(|| {
        let error = section.error(format!("`{name}` is missing"));
        error.hint(match name {
            "caller" | "sends" => "as in [caller.sends] with `request = \"GET /items/1\"`",
            "gets" => "say what is got: [caller.gets] has a `status`, [next.gets] a `request`",
            "answers" => "as in [next.answers] with `status = 200`",
            "direction" => "past: callers of the old version; future: callers of the new one",
            _ => "every message of a conversation says it",
        })
    })
}

fn direction(root: &Section<'_>) -> Result<Option<Direction>, DeclarationError> {
    let node = needed(root, "direction")?;
    Ok(match one_of(&node, &["past", "future", "direct"])? {
        "past" => Some(Direction::Past),
        "future" => Some(Direction::Future),
        _ => None,
    })
}

fn one_of<'t>(node: &TomlNode<'t>, known: &[&str]) -> Result<&'t str, DeclarationError> {
    let found = node.text()?;
    if known.contains(&found) {
        return Ok(found);
    }
    let error = node.error(format!("`{found}` is not one of: {}", known.join(", ")));
    Err(match nearest(found, known) {
        Some(near) => error.hint(format!("did you mean \"{near}\"?")),
        None => error,
    })
}

fn origin(node: &TomlNode<'_>) -> Result<RecordingOrigin, DeclarationError> {
    let section = node.section()?;
    section.known(&["service", "caller_version", "version"])?;
    let number = |name| {
        let node = needed(&section, name)?;
        let number = node.integer()?;
        u32::try_from(number).map_err(|_| node.error(format!("{number} is not a version")))
    };
    Ok(RecordingOrigin {
        service: needed(&section, "service")?.text()?.to_owned(),
        caller_version: number("caller_version")?,
        version: number("version")?,
    })
}

fn exchange(node: &TomlNode<'_>, form: Form) -> Result<Exchange, DeclarationError> {
    let section = node.section()?;
    section.known(&["gets", "answers"])?;
    let gets = needed(&section, "gets")?;
    let request = request(&gets)?;
    if request.form != form {
        return Err(gets.error("it is of another protocol than what the caller sends"));
    }
    Ok(Exchange {
        gets: request,
        answers: reply(&needed(&section, "answers")?, form)?,
    })
}

fn request(node: &TomlNode<'_>) -> Result<Request, DeclarationError> {
    let section = node.section()?;
    if COMMAND_KEYS.iter().any(|key| section.has(key)) {
        section.known(&COMMAND_KEYS)?;
        return command(&section);
    }
    if MESSAGE_KEYS.iter().any(|key| section.has(key)) {
        section.known(&MESSAGE_KEYS)?;
        return Ok(Request {
            form: Form::Message,
            body: content(&section, &MESSAGE_KEYS)?.unwrap_or_default(),
            ..Request::default()
        });
    }
    section.known(&REQUEST_KEYS)?;
    let line = needed(&section, "request")?;
    let (method, target) = request_line(line.text()?).ok_or_else(|| {
        let error = line.error("a method and a path were expected");
        error.hint("as in \"GET /items/1?limit=2\", encoded as on the wire")
    })?;
    let body = content(&section, &BODY_KEYS)?.unwrap_or_default();
    Ok(Request {
        form: Form::Http,
        method,
        target,
        headers: headers(&section, &body)?.unwrap_or_default(),
        body,
    })
}

/// A command, by its words.
fn command(section: &Section<'_>) -> Result<Request, DeclarationError> {
    let [text, encoded] = COMMAND_KEYS.map(|key| section.get(key));
    let mut words = Vec::new();
    match (text, encoded) {
        (Some(_), Some(node)) => return Err(node.error("these are two commands")),
        (Some(node), None) => {
            for item in node.items()? {
                words.push(item.text()?.as_bytes().to_vec());
            }
        }
        (None, Some(node)) => {
            for item in node.items()? {
                words.push(decoded(&item)?);
            }
        }
        (None, None) => {}
    }
    if words.is_empty() {
        Err(section.error("a command has words"))
    } else {
        Ok(Request::of_command(&words))
    }
}

fn decoded(node: &TomlNode<'_>) -> Result<Vec<u8>, DeclarationError> {
    let bytes = STANDARD.decode(node.text()?);
    bytes.map_err(|error| node.error(format!("not base64: {error}")))
}

/// How the whole of an answer is called that has no status.
fn answer_keys(form: Form) -> Option<[&'static str; 2]> {
    match form {
        Form::Http => None,
        Form::Resp => Some(VALUE_KEYS),
        Form::Message => Some(MESSAGE_KEYS),
    }
}

fn request_line(text: &str) -> Option<(Method, String)> {
    let (method, target) = text.split_once(' ')?;
    let method = Method::from_bytes(method.as_bytes()).ok()?;
    let uri: Uri = target.parse().ok()?;
    (uri.authority().is_none() && target.starts_with('/')).then(|| (method, target.to_owned()))
}

fn reply(node: &TomlNode<'_>, form: Form) -> Result<Reply, DeclarationError> {
    let section = node.section()?;
    if let Some(keys) = answer_keys(form) {
        section.known(&keys)?;
        let body = content(&section, &keys)?;
        let body = body.ok_or_else(|| section.error(format!("`{}` is missing", keys[0])))?;
        return Ok(Reply {
            body,
            ..Reply::default()
        });
    }
    section.known(&ANSWER_KEYS)?;
    let body = content(&section, &BODY_KEYS)?.unwrap_or_default();
    Ok(Reply {
        status: status(&needed(&section, "status")?)?,
        headers: headers(&section, &body)?.unwrap_or_default(),
        body,
    })
}

fn ending(node: &TomlNode<'_>, form: Form) -> Result<Ending, DeclarationError> {
    let section = node.section()?;
    match answer_keys(form) {
        Some([text, encoded]) => section.known(&["refused", text, encoded])?,
        None => section.known(&ENDING_KEYS)?,
    }
    let kinds = RefusalKind::ALL.map(RefusalKind::name);
    let refused = match section.get("refused") {
        None => None,
        Some(node) => {
            let name = one_of(&node, &kinds)?;
            RefusalKind::ALL
                .into_iter()
                .find(|kind| kind.name() == name)
        }
    };
    if let Some(keys) = answer_keys(form) {
        let body = content(&section, &keys)?;
        if refused.is_none() && body.is_none() {
            return Err(section.error(format!("`{}` is missing", keys[0])));
        }
        return Ok(Ending {
            refused,
            body,
            ..Ending::default()
        });
    }
    let body = content(&section, &BODY_KEYS)?;
    let headers = headers(&section, body.as_ref().unwrap_or(&Content::default()))?;
    if refused.is_some() {
        let status = section
            .get("status")
            .map(|node| status(&node))
            .transpose()?;
        return Ok(Ending {
            refused,
            status,
            // A refusal has a media type of its own, which nobody need say.
            headers: headers.filter(|_| section.has("headers")),
            body,
        });
    }
    Ok(Ending {
        refused,
        status: Some(status(&needed(&section, "status")?)?),
        headers: Some(headers.unwrap_or_default()),
        body: Some(body.unwrap_or_default()),
    })
}

fn status(node: &TomlNode<'_>) -> Result<StatusCode, DeclarationError> {
    let code = node.integer()?;
    let status = u16::try_from(code)
        .ok()
        .filter(|code| (200..600).contains(code));
    let status = status.and_then(|code| StatusCode::from_u16(code).ok());
    status.ok_or_else(|| node.error(format!("{code} is not a status from 200 to 599")))
}

/// Bytes, as text or in base64 under one of these two keys.
fn content(
    section: &Section<'_>,
    keys: &[&'static str; 2],
) -> Result<Option<Content>, DeclarationError> {
    let [text, encoded] = *keys;
    match (section.get(text), section.get(encoded)) {
        (Some(_), Some(node)) => {
            Err(node.error(format!("`{text}` and `{encoded}` are two of one thing")))
        }
        (Some(node), None) => Ok(Some(Content(node.text()?.into()))),
        (None, Some(node)) => Ok(Some(Content(decoded(&node)?))),
        (None, None) => Ok(None),
    }
}

/// The headers, with the media type that goes without saying; `None` where nothing is said at all.
fn headers(section: &Section<'_>, body: &Content) -> Result<Option<Headers>, DeclarationError> {
    let mut headers = Headers::new();
    let node = section.get("headers");
    if let Some(node) = &node {
        for (name, node) in node.section()?.nodes() {
            let valid = HeaderName::from_bytes(name.as_bytes());
            let name = valid.map_err(|_| node.error(format!("`{name}` is not a header's name")))?;
            let items = if node.is_array() {
                node.items()?
            } else {
                vec![node]
            };
            let mut values = Vec::new();
            for item in &items {
                let value = item.text()?;
                if HeaderValue::from_bytes(value.as_bytes()).is_err() {
                    return Err(item.error("no header can hold this text"));
                }
                values.push(value.to_owned());
            }
            headers.insert(name.to_string(), values);
        }
    }
    let said = node.is_some();
    assume_json(&mut headers, body);
    Ok((said || !body.is_empty()).then_some(headers))
}
