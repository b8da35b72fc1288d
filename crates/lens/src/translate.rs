//! One lens at work: a call from the caller's side to the other, its answer back.

use http::Method;
use http::header;
use http::uri::PathAndQuery;

use crate::answer::Back;
use crate::message::{is_encoded, set_body, target};
use crate::operation::{LensOperation, Unmatched, is_head_of_get};
use crate::recipe::rule::Remembered;
use crate::step::LensStep;
use call::{
    Answer, AwaitsContinue, Body, BodyError, Call, Calls, Failure, HeldKey, HttpCall, Next,
    PassesInterims, Pending, Refusal, RefusalKind, Side,
};
use declaration::Mismatch;
use declaration::expression::{ExpressionContext, request_value};
use declaration::scope::{Head, Pair, Scope};

impl Calls for LensStep {
    fn handle<'a>(
        &'a self,
        call: Call,
        mut next: Next<'a>,
    ) -> Pending<'a, Result<Answer, Failure>> {
        Box::pin(async move {
            let mut call = call.into_http()?;
            let Some(operation) = self.find(&mut call).await? else {
                if self.lens.unmatched == Unmatched::Pass {
                    return next.delegate(call.into()).await;
                }
                let refusal = self.unmatched(&call);
                return Err(refuse_unread(call, refusal).await);
            };
            if let Some(declared) = operation.refuse {
                let refusal = self.declared(&operation.name, declared);
                return Err(refuse_unread(call, refusal).await);
            }
            let method = call.head.method.clone();
            let limits = call.context.limits;
            let (call, remembered, _held) = self.request(operation, call, &mut next).await?;
            let back = Back {
                step: self,
                operation,
                method,
                remembered,
                limits,
            };
            match next.delegate(call.into()).await {
                Ok(answer) => Ok(back.answer(answer.into_http()?).await?.into()),
                Err(Failure::Refused(refusal)) => Err(back.refusal(*refusal).await.into()),
                Err(failure) => Err(failure),
            }
        })
    }
}

impl LensStep {
    /// The operation that a call is, if any.
    async fn find(&self, call: &mut HttpCall) -> Result<Option<&LensOperation>, Failure> {
        let mut from = 0;
        while let Some(position) = self.matching(from, call) {
            let operation = &self.lens.operations[self.routes()[position]];
            let Some(when) = &operation.when[self.caller() as usize] else {
                return Ok(Some(operation));
            };
            let scope = self.scope(operation, call).await?;
            let method = call.head.method.as_str();
            let around = ExpressionContext {
                method,
                ..ExpressionContext::default()
            };
            let holds = when.holds(&scope, around);
            restore(call, scope);
            if holds.map_err(|mismatch| self.mismatch(RefusalKind::Request, operation, mismatch))? {
                return Ok(Some(operation));
            }
            from = position + 1;
        }
        Ok(None)
    }

    fn routes(&self) -> &[usize] {
        &self.lens.routes[self.caller() as usize]
    }

    /// The next of the routes that has the form of a call.
    fn matching(&self, from: usize, call: &HttpCall) -> Option<usize> {
        let path: Vec<&str> = call.head.uri.path().strip_prefix('/')?.split('/').collect();
        let method = &call.head.method;
        let fits = |index: &usize| {
            let operation = &self.lens.operations[*index];
            operation.templates[self.caller() as usize]
                .as_ref()
                .is_some_and(|template| {
                    template.matches(method, &path)
                        || (is_head_of_get(method, operation)
                            && template.matches(&Method::GET, &path))
                })
        };
        self.routes()[from..]
            .iter()
            .position(fits)
            .map(|position| from + position)
    }

    /// Takes a call apart as far as its operation needs it.
    async fn scope(
        &self,
        operation: &LensOperation,
        call: &mut HttpCall,
    ) -> Result<Scope, Failure> {
        let caller = self.caller();
        if operation.decodes_request {
            self.decode_request(operation, call).await?;
        }
        let path: Vec<&str> = call.head.uri.path().split('/').skip(1).collect();
        let template = operation.templates[caller as usize].as_ref();
        let parameters = template.and_then(|template| template.extract(&path));
        let parameters = parameters.ok_or_else(|| {
            let mismatch = Mismatch::new("the path is not UTF-8");
            self.mismatch(RefusalKind::Request, operation, mismatch)
        })?;
        let query = operation
            .parses_query
            .then(|| Pair::parse(call.head.uri.query()));
        let headers = std::mem::take(&mut call.head.headers);
        let body = match &mut call.body {
            Body::Json(_) => match std::mem::take(&mut call.body) {
                Body::Json(json) => Some(json),
                _ => None,
            },
            _ => None,
        };
        Ok(Scope {
            head: Some(Head {
                parameters,
                query,
                headers,
            }),
            body,
        })
    }

