//! Prints conversation files: what goes without saying is left out.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use toml::Value;

use call::Form;

use crate::{Content, Conversation, Ending, Headers, MEDIA_TYPE_DEFAULT, Reply, Request};

pub(crate) fn conversation(conversation: &Conversation) -> String {
    let mut out = String::new();
    if let Some(description) = &conversation.description {
        key(&mut out, "description", &quoted(description));
    }
    let direction = conversation
        .direction
        .map_or("direct", |direction| direction.name());
    key(&mut out, "direction", &quoted(direction));
    if let Some(origin) = &conversation.recorded {
        out.push_str("\n[recorded]\n");
        key(&mut out, "service", &quoted(&origin.service));
        key(
            &mut out,
            "caller_version",
            &origin.caller_version.to_string(),
        );
        key(&mut out, "version", &origin.version.to_string());
    }
    out.push_str("\n[caller.sends]\n");
    request(&mut out, &conversation.sends);
    for exchange in &conversation.exchanges {
        out.push_str("\n[[next]]\n[next.gets]\n");
        request(&mut out, &exchange.gets);
        out.push_str("\n[next.answers]\n");
        reply(&mut out, conversation.sends.form, &exchange.answers);
    }
    out.push_str("\n[caller.gets]\n");
    ending(&mut out, conversation.sends.form, &conversation.gets);
    out
}

fn request(out: &mut String, request: &Request) {
    match request.form {
        Form::Http => {
            key(out, "request", &quoted(&request.line()));
            headers(out, &request.headers, &request.body);
            content(out, &request.body);
        }
        Form::Resp => command(out, &request.words()),
        Form::Message => whole(out, "message", &request.body),
    }
}

/// The words of a command: as text where all of them are some.
fn command(out: &mut String, words: &[Vec<u8>]) {
    let text: Option<Vec<String>> = (words.iter())
        .map(|word| String::from_utf8(word.clone()).ok())
        .collect();
    let (name, words) = match text {
        Some(text) => ("command", text),
        None => {
            let encoded = words.iter().map(|word| STANDARD.encode(word));
            ("command_base64", encoded.collect())
        }
    };
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    key(out, name, &format!("[{}]", words.join(", ")));
}

/// What a message is all of, under the name that it has in its protocol.
fn whole(out: &mut String, name: &str, body: &Content) {
    match std::str::from_utf8(&body.0) {
        Ok(text) => key(out, name, &quoted(text)),
        Err(_) => key(
            out,
            &format!("{name}_base64"),
            &quoted(&STANDARD.encode(&body.0)),
        ),
    }
}

/// How answers are called that have no status.
fn answer_name(form: Form) -> Option<&'static str> {
    match form {
        Form::Http => None,
        Form::Resp => Some("value"),
        Form::Message => Some("message"),
    }
}

fn reply(out: &mut String, form: Form, reply: &Reply) {
    if let Some(name) = answer_name(form) {
        return whole(out, name, &reply.body);
    }
    key(out, "status", reply.status.as_str());
    headers(out, &reply.headers, &reply.body);
    content(out, &reply.body);
}

fn ending(out: &mut String, form: Form, ending: &Ending) {
    if let Some(kind) = ending.refused {
        key(out, "refused", &quoted(kind.name()));
    }
    if let Some(name) = answer_name(form) {
        if let Some(body) = &ending.body {
            whole(out, name, body);
        }
        return;
    }
    if let Some(status) = ending.status {
        key(out, "status", status.as_str());
    }
    let body = ending.body.clone().unwrap_or_default();
    if let Some(given) = &ending.headers {
        headers(out, given, &body);
    }
    content(out, &body);
}

fn headers(out: &mut String, headers: &Headers, body: &Content) {
    let unsaid = body.json().is_some();
    for (name, values) in headers {
        if unsaid && name == "content-type" && values[..] == [MEDIA_TYPE_DEFAULT] {
            continue;
        }
        let shown = match &values[..] {
            [one] => quoted(one),
            all => {
                let all: Vec<String> = all.iter().map(|value| quoted(value)).collect();
                format!("[{}]", all.join(", "))
            }
        };
        // Every header's name is a bare key (RFC 9110 tokens with other characters are quoted).
        let bare = name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        let name = if bare { name.clone() } else { quoted(name) };
        key(out, &format!("headers.{name}"), &shown);
    }
}

fn content(out: &mut String, body: &Content) {
    if body.is_empty() {
        return;
    }
    match std::str::from_utf8(&body.0) {
        Ok(_) => {
            let text = body.pretty();
            key(out, "body", &text_value(&text, body.json().is_some()));
        }
        Err(_) => key(out, "body_base64", &quoted(&STANDARD.encode(&body.0))),
    }
}

/// JSON in literal quotes, so that nothing in it is escaped; a line break before it means nothing to TOML.
fn text_value(text: &str, is_json: bool) -> String {
    let plain = text
        .chars()
        .all(|c| !c.is_control() || (is_json && c == '\n'));
    if !is_json || !plain || text.contains("''") || text.ends_with('\'') {
        return quoted(text);
    }
    if text.contains('\n') {
        format!("'''\n{text}\n'''")
    } else if text.contains('\'') {
        format!("'''{text}'''")
    } else {
        format!("'{text}'")
    }
}

fn key(out: &mut String, name: &str, value: &str) {
    let _ = writeln!(out, "{name} = {value}");
}

fn quoted(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}
