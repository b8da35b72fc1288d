//! Look-up calls: what an operation reads from the software before its own call, and the conflict
//! key that keeps other calls out meanwhile.

use cel::Value;
use http::header::{self, HeaderMap};
use http::{Method, Request};

use crate::message::{is_encoded, target};
use crate::operation::LensOperation;
use crate::step::LensStep;
use call::{
    Body, BodyError, BodyLimits, Failure, HeldKey, HttpAnswer, HttpCall, Key, Next, RefusalKind,
};
use declaration::Mismatch;
use declaration::expression::ExpressionContext;
use declaration::lookup::{LookupAnswers, answer_value};
use declaration::scope::Scope;
use declaration::template::CallTemplate;
use wire::json::Json;

/// Headers that concern the body of the caller's own request, or make its answer depend on what the
/// caller has: a look-up has no body and wants the whole answer.
const NOT_ASKED: [header::HeaderName; 10] = [
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::ACCEPT_ENCODING,
    header::RANGE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
    header::IF_RANGE,
];

impl LensStep {
    /// Waits for the conflict key of an operation, if it has one.
    pub(crate) async fn hold<'a>(
        &self,
        operation: &LensOperation,
        method: &Method,
        scope: &Scope,
        next: &mut Next<'a>,
    ) -> Result<Option<HeldKey<'a>>, Mismatch> {
        let Some(conflict) = &operation.conflict[self.caller() as usize] else {
            return Ok(None);
        };
        let around = ExpressionContext {
            method: method.as_str(),
            ..ExpressionContext::default()
        };
        let Some(key) = &conflict.key else {
            return Ok(Some(next.hold(Key::Node, conflict.hold).await));
        };
        match key.evaluate(scope, None, around)? {
            Json::String(name) => Ok(Some(next.hold(Key::Named(&name), conflict.hold).await)),
            other => {
                let what = format!("the conflict key is {}, not a string", other.kind());
                Err(Mismatch::new(what))
            }
        }
    }

    /// Makes the look-up calls of an operation.
    pub(crate) async fn look_up(
        &self,
        operation: &LensOperation,
        call: &HttpCall,
        scope: &Scope,
        next: &mut Next<'_>,
    ) -> Result<LookupAnswers, Failure> {
        let mut answers = Vec::with_capacity(operation.lookups.len());
        let mut bodies = Vec::with_capacity(operation.lookups.len());
        for lookup in &operation.lookups {
            let refuse = |mismatch: Mismatch| {
                let mismatch = mismatch.within(&format!("lookup.{}", lookup.name));
                Failure::from(self.mismatch(RefusalKind::Request, operation, mismatch))
            };
            let around = ExpressionContext {
                method: call.head.method.as_str(),
                ..ExpressionContext::default()
            };
            if let Some(when) = &lookup.when[self.caller() as usize]
                && !when.holds(scope, around).map_err(refuse)?
            {
                continue;
            }
            let Some(template) = &lookup.templates[self.caller().other() as usize] else {
                continue;
            };
            let made = request(template, call, scope).map_err(refuse)?;
            let mut answer = next.delegate(made.into()).await?.into_http()?;
            decode(&mut answer, call.context.limits)
                .await
                .map_err(|error| match error {
                    BodyError::Connection(error) => Failure::Broken(error),
                    error => refuse(Mismatch::new(error.to_string())),
                })?;
            if is_encoded(&answer.head.headers) {
                return Err(refuse(Mismatch::new("the answer is compressed")));
            }
            answers.push((lookup.name.clone(), seen(&answer)));
            let found = match answer.body {
                Body::Json(json) if answer.head.status.is_success() => Some(json),
                _ => None,
            };
            bodies.push((lookup.name.clone(), found));
        }
        Ok(LookupAnswers::new(answers, bodies))
    }
}

/// A look-up call: the caller's headers go with it, so that it is made with the caller's rights.
fn request(template: &CallTemplate, call: &HttpCall, scope: &Scope) -> Result<HttpCall, Mismatch> {
    let head = scope.head.as_ref();
    let nothing = Vec::new();
    let parameters = head.map_or(&nothing, |head| &head.parameters);
    let path = template
        .fill(parameters)
        .map_err(|name| Mismatch::new("it is missing or empty").within(&format!("path.{name}")))?;
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.uri = target(&call.head.uri, path, None)
        .ok_or_else(|| Mismatch::new("the target is not a URI"))?;
    parts.method = template.method.clone().unwrap_or(Method::GET);
    parts.version = call.head.version;
    parts.headers = head.map_or_else(HeaderMap::new, |head| head.headers.clone());
    for name in &NOT_ASKED {
        parts.headers.remove(name);
    }
    Ok(HttpCall {
        head: parts,
        body: Body::Empty,
        context: call.context.clone(),
    })
}

/// JSON where the answer says that it is, else text.
async fn decode(answer: &mut HttpAnswer, limits: BodyLimits) -> Result<(), BodyError> {
    let media = answer.head.headers.get(header::CONTENT_TYPE);
    let is_json = media.is_some_and(|media| {
        let media = media.as_bytes().split(|byte| *byte == b';').next();
        media.is_some_and(|media| media.trim_ascii().ends_with(b"json"))
    });
    if is_json {
        answer.body.decode(limits).await.map(|_| ())
    } else {
        answer.body.decode_text(limits).await
    }
}

fn seen(answer: &HttpAnswer) -> Value {
    let body = match &answer.body {
        Body::Json(json) => Some(json),
        _ => None,
    };
    answer_value(answer.head.status.as_u16(), &answer.head.headers, body)
}