    async fn decode_request(
        &self,
        operation: &LensOperation,
        call: &mut HttpCall,
    ) -> Result<(), Failure> {
        if matches!(call.body, Body::Empty) {
            return Ok(());
        }
        let refuse = |kind, what: String| {
            Failure::from(self.mismatch(kind, operation, Mismatch::new(what).within("body")))
        };
        if is_encoded(&call.head.headers) {
            return Err(refuse(
                RefusalKind::Malformed,
                "the body is compressed".to_owned(),
            ));
        }
        let decoded = if operation.text[self.caller() as usize] {
            call.body.decode_text(call.context.limits).await
        } else {
            call.body.decode(call.context.limits).await.map(|_| ())
        };
        match decoded {
            Ok(()) => Ok(()),
            Err(BodyError::Connection(error)) => Err(Failure::Caller(error)),
            Err(error @ BodyError::TooLarge(_)) => {
                Err(refuse(RefusalKind::TooLarge, error.to_string()))
            }
            Err(error @ (BodyError::Busy | BodyError::Slow(_))) => {
                Err(refuse(RefusalKind::Busy, error.to_string()))
            }
            Err(error) => Err(refuse(RefusalKind::Malformed, error.to_string())),
        }
    }

    /// The call as the other side knows it, and what its answer will need of it.
    async fn request<'a>(
        &self,
        operation: &LensOperation,
        mut call: HttpCall,
        next: &mut Next<'a>,
    ) -> Result<(HttpCall, Remembered, Option<HeldKey<'a>>), Failure> {
        let caller = self.caller();
        let toward = caller.other();
        let mut scope = self.scope(operation, &mut call).await?;
        let refuse =
            |mismatch| Failure::from(self.mismatch(RefusalKind::Request, operation, mismatch));
        let mut remembered = remember(operation, &scope, &call, caller).map_err(refuse)?;
        let held = self
            .hold(operation, &call.head.method, &scope, next)
            .await
            .map_err(refuse)?;
        if !operation.lookups.is_empty() {
            next.allow(1 + operation.lookups.len() as u32);
            remembered.lookup = Some(self.look_up(operation, &call, &scope, next).await?);
        }
        let around = ExpressionContext {
            method: call.head.method.as_str(),
            lookup: remembered.lookup.as_ref(),
            ..ExpressionContext::default()
        };
        operation
            .request
            .apply(&mut scope, toward, around)
            .map_err(refuse)?;
        let Some(template) = &operation.templates[toward as usize] else {
            return Err(self.unmatched(&call).into());
        };
        let head = scope.head.take().unwrap_or_default();
        let path = template.fill(&head.parameters).map_err(|name| {
            refuse(Mismatch::new("it is missing or empty").within(&format!("path.{name}")))
        })?;
        let query = match &head.query {
            Some(pairs) => Pair::print(pairs),
            None => call.head.uri.query().map(str::to_owned),
        };
        call.head.uri = target(&call.head.uri, path, query)
            .ok_or_else(|| refuse(Mismatch::new("the target is no longer a URI")))?;
        if let Some(method) = &template.method
            && !(call.head.method == Method::HEAD && *method == Method::GET)
        {
            call.head.method = method.clone();
        }
        call.head.headers = head.headers;
        if !operation.responses.is_empty() {
            // What comes before an answer would be in the other version's words.
            call.head.extensions.remove::<PassesInterims>();
        }
        if operation.decodes_request {
            let text = operation.text[toward as usize];
            set_body(&mut call.head.headers, &mut call.body, scope.body, text).map_err(refuse)?;
        }
        if operation.decodes_response {
            // A compressed answer could not be read, nor a part of one; whoever answers need not know ranges.
            for name in [header::ACCEPT_ENCODING, header::RANGE, header::IF_RANGE] {
                call.head.headers.remove(name);
            }
        }
        Ok((call, remembered, held))
    }
}

/// Refuses a call whose body nobody needs; a body that is on its way is read, so that the caller's
/// connection can go on.
async fn refuse_unread(call: HttpCall, refusal: Refusal) -> Failure {
    if call.head.extensions.get::<AwaitsContinue>().is_none() {
        call.body.drain(call.context.limits.bytes_max).await;
    }
    refusal.into()
}

fn remember(
    operation: &LensOperation,
    scope: &Scope,
    call: &HttpCall,
    caller: Side,
) -> Result<Remembered, Mismatch> {
    let mut echoes = Vec::with_capacity(operation.echoes.len());
    for (side, place) in &operation.echoes {
        echoes.push(if *side == caller {
            scope.get(place)?
        } else {
            None
        });
    }
    let request = operation.remembers_request.then(|| {
        let target = call.head.uri.path_and_query();
        let target = target.map_or("", PathAndQuery::as_str);
        request_value(scope, call.head.method.as_str(), target)
    });
    Ok(Remembered {
        echoes,
        request,
        lookup: None,
    })
}

fn restore(call: &mut HttpCall, scope: Scope) {
    if let Some(head) = scope.head {
        call.head.headers = head.headers;
    }
    if let Some(json) = scope.body {
        call.body = Body::Json(json);
    }
}
