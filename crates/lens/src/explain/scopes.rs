//! Messages of a conversation as rules and expressions see them.

use cel::Value;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::operations::path;
use crate::operation::LensOperation;
use crate::step::LensStep;
use conversation::{Content, Conversation, Headers, Request};
use declaration::expression::{ExpressionContext, request_value};
use declaration::lookup::LookupAnswers;
use declaration::scope::{Head, Pair, Scope};
use declaration::template::CallTemplate;
use wire::json::Json;

/// The caller's request and what was looked up for it, as rules use them.
pub(super) struct ExplainedCaller<'a> {
    method: &'a str,
    request: Value,
    echoes: Vec<Option<Json>>,
    lookup: Option<LookupAnswers>,
}

impl ExplainedCaller<'_> {
    pub(super) fn of<'a>(
        step: &LensStep,
        operation: &LensOperation,
        conversation: &'a Conversation,
    ) -> ExplainedCaller<'a> {
        let (side, sends) = (step.caller(), &conversation.sends);
        let template = operation.templates[side as usize].as_ref();
        let scope = request_scope(template, sends, operation.text[side as usize]);
        let method = sends.method.as_str();
        let echoes = operation.echoes.iter().map(|(of, place)| {
            let own = *of == side;
            own.then(|| scope.get(place).ok().flatten()).flatten()
        });
        let made = lookups(step, operation, conversation);
        ExplainedCaller {
            method,
            request: request_value(&scope, method, &sends.target),
            echoes: echoes.collect(),
            lookup: (!operation.lookups.is_empty()).then(|| LookupAnswers::of(made)),
        }
    }

    /// What surrounds the request.
    pub(super) fn asked(&self) -> ExpressionContext<'_> {
        ExpressionContext {
            method: self.method,
            lookup: self.lookup.as_ref(),
            ..ExpressionContext::default()
        }
    }

    /// What surrounds an answer.
    pub(super) fn around(&self, status: StatusCode) -> ExpressionContext<'_> {
        ExpressionContext {
            status: Some(status.as_u16()),
            request: Some(&self.request),
            echoes: &self.echoes,
            ..self.asked()
        }
    }
}

/// The look-up calls that were made, in order, by their names, and what was answered to them.
pub(super) fn lookups(
    step: &LensStep,
    operation: &LensOperation,
    conversation: &Conversation,
) -> Vec<(String, u16, HeaderMap, Option<Json>)> {
    let (side, sends) = (step.caller(), &conversation.sends);
    let template = operation.templates[side as usize].as_ref();
    let scope = request_scope(template, sends, operation.text[side as usize]);
    let around = ExpressionContext {
        method: sends.method.as_str(),
        ..ExpressionContext::default()
    };
    let needed = operation.lookups.iter().filter(|lookup| {
        let when = lookup.when[side as usize].as_ref();
        lookup.templates[side.other() as usize].is_some()
            && when.is_none_or(|when| when.holds(&scope, around).unwrap_or(false))
    });
    let made = needed.zip(&conversation.exchanges).map(|(lookup, made)| {
        let headers = header_map(&made.answers.headers);
        let media = made.answers.headers.get("content-type");
        let is_json = media.is_some_and(|media| {
            media.iter().any(|media| {
                let media = media.split(';').next().unwrap_or_default();
                media.trim().ends_with("json")
            })
        });
        let body = decoded(&made.answers.body, !is_json);
        let status = made.answers.status.as_u16();
        (lookup.name.clone(), status, headers, body)
    });
    made.collect()
}

/// A body as rules see it: JSON, or text as a string.
fn decoded(body: &Content, is_text: bool) -> Option<Json> {
    match is_text {
        true if body.is_empty() => None,
        true => std::str::from_utf8(&body.0)
            .ok()
            .map(|text| Json::String(text.to_owned())),
        false => body.json(),
    }
}

/// A request as rules see it.
pub(super) fn request_scope(
    template: Option<&CallTemplate>,
    request: &Request,
    is_text: bool,
) -> Scope {
    let path = path(request);
    let fits = |template: &&CallTemplate| template.of_any_method().matches(&request.method, &path);
    let parameters = template
        .filter(fits)
        .and_then(|template| template.extract(&path));
    let query = request.target.split_once('?').map(|(_, query)| query);
    Scope {
        head: Some(Head {
            parameters: parameters.unwrap_or_default(),
            query: Some(Pair::parse(query)),
            headers: header_map(&request.headers),
        }),
        body: decoded(&request.body, is_text),
    }
}

/// An answer as rules see it.
pub(super) fn answer_scope(headers: &Headers, body: &Content, is_text: bool) -> Scope {
    Scope {
        head: Some(Head {
            headers: header_map(headers),
            ..Head::default()
        }),
        body: decoded(body, is_text),
    }
}

fn header_map(headers: &Headers) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in headers
        .iter()
        .flat_map(|(name, all)| all.iter().map(move |value| (name, value)))
    {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value.as_bytes())) {
            map.append(name, value);
        }
    }
    map
}
