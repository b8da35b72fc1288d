//! Reads conversation files; what is wrong is told with file, line and key.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue, Method, StatusCode, Uri};
use toml::de::DeTable;

use super::{
    Content, Conversation, Ending, Exchange, Headers, Origin, Reply, Request, assume_json,
};
use crate::chain::Direction;
use crate::lens::LensError;
use crate::lens::reader::{Node, Section, Source, nearest};
use crate::observer::RefusalKind;

const KEYS: [&str; 5] = ["description", "direction", "recorded", "caller", "next"];
const REQUEST_KEYS: [&str; 4] = ["request", "headers", "body", "body_base64"];
const ANSWER_KEYS: [&str; 4] = ["status", "headers", "body", "body_base64"];
const ENDING_KEYS: [&str; 5] = ["refused", "status", "headers", "body", "body_base64"];

/// Most exchanges of one conversation: an adapter asks a few look-ups at most.
const EXCHANGES_MAX: usize = 64;

pub(super) fn conversation(file: &str, text: &str) -> Result<Conversation, LensError> {
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
    Ok(Conversation {
        description: root.text("description")?.map(str::to_owned),
        direction,
        recorded: root.get("recorded").map(|node| origin(&node)).transpose()?,
        sends: request(&needed(&caller, "sends")?)?,
        exchanges: exchanges.iter().map(exchange).collect::<Result<_, _>>()?,
        gets: ending(&needed(&caller, "gets")?)?,
    })
}

fn needed<'t>(section: &Section<'t>, name: &'static str) -> Result<Node<'t>, LensError> {
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

fn direction(root: &Section<'_>) -> Result<Option<Direction>, LensError> {
    let node = needed(root, "direction")?;
    Ok(match one_of(&node, &["past", "future", "direct"])? {
        "past" => Some(Direction::Past),
        "future" => Some(Direction::Future),
        _ => None,
    })
}

fn one_of<'t>(node: &Node<'t>, known: &[&str]) -> Result<&'t str, LensError> {
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

fn origin(node: &Node<'_>) -> Result<Origin, LensError> {
    let section = node.section()?;
    section.known(&["service", "caller_version", "version"])?;
    let number = |name| {
        let node = needed(&section, name)?;
        let number = node.integer()?;
        u32::try_from(number).map_err(|_| node.error(format!("{number} is not a version")))
    };
    Ok(Origin {
        service: needed(&section, "service")?.text()?.to_owned(),
        caller_version: number("caller_version")?,
        version: number("version")?,
    })
}

fn exchange(node: &Node<'_>) -> Result<Exchange, LensError> {
    let section = node.section()?;
    section.known(&["gets", "answers"])?;
    Ok(Exchange {
        gets: request(&needed(&section, "gets")?)?,
        answers: reply(&needed(&section, "answers")?)?,
    })
}

fn request(node: &Node<'_>) -> Result<Request, LensError> {
    let section = node.section()?;
    section.known(&REQUEST_KEYS)?;
    let line = needed(&section, "request")?;
    let (method, target) = request_line(line.text()?).ok_or_else(|| {
        let error = line.error("a method and a path were expected");
        error.hint("as in \"GET /items/1?limit=2\", encoded as on the wire")
    })?;
    let body = content(&section)?.unwrap_or_default();
    Ok(Request {
        method,
        target,
        headers: headers(&section, &body)?.unwrap_or_default(),
        body,
    })
}

fn request_line(text: &str) -> Option<(Method, String)> {
    let (method, target) = text.split_once(' ')?;
    let method = Method::from_bytes(method.as_bytes()).ok()?;
    let uri: Uri = target.parse().ok()?;
    (uri.authority().is_none() && target.starts_with('/')).then(|| (method, target.to_owned()))
}

fn reply(node: &Node<'_>) -> Result<Reply, LensError> {
    let section = node.section()?;
    section.known(&ANSWER_KEYS)?;
    let body = content(&section)?.unwrap_or_default();
    Ok(Reply {
        status: status(&needed(&section, "status")?)?,
        headers: headers(&section, &body)?.unwrap_or_default(),
        body,
    })
}

fn ending(node: &Node<'_>) -> Result<Ending, LensError> {
    let section = node.section()?;
    section.known(&ENDING_KEYS)?;
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
    let body = content(&section)?;
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

fn status(node: &Node<'_>) -> Result<StatusCode, LensError> {
    let code = node.integer()?;
    let status = u16::try_from(code)
        .ok()
        .filter(|code| (200..600).contains(code));
    let status = status.and_then(|code| StatusCode::from_u16(code).ok());
    status.ok_or_else(|| node.error(format!("{code} is not a status from 200 to 599")))
}

fn content(section: &Section<'_>) -> Result<Option<Content>, LensError> {
    match (section.get("body"), section.get("body_base64")) {
        (Some(_), Some(node)) => Err(node.error("`body` and `body_base64` are two bodies")),
        (Some(node), None) => Ok(Some(Content(node.text()?.into()))),
        (None, Some(node)) => {
            let bytes = STANDARD.decode(node.text()?);
            let bytes = bytes.map_err(|error| node.error(format!("not base64: {error}")))?;
            Ok(Some(Content(bytes)))
        }
        (None, None) => Ok(None),
    }
}

/// The headers, with the media type that goes without saying; `None` where nothing is said at all.
fn headers(section: &Section<'_>, body: &Content) -> Result<Option<Headers>, LensError> {
    let mut headers = Headers::new();
    let node = section.get("headers");
    if let Some(node) = &node {
        for (name, node) in node.section()?.nodes() {
            let valid = HeaderName::from_bytes(name.as_bytes());
            let name = valid.map_err(|_| node.error(format!("`{name}` is not a header's name")))?;
            let items = match node.is_array() {
                true => node.items()?,
                false => vec![node],
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
